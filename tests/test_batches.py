from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from charlm.arrays import Ids
from charlm.data.batches import LineBatches, Streams, fit
from charlm.data.texts import Lines, Text


@dataclass(frozen=True)
class Epoch:
    """Every window of an epoch, with the ids turned back into positions in the text."""

    size: int
    seq_len: int
    inputs: list[Ids]
    targets: list[Ids]

    @property
    def streams(self) -> Ids:
        """Places of the inputs `[S, B]`, the windows put together."""
        return np.concatenate(self.inputs)


def read(size: int, batch: int, seq_len: int) -> Epoch:
    """Read one epoch of a text of `size` different ids in mixed order."""
    # mixed, so that "the next position" is not by accident "the next number"
    ids = np.random.default_rng(size).permutation(size)
    position = np.argsort(ids)
    streams = Streams(ids, batch, seq_len)
    windows = [streams.window(number) for number in range(streams.windows)]
    assert all(window.mask is None for window in windows), "a text has no padding"
    inputs, targets = ([position[ids] for ids in some] for some in list(zip(*windows, strict=True))[:2])
    return Epoch(size, seq_len, inputs, targets)


# text, streams, window: what a floor or a ceiling gets wrong; everything divides, nothing does, one of each
CORNERS = [(2, 1, 1), (101, 10, 5), (101, 10, 7), (100, 10, 3), (12, 11, 4), (8, 5, 1), (105, 1, 50)]


@st.composite
def epochs(draw: st.DrawFn) -> Epoch:
    """Epochs over texts of any size, with any number of streams and any window."""
    size = draw(st.integers(2, 200))
    drawn = st.tuples(st.just(size), st.integers(1, size - 1), st.integers(1, size + 10))
    return read(*draw(st.one_of(st.sampled_from(CORNERS), drawn)))


@given(epoch=epochs())
@settings(max_examples=4 * settings().max_examples)
def test_an_epoch_of_streams(epoch: Epoch) -> None:
    """Every character is predicted, streams continue from window to window, and windows are alike."""
    predicted = np.unique(np.concatenate(epoch.targets))
    assert predicted.tolist() == list(range(1, epoch.size)), "a remainder is left out"
    for x, y in zip(epoch.inputs, epoch.targets, strict=True):
        np.testing.assert_array_equal(y, x + 1, "the target is the next character")
    assert (np.diff(epoch.streams, axis=0) == 1).all(), "the carried state fits"
    lengths = [len(x) for x in epoch.inputs]
    assert max(lengths) <= epoch.seq_len
    assert max(lengths) - min(lengths) <= 1
    assert (len(lengths) - 1) * epoch.seq_len < sum(lengths), "a window is superfluous"
    firsts, lasts = epoch.streams[0], epoch.streams[-1]
    assert (firsts[0], lasts[-1]) == (0, epoch.size - 2)
    assert set((lasts[:-1] - firsts[1:] + 1).tolist()) <= {0, 1}, "neighbours share one target at most"


