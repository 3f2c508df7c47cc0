from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from charlm.nn.parameters import Ids
from charlm.text.batches import Streams, fit

unhurried = settings(deadline=None, max_examples=200)  # other work may share the processor


@dataclass(frozen=True)
class Epoch:
    """Every window of an epoch, with the ids turned back into places of the text."""

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
    # mixed, so that "the next place" is not by accident "the next number"
    ids = np.random.default_rng(size).permutation(size)
    place = np.argsort(ids)
    streams = Streams(ids, batch, seq_len)
    windows = [streams.window(number) for number in range(streams.windows)]
    return Epoch(size, seq_len, [place[x] for x, _ in windows], [place[y] for _, y in windows])


# text, streams, window: what a floor or a ceiling gets wrong; all divide, none does, one of each
CORNERS = [(2, 1, 1), (101, 10, 5), (101, 10, 7), (100, 10, 3), (12, 11, 4), (8, 5, 1), (105, 1, 50)]


@st.composite
def epochs(draw: st.DrawFn) -> Epoch:
    """Epochs over texts of any size, with any number of streams and any window."""
    size = draw(st.integers(2, 200))
    drawn = st.tuples(st.just(size), st.integers(1, size - 1), st.integers(1, size + 10))
    return read(*draw(st.one_of(st.sampled_from(CORNERS), drawn)))


@given(epoch=epochs())
@unhurried
def test_every_character_is_a_target_in_every_epoch(epoch: Epoch) -> None:
    """Every character but the first is predicted in every epoch: no remainder is left out."""
    predicted = np.unique(np.concatenate(epoch.targets))
    assert predicted.tolist() == list(range(1, epoch.size))


@given(epoch=epochs())
@unhurried
def test_targets_are_inputs_one_step_on(epoch: Epoch) -> None:
    """The target of every input is the character after it in the text."""
    for x, y in zip(epoch.inputs, epoch.targets, strict=True):
        np.testing.assert_array_equal(y, x + 1)


@given(epoch=epochs())
@unhurried
def test_windows_of_a_stream_follow_one_another(epoch: Epoch) -> None:
    """Each step of a stream continues the last one, across windows too: the carried state fits."""
    assert (np.diff(epoch.streams, axis=0) == 1).all()


@given(epoch=epochs())
@unhurried
def test_windows_are_alike_and_within_bounds(epoch: Epoch) -> None:
    """Lengths of windows differ by one step at most and never exceed T; there are no more than needed."""
    lengths = [len(x) for x in epoch.inputs]
    assert max(lengths) <= epoch.seq_len
    assert max(lengths) - min(lengths) <= 1
    assert (len(lengths) - 1) * epoch.seq_len < sum(lengths)


@given(epoch=epochs())
@unhurried
def test_streams_overlap_by_one_character_at_most(epoch: Epoch) -> None:
    """Streams cover the text from end to end, and neighbours share one target at most, or none."""
    firsts, lasts = epoch.streams[0], epoch.streams[-1]
    assert firsts[0] == 0
    assert lasts[-1] == epoch.size - 2
    shared = lasts[:-1] - firsts[1:] + 1
    assert set(shared.tolist()) <= {0, 1}


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


def test_windows_are_steps_by_streams() -> None:
    """A window is `[T, B]`: steps go down, streams go across."""
    x, y = Streams(np.arange(9), 2, 4).window(0)
    assert x.tolist() == [[0, 4], [1, 5], [2, 6], [3, 7]]
    assert y.tolist() == [[1, 5], [2, 6], [3, 7], [4, 8]]


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.uint32])
def test_windows_keep_the_type_of_ids(kind: type[np.unsignedinteger]) -> None:
    """The ids of a window are of the text's own small type."""
    x, y = Streams(np.arange(9, dtype=kind), 2, 4).window(0)
    assert {x.dtype, y.dtype} == {np.dtype(kind)}


@given(characters=st.integers(2, 500), batch=st.integers(1, 60), seq_len=st.integers(1, 600))
@example(characters=2, batch=1, seq_len=1)
@example(characters=2, batch=2, seq_len=2)
@example(characters=2501, batch=50, seq_len=50)
@example(characters=2500, batch=50, seq_len=50)
@unhurried
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
        (5, 1, 50, (1, 4), "train.seq_len from 50 to 4"),
        (5, 50, 5, (1, 4), "train.batch from 50 to 1 and train.seq_len from 5 to 4"),
    ],
)
def test_fit_says_what_it_changed(
    characters: int, batch: int, seq_len: int, fitted: tuple[int, int], shrunk: str
) -> None:
    """The warning names the size of the text, and each changed key with both its numbers."""
    assert fit(characters, batch, seq_len) == (
        *fitted,
        f"the training split has only {characters} characters: {shrunk}",
    )


@pytest.mark.parametrize(("batch", "seq_len"), list(itertools.product([1, 4, 10], [1, 7, 10])))
def test_fit_leaves_alone_what_fits(batch: int, seq_len: int) -> None:
    """Where every stream holds a whole window, the last character included, nothing changes."""
    assert fit(101, batch, seq_len) == (batch, seq_len, None)
