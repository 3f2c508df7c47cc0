"""Scores of a text, however it is cut for speed."""

from __future__ import annotations

import contextlib
import math
import tracemalloc

import numpy as np
import pytest
from conftest import FORMS, make_model

from charlm.arrays import Array, Ids
from charlm.data.texts import Lines, Text
from charlm.inference import score as evaluate
from charlm.inference.score import Score, score, unit_losses
from charlm.nn.model import Model
from charlm.nn.parameters import Parameters
from charlm.nn.workspace import Workspace
from charlm.system.team import Team
from charlm.system.workers import shared


def _model(form: str, memory: float = 0.0) -> tuple[Model, Parameters]:
    """A float64 model; `memory` moves the gates' biases towards keeping what is there."""
    model = make_model(form, layers=2, hidden=8, vocab=6)
    parameters = model.initialise(np.random.default_rng(4), "orthogonal", np.float64)
    for name, array in parameters.items():
        if name.endswith(".b") and len(array) > 1 and memory:
            array[1] = memory  # the LSTM's forget gate, the GRU's z
    parameters["output.W"][...] *= 4
    return model, parameters


def _one_by_one(model: Model, parameters: Parameters, ids: Ids, window: int | None = None) -> float:
    """The slow twin: one character at a time, one stream, a textbook softmax."""
    workspace, nll = Workspace(), 0.0
    for place in range(len(ids) - 1):
        if place == 0 or (window and place % window == 0):
            state = model.zero_state(1, np.float64)
        step = model.forward(parameters, ids[place].reshape(1, 1), state, workspace)
        logits, state = step.output, step.state
        p = np.exp(logits[0, 0]) / np.exp(logits[0, 0]).sum()
        nll -= math.log(p[ids[place + 1]])
    return nll


@pytest.mark.parametrize("window", [None, 1, 7, 100, 250, 1499, 5000])
def test_equals_one_character_at_a_time(window: int | None) -> None:
    """Every protocol gives the nats of feeding the text one character at a time, and tells of each once."""
    model, parameters = _model("gru after")
    ids = np.random.default_rng(1).integers(0, 6, 1500)
    told: list[int] = []
    result = score(model, parameters, Text(ids), window, progress=told.append)
    assert result.characters == 1499 == sum(told)
    assert result.nll == pytest.approx(_one_by_one(model, parameters, ids, window), rel=1e-9)


@pytest.mark.parametrize("window", [None, 130])
def test_workers_share_the_work(window: int | None) -> None:
    """Any number of workers gives the same bits with the same shards, and nearly the same with others."""
    model, parameters = _model("lstm")
    ids = np.random.default_rng(1).integers(0, 6, 13_007)
    teams = (Team(workers).of(parts=4) for workers in (1, 2, 4))
    one, two, four = (score(model, parameters, Text(ids), window, team) for team in teams)
    assert one == two == four
    assert score(model, parameters, Text(ids), window).nll == pytest.approx(one.nll, rel=1e-12)


@pytest.mark.parametrize("memory", [0.0, 4.0])
@pytest.mark.parametrize("form", FORMS)
def test_parallel_streams_equal_one_stream(form: str, memory: float) -> None:
    """A text scored in parallel streams has the nats per character of one stream, to 1e-5."""
    model, parameters = _model(form, memory)
    ids = np.random.default_rng(1).integers(0, 6, 5003)
    scorer = evaluate.Scorer(model, parameters, ids)
    single = scorer.single(0, len(ids) - 1, scorer.zero_state())[0].sum()
    assert score(model, parameters, Text(ids)).nll == pytest.approx(single, abs=1e-5 * len(ids))


def _latch(output: float) -> tuple[Model, Parameters]:
    """A network whose first character decides the sign of h, which no later one can change."""
    model = make_model("rnn", hidden=1, vocab=2)
    parameters = Parameters(model.shapes(), np.float64)
    parameters["layers.0.Wh"][...] = 5.0
    parameters["output.W"][...] = [[output, -output]]
    parameters["layers.0.Wx"][...] = [[[0.5], [-0.5]]]
    return model, parameters