@pytest.mark.parametrize(
    ("batch", "seq_len", "starts", "lengths"),
    [
        (1, 25, [0], [25, 25, 25, 25]),
        (2, 25, [0, 50], [25, 25]),
        (3, 50, [0, 33, 66], [34]),
        (3, 10, [0, 33, 66], [8, 9, 8, 9]),
        (1, 99, [0], [50, 50]),
        (100, 1, list(range(100)), [1]),
    ],
)
def test_a_text_of_101_characters_is_cut_as_computed_by_hand(
    batch: int, seq_len: int, starts: list[int], lengths: list[int]
) -> None:
    """Streams begin at floor(b M / B), and windows share out the S = ceil(M / B) steps."""
    epoch = read(101, batch, seq_len)
    assert epoch.streams[0].tolist() == starts
    assert [len(x) for x in epoch.inputs] == lengths
    assert {x.shape[1] for x in (*epoch.inputs, *epoch.targets)} == {batch}


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.uint32])
def test_windows_are_steps_by_streams(kind: type[np.unsignedinteger]) -> None:
    """A window is `[T, B]`, of the text's type; every epoch is alike, and streams begin with an epoch."""
    text = np.arange(9, dtype=kind)
    streams, warning = Text(text).batches(2, 2, 1)
    assert (streams.batch, streams.seq_len, streams.windows, warning) == (2, 2, 2, None)
    for step in (1, 3, 401):
        x, y, mask, places = streams.window(step)
        np.testing.assert_array_equal(x, np.array([[2, 6], [3, 7]], kind), strict=True)
        np.testing.assert_array_equal(y, x + kind(1), strict=True)
        np.testing.assert_array_equal(text[places], y)
        assert (mask, streams.window_length(step), streams.characters(step)) == (None, 2, 4)
        assert [streams.resets_state(step - 1), streams.resets_state(step)] == [True, False]
    assert [sorted(streams.places(windows)) for windows in (1, 2)] == [[1, 2, 5, 6], list(range(1, 9))]
    lines = _batches(Lines.of(np.array([0, 1, 0, 1, 1, 0], kind)), 2, 9).window(0)
    assert lines.mask is not None
    assert {lines.x.dtype, lines.y.dtype} == {np.dtype(kind)}
    assert set(np.concatenate([lines.x, lines.y]).ravel().tolist()) <= {0, 1}


@given(characters=st.integers(2, 500), batch=st.integers(1, 60), seq_len=st.integers(1, 600))
@example(characters=2, batch=1, seq_len=1)
@example(characters=2, batch=2, seq_len=2)
@example(characters=2501, batch=50, seq_len=50)
@example(characters=2500, batch=50, seq_len=50)
def test_fit_shrinks_only_as_far_as_needed(characters: int, batch: int, seq_len: int) -> None:
    """A fitted batch gives every stream a whole window, and neither number could be larger."""
    targets = characters - 1
    fitted_batch, fitted_len, warning = fit(characters, batch, seq_len)
    assert 1 <= fitted_batch <= batch
    assert 1 <= fitted_len <= seq_len
    assert fitted_batch * fitted_len <= targets
    assert fitted_batch == batch or (fitted_batch + 1) * seq_len > targets
    assert fitted_len in (seq_len, targets)
    assert (warning is None) == ((fitted_batch, fitted_len) == (batch, seq_len))


@pytest.mark.parametrize(
    ("characters", "batch", "seq_len", "fitted", "shrunk"),
    [
        (101, 50, 10, (10, 10), "train.batch from 50 to 10"),
        (100, 10, 10, (9, 10), "train.batch from 10 to 9"),
        (101, 10, 10, (10, 10), None),
        (11, 1, 10, (1, 10), None),
        (5, 1, 50, (1, 4), "train.seq_len from 50 to 4"),
        (5, 50, 5, (1, 4), "train.batch from 50 to 1 and train.seq_len from 5 to 4"),
    ],
)
def test_fit_says_what_it_changed(
    characters: int, batch: int, seq_len: int, fitted: tuple[int, int], shrunk: str | None
) -> None:
    """The warning names the size of the text, and each changed key with both its numbers."""
    warning = shrunk and f"the training split has only {characters} characters: {shrunk}"
    assert fit(characters, batch, seq_len) == (*fitted, warning)
    streams, warned = Text(np.arange(characters)).batches(batch, seq_len, 1)
    assert (streams.batch, streams.seq_len, warned) == (*fitted, warning)


@dataclass(frozen=True)
class LineEpochs:
    """Some epochs of lines, the ids turned back into positions in the text."""

    lines: Lines
    asked: int
    seq_len: int
    batches: LineBatches
    epochs: list[list[list[tuple[Ids, Ids, Ids]]]]
    """By epoch, then by batch, the windows: inputs, targets and their masks."""


def _batches(lines: Lines, batch: int, seq_len: int, seed: int = 1) -> LineBatches:
    return lines.batches(batch, seq_len, seed)[0]