def test_one_stream_that_does_not_forget_is_enough() -> None:
    """A wrong start is corrected as long as it shows in any one stream, however many have forgotten."""
    model, parameters = _latch(1e-5)  # differences of 2e-5 nats per character, twice the tolerance
    ids = np.random.default_rng(1).integers(0, 2, 1001 * 20 + 2)
    ids[:2] = ids[1::1001] = 0
    ids[1 + 19 * 1001 :] = 1  # only the last stream latches to what the others do not, and shows it all along
    scorer = evaluate.Scorer(model, parameters, ids)
    whole = 0, len(ids) - 1, scorer.zero_state()
    assert scorer.carried(*whole)[0].sum() == pytest.approx(scorer.single(*whole)[0].sum(), abs=1e-3)


@pytest.mark.parametrize(("streams", "alone"), [(3, False), (8, True)])
def test_streams_that_never_forget_are_exact(streams: int, alone: bool) -> None:
    """Where the start decides for ever, a few streams are begun again, many are scored as one."""
    model, parameters = _latch(3.0)
    ids = np.random.default_rng(1).integers(0, 2, 1001 * streams + 2)
    ids[1::1001] = 1  # where streams begin: all of them latch to what the first one does not
    ids[:2] = 0
    scorer = evaluate.Scorer(model, parameters, ids)
    calls: list[int] = []
    whole, single = (0, len(ids) - 1, scorer.zero_state()), scorer.single

    def counted(start: int, targets: int, state: Array) -> tuple[Array, Array]:
        calls.append(targets)
        return single(start, targets, state)

    scorer.single = counted  # type: ignore[method-assign]
    values, end = scorer.carried(*whole)
    expected, exact_end = single(*whole)
    np.testing.assert_allclose(values, expected, rtol=1e-9)
    np.testing.assert_allclose(end, exact_end, rtol=1e-9)
    assert calls[1:] == ([len(ids) - 1] if alone else [])


def test_units() -> None:
    """Bits are nats / ln 2, perplexity is exp(nats), and infinite rather than an error."""
    result = Score(nll=3 * math.log(8), characters=3)
    assert result.nats_per_char == pytest.approx(math.log(8))
    assert result.bits_per_char == pytest.approx(3)
    assert result.perplexity == pytest.approx(8)
    assert Score(1e6, 1).perplexity == math.inf


def test_too_short_a_text_is_refused() -> None:
    """One character cannot be scored: nothing stands before it."""
    with pytest.raises(ValueError, match="two characters"):
        score(*_model("rnn"), Text(np.array([1])))


def _lines(lengths: list[int], share: float = 1.0) -> Lines:
    """A share of lines of these lengths over the ids 1 to 5, the line break being 0."""
    text = np.random.default_rng(2).integers(1, 6, 1 + sum(lengths))
    text[np.cumsum([0, *lengths])] = 0
    return Lines.of(text.astype(np.uint8)).split((share, 1 - share, 0.0))[0]


def _line_by_line(model: Model, parameters: Parameters, lines: Lines) -> float:
    """The slow twin: one line at a time, each character alone, a textbook softmax."""
    nll = 0.0
    for place, length in zip(lines.starts.tolist(), lines.lengths.tolist(), strict=True):
        step = model.decoder(parameters, model.zero_state(1, parameters.flat.dtype))
        for k in range(place, place + length):
            logits = step(int(lines.ids[k - 1])).astype(np.float64)
            nll -= math.log(np.exp(logits[lines.ids[k]]) / np.exp(logits).sum())
    return nll


MANY = [2 + (7 * n) % 23 for n in range(700)]
"""Three groups of lines, of all lengths from 2 to 24."""


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    "lengths",
    [[2], [3, 2], [101, 100, 250], MANY, [*MANY[:90], 24, 25, 26, 51, 99, 330]],
    ids=["one", "two", "long", "many", "one far longer"],
)
@pytest.mark.parametrize(("dtype", "exact"), [(np.float64, 1e-12), (np.float32, 1e-6)])
def test_lines_are_scored_as_if_each_were_alone(
    lengths: list[int], threads: int, dtype: type, exact: float
) -> None:
    """Lines side by side have the nats of each by itself, fed one character at a time."""
    model, parameters = _model("gru after")
    parameters = Parameters(parameters.shapes, flat=parameters.flat.astype(dtype))
    lines = _lines(lengths)
    told: list[int] = []
    result = score(model, parameters, lines, team=Team(threads), progress=told.append)
    assert result.characters == sum(lengths) == sum(told)
    assert result.nll == pytest.approx(_line_by_line(model, parameters, lines), rel=exact)


@pytest.mark.parametrize("form", FORMS)
def test_a_part_of_the_lines_is_scored_alone(form: str) -> None:
    """Only the lines of the part count, with every cell, though others stand between them."""
    model, parameters = _model(form)
    lines = _lines(MANY, 0.4)
    result = score(model, parameters, lines)
    assert result.characters == lines.targets < sum(MANY) / 2
    assert result.nll == pytest.approx(_line_by_line(model, parameters, lines), rel=1e-12)


def test_texts_are_scored_as_if_each_were_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several texts, and lines among them, have the scores of each by itself, over several blocks."""
    monkeypatch.setattr(evaluate, "BLOCK", 60)
    model, parameters = _model("gru after")
    rng = np.random.default_rng(3)
    texts = [Text(rng.integers(0, 6, size)) for size in (2, 41, 9, 3, 70, 2)]
    texts[3:3] = [_lines([4, 2, 30])]
    found = evaluate.scores(model, parameters, texts)
    assert [one.characters for one in found] == [1, 40, 8, 36, 2, 69, 1]
    for one, text in zip(found, texts, strict=True):
        assert one.nll == pytest.approx(score(model, parameters, text).nll, rel=1e-12)
    assert evaluate.scores(model, parameters, []) == []
    with pytest.raises(ValueError, match="two characters"):
        evaluate.scores(model, parameters, [*texts, Text(np.array([1]))])


def test_lines_that_have_ended_give_up_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line far longer than the others is read on alone, not beside hundreds of rows of padding."""
    model, parameters = _model("rnn")
    lines = _lines([*MANY[:255], 2000])
    seen: list[int] = []
    window = evaluate.Scorer.window

    def counted(
        self: evaluate.Scorer, starts: Ids, steps: int, state: Array, stops: Ids | None = None
    ) -> tuple[Array, Array]:
        seen.append(len(starts) * steps)
        return window(self, starts, steps, state, stops)

    monkeypatch.setattr(evaluate.Scorer, "window", counted)
    score(model, parameters, lines)
    assert lines.targets <= sum(seen) < 2 * lines.targets


def test_memory_does_not_grow_with_the_numbers_of_lines() -> None:
    """Lines in groups of any size are scored in the memory of the largest group."""
    model, parameters = _model("lstm")
    lines = _lines([30] * 255)
    starts, lengths = lines.examples()
    with contextlib.closing(evaluate.Scorer(model, parameters, lines.ids)) as scorer:
        scorer.lines(starts, lengths)
        tracemalloc.start()
        for count in range(2, 255, 9):
            scorer.lines(starts[:count], lengths[:count])
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert size < 100_000


def test_windows_of_lines_are_refused() -> None:
    """A line is scored whole: there is no window to ask for."""
    with pytest.raises(ValueError, match="not in windows"):
        score(*_model("rnn"), _lines([3, 4]), window=5)


def test_no_lines_are_refused() -> None:
    """Where there is no line there is nothing to score."""
    with pytest.raises(ValueError, match="two characters"):
        score(*_model("rnn"), _lines([]))


@pytest.mark.parametrize("form", FORMS)
def test_losses_of_units_sum_to_the_score(form: str) -> None:
    """The losses of every predicted unit, of a text, its windows or lines, are those that the score sums."""
    model, parameters = _model(form)
    texts = (Text(np.random.default_rng(1).integers(0, 6, 1307)), _lines(MANY[:90], 0.5))
    for text in texts:
        losses = unit_losses(model, parameters, text)
        assert losses.shape == (text.targets,)
        assert losses.sum() == pytest.approx(score(model, parameters, text).nll, rel=1e-9)
    windows = unit_losses(model, parameters, texts[0], 400)
    assert windows.shape == (1306,)
    assert windows.sum() == pytest.approx(score(model, parameters, texts[0], 400).nll, rel=1e-9)
    whole = unit_losses(model, parameters, texts[0])
    ids = texts[0].ids
    single = [_one_by_one(model, parameters, ids[: n + 2]) for n in range(3)]
    np.testing.assert_allclose(np.cumsum(whole[:3]), single, rtol=1e-9)