def read_lines(lengths: list[int], batch: int, seq_len: int, share: float, epochs: int = 2) -> LineEpochs:
    """Read epochs of some of the lines of a text; its ids are all different, in mixed order."""
    text = np.ones(1 + sum(lengths), np.uint8)
    text[np.cumsum([0, *lengths])] = 0
    lines = Lines.of(text).split((share, 1 - share, 0.0))[0]
    ids = np.random.default_rng(len(text)).permutation(len(text))
    position = np.argsort(ids)
    batches = _batches(Lines(ids, lines.starts, lines.lengths), batch, seq_len, 3)
    read: list[list[list[tuple[Ids, Ids, Ids]]]] = []
    for step in range(epochs * batches.windows):
        x, y, padding, places = batches.window(step)
        mask = np.ones(x.shape, bool) if padding is None else padding
        assert batches.window_length(step) == len(x)
        assert batches.characters(step) == mask.sum() > 0
        np.testing.assert_array_equal(ids[places][mask], y[mask])
        if step % batches.windows == 0:
            read.append([])
        if batches.resets_state(step):
            read[-1].append([])
        read[-1][-1].append((position[x], position[y], mask))
    return LineEpochs(lines, batch, seq_len, batches, read)


@st.composite
def line_epochs(draw: st.DrawFn) -> LineEpochs:
    """Two epochs of lines of any lengths, a few of them long, any batch, any window, any part."""
    length = st.one_of(st.integers(2, 6), st.integers(2, 150))
    lengths = draw(st.lists(length, min_size=2, max_size=60))
    share = draw(st.sampled_from([0.5, 1.0]))
    batch = draw(st.integers(1, int(share * len(lengths))))
    return read_lines(lengths, batch, draw(st.integers(1, 160)), share)