@pytest.mark.parametrize("form", FORMS)
def test_ranks_and_the_likeliest_units(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rank is one more than the likelier units; those named are the likeliest, with their p."""
    monkeypatch.setattr(evaluate, "BLOCK", 2400)
    model, parameters = _model(form)
    for text in (Text(np.random.default_rng(1).integers(0, 6, 2307)), _lines(MANY[:90])):
        found = []
        for named in (0, 2):
            with contextlib.closing(
                evaluate.Scorer(model, parameters, text.ids, ranks=True, named=named)
            ) as scorer:
                found.append(np.concatenate(list(scorer.text(text)), axis=1))
        (losses, ranks), values = found[0], found[1]
        np.testing.assert_array_equal(losses, unit_losses(model, parameters, text))
        expected, likeliest = [], []
        for start, length in zip(*(part.tolist() for part in text.examples()), strict=True):
            step = model.decoder(parameters, model.zero_state(1, np.float64))
            for k in range(start, start + length):
                logits = step(int(text.ids[k]))
                expected.append(1 + sum(logit > logits[text.ids[k + 1]] for logit in logits))
                p = np.exp(logits) / np.exp(logits).sum()
                first = np.argsort(-p, kind="stable")[:2]
                likeliest.append([*first, *p[first]])
        for found_ranks in (ranks, values[1]):
            np.testing.assert_array_equal(found_ranks, expected)
        order = np.argsort(-values[4:], axis=0)
        named_values = [np.take_along_axis(part, order, axis=0) for part in (values[2:4], values[4:])]
        np.testing.assert_allclose(np.concatenate(named_values).T, likeliest, atol=1e-5)


def test_blocks_carry_the_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text longer than a block has the losses of one that is scored at once, as do long lines."""
    model, parameters = _model("lstm")
    stream, lines = Text(np.random.default_rng(1).integers(0, 6, 7003)), _lines([3, 5000, 4, 2100, 9])
    whole = [unit_losses(model, parameters, text) for text in (stream, lines)]
    monkeypatch.setattr(evaluate, "BLOCK", 2500)
    monkeypatch.setattr(evaluate, "LONG", 2100)
    in_blocks = [unit_losses(model, parameters, text) for text in (stream, lines)]
    for losses, expected in zip(in_blocks, whole, strict=True):
        np.testing.assert_allclose(losses, expected, atol=1e-3)
        assert abs(losses.mean() - expected.mean()) < 1e-5


def test_a_shared_text_may_change_between_calls() -> None:
    """Workers score what the memory of the units holds when they are called, not when they were forked."""
    model, parameters = _model("gru after")
    ids = shared((4001,), np.uint8)
    with contextlib.closing(evaluate.Scorer(model, parameters, ids, Team(2))) as scorer:
        for seed in (1, 2):
            ids[:] = np.random.default_rng(seed).integers(0, 6, 4001)
            values, _ = scorer.carried(0, 4000, scorer.zero_state())
            np.testing.assert_allclose(values[0], unit_losses(model, parameters, Text(ids.copy())), rtol=1e-9)


@pytest.mark.parametrize(
    ("lengths", "blocks"),
    [([], []), ([9], [1]), ([2, 3, 4], [2, 1]), ([2, 3, 1, 5, 6, 1], [3, 1, 1, 1]), ([7, 1, 1], [1, 2])],
)
def test_blocks_hold_as_many_lines_as_fit(lengths: list[int], blocks: list[int]) -> None:
    """Every line is in one block, in order; a line longer than a block has its own."""
    slices = list(evaluate.blocks_of_lines(np.array(lengths, int), most=6))
    assert [one.stop - one.start for one in slices] == blocks
    assert [k for one in slices for k in range(one.start, one.stop)] == list(range(len(lengths)))


def test_nothing_depends_on_what_follows_a_line() -> None:
    """A short line beside a long one has the same bits, whatever stands behind it in the text."""
    model, parameters = _model("gru after")
    parameters = Parameters(parameters.shapes, flat=3 * parameters.flat.astype(np.float32))
    found = []
    for seed in (1, 2):
        ids = np.random.default_rng(3).integers(0, 6, 200).astype(np.uint8)
        ids[104:] = np.random.default_rng(seed).integers(0, 6, 96)
        with contextlib.closing(evaluate.Scorer(model, parameters, ids)) as scorer:
            found.append(scorer.lines(np.array([0, 100]), np.array([20, 3])))
    np.testing.assert_array_equal(*found)