@given(read=line_epochs())
@settings(max_examples=4 * settings().max_examples)
def test_epochs_of_lines(read: LineEpochs) -> None:
    """Lines of any lengths are read once per epoch, in rows, windows and batches."""
    length = dict(zip(read.lines.starts.tolist(), read.lines.lengths.tolist(), strict=True))
    units = [start + k for start, count in length.items() for k in range(count)]
    for epoch in read.epochs:
        windows = [window for batch in epoch for window in batch]
        assert len(windows) == read.batches.windows
        assert sorted(np.concatenate([y[mask] for _, y, mask in windows]).tolist()) == units, "not each once"
        for x, y, mask in windows:
            np.testing.assert_array_equal(x[mask], y[mask] - 1)
        lines = [_lines_of(batch, length) for batch in epoch]
        assert len(lines) == -(-len(read.lines) // read.asked), "more batches than needed"
        sizes = [len(batch) for batch in lines]
        assert max(sizes) - min(sizes) <= 1
        assert max(sizes) == read.batches.batch <= read.asked
        pairs = itertools.pairwise(sorted(lines))
        assert all(shorter[-1] <= longer[0] for shorter, longer in pairs), "lines of other lengths between"
        for batch in epoch:
            steps = [len(x) for x, _, _ in batch]
            assert max(steps) <= read.batches.seq_len <= min(read.seq_len, max(read.lines.lengths))
            assert max(steps) - min(steps) <= 1
            assert (len(steps) - 1) * read.batches.seq_len < sum(steps), "a window is superfluous"
            assert batch[-1][2][-1].any(), "the last step is padding in every row"


def _lines_of(batch: list[tuple[Ids, Ids, Ids]], length: dict[int, int]) -> list[int]:
    """The sorted lengths of the lines in a batch; each row is a line, then padding."""
    targets, mask = (np.concatenate(arrays) for arrays in list(zip(*batch, strict=True))[1:])
    counts = mask.sum(axis=0).tolist()
    for b, count in enumerate(counts):
        assert mask[:count, b].all()
        first = int(targets[0, b])
        assert not count or targets[:count, b].tolist() == list(range(first, first + length[first]))
    return sorted(filter(None, counts))


def test_lines_are_cut_as_computed_by_hand() -> None:
    """Five lines in batches of at most two: 2 | 3 4 | 5 9, and 9 steps are three windows of three."""
    read = read_lines([9, 3, 5, 2, 4], 2, 4, 1.0, epochs=1)
    batches = sorted(
        ([len(x) for x, _, _ in batch], sorted(np.sum([mask.sum(axis=0) for _, _, mask in batch], axis=0)))
        for batch in read.epochs[0]
    )
    assert batches == [([2], [0, 2]), ([3, 3, 3], [5, 9]), ([4], [3, 4])]
    assert (read.batches.batch, read.batches.seq_len, read.batches.windows) == (2, 4, 5)


def _seen(batches: LineBatches, steps: range) -> list[list[list[int]]]:
    return [batches.window(step).y.tolist() for step in steps]


def _some_lines(count: int = 60) -> Lines:
    """Lines of four units each; ids are positions."""
    text = np.ones(1 + 4 * count, np.uint8)
    text[::4] = 0
    lines = Lines.of(text)
    return Lines(np.arange(len(text)), lines.starts, lines.lengths)


def test_the_order_is_new_every_epoch_and_follows_from_seed_and_step() -> None:
    """Epochs and seeds differ in who meets whom; a step asked for out of turn is the same step."""
    lines = _some_lines()
    batches = _batches(lines, 6, 10, seed=1)
    first, second = _seen(batches, range(10)), _seen(batches, range(10, 20))
    assert {frozenset(w[0]) for w in first} != {frozenset(w[0]) for w in second}
    assert _seen(_batches(lines, 6, 10, seed=2), range(10)) != first
    again = _batches(lines, 6, 10, seed=1)
    assert _seen(again, range(17, 20)) == second[7:]
    assert _seen(again, range(3, 10)) == first[3:]


@pytest.mark.parametrize("child", [0, 1])
def test_lines_are_not_ordered_by_the_draws_of_weights_and_noise(child: int) -> None:
    """The order is drawn from neither of the first children of the seed, which are the trainer's."""
    lines = _some_lines()
    batches = _batches(lines, 6, 10, seed=5)
    rng = np.random.default_rng(np.random.SeedSequence(5, spawn_key=(child,)))
    drawn = (4 * rng.permutation(60) + 1)[:, None] + np.arange(4)
    first = {frozenset(group) for group in drawn[:, 0].reshape(10, 6).tolist()}
    for epoch in range(3):
        read = _seen(batches, range(10 * epoch, 10 * epoch + 10))
        assert {frozenset(window[0]) for window in read} != first


def test_batches_of_different_lengths_are_mixed() -> None:
    """An epoch does not go from short lines to long ones."""
    read = read_lines([n // 4 + 2 for n in range(80)], 4, 100, 1.0)
    orders = [[len(batch[0][0]) for batch in epoch] for epoch in read.epochs]
    assert orders[0] != orders[1]
    assert all(order not in (sorted(order), sorted(order)[::-1]) for order in orders)


@pytest.mark.parametrize(
    ("lines", "batch", "fitted", "warning"),
    [
        (60, 60, 60, None),
        (60, 61, 60, "the training split has only 60 lines: train.batch from 61 to 60"),
        (1, 50, 1, "the training split has only one line: train.batch from 50 to 1"),
    ],
)
def test_a_batch_has_no_more_lines_than_there_are(
    lines: int, batch: int, fitted: int, warning: str | None
) -> None:
    """The batch shrinks to the number of lines, with a warning; the window without one."""
    batches, told = _some_lines(lines).batches(batch, 50, 1)
    assert (batches.batch, batches.seq_len, told) == (fitted, 4, warning)
    assert batches.window(0).mask is None, "lines of one length have no padding"


def test_much_padding_is_a_warning() -> None:
    """If more than half of the work is padding, the warning has the share and the lengths; not before."""
    ids = np.array([0, *[1] * 7, 0, 1, 0, 1, 0], np.uint8)  # lines of 8, 2 and 2 with their breaks
    batches, warning = Lines.of(ids).batches(3, 50, 1)
    assert batches.windows == 1
    # 12 of 24
    assert warning is None
    _, warning = Lines.of(np.array([0, *[1] * 9, 0, 1, 0, 1, 0], np.uint8)).batches(3, 50, 1)
    assert warning == (
        "53 % of the work is padding beside long lines: the longest has 10 characters, the average 5"
    )
