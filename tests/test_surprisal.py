"""The surprise of each character, word and line, in whatever pieces a text comes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, pairwise
from typing import Any, NamedTuple

import naive
import numpy as np
import pytest
from conftest import FORMS

from charlm.config.build import build_model, build_text
from charlm.config.reading import resolve
from charlm.data.units import Units
from charlm.data.vocabulary import Vocabulary
from charlm.inference import dynamic as dynamics
from charlm.inference import judge, score
from charlm.inference import surprisal as surprisals
from charlm.inference.judge import Judge, judges_of
from charlm.inference.rows import By, Columns, Rows
from charlm.inference.score import unit_losses
from charlm.inference.surprisal import Surprisal, surprisal
from charlm.runs.checkpoint import NOT_TRAINED, Checkpoint
from charlm.system.errors import ConfigError, VocabularyError
from charlm.system.team import Team

CHARACTERS = [
    *" The  ferry, at",
    "\n",
    *"noon",
    "\t",
    *"한글",
    " ",
    "e\u0301",
    "\n",
    "\n",
    *" 강을 ",
    "👍🏽",
    "🇰🇷",
    *"a\\b",
    " \u0301",
    "\u3000",
    *"end",
]
"""A text by its characters: words, several spaces, an empty line, and characters of several code points."""

TEXT = "".join(CHARACTERS)

UNITS = {
    "char": {},
    "byte": {"corpus.unit": "byte"},
    "jamo": {"corpus.normalize": "nfd"},
    "folded": {"corpus.normalize": "nfkc", "corpus.lowercase": True, "corpus.newlines": "lf"},
}


def make(form: str = "lstm", text: str = TEXT, seed: int = 1, layers: int = 1, **settings: Any) -> Checkpoint:
    """An untrained model in float64 that knows the units of a text."""
    cell, _, reset = form.partition(" ")
    values = {"model.cell": cell, "model.hidden": 7, "model.layers": layers} | settings
    config = resolve(values | ({"model.gru_reset": reset} if reset else {}), name="made")
    corpus = config.corpus
    units = Units(corpus.unit, corpus.normalize, corpus.lowercase, corpus.newlines)
    codes = {int(code) for code in units.of_text(text)} | {10}
    vocabulary = Vocabulary(codes, units, corpus.min_count > 1)
    model = build_model(config.model, len(vocabulary))
    parameters = model.initialise(np.random.default_rng(seed), "orthogonal", np.float64)
    parameters.flat += 0.3 * np.random.default_rng(seed).standard_normal(parameters.flat.size)
    return Checkpoint(config, vocabulary, parameters, {}, NOT_TRAINED)


class Row(NamedTuple):
    """A row of the table; what there is for each model is a list."""

    by: By
    name: str
    line: int
    column: int
    start: int
    stop: int
    text: str
    bits: list[float | None]
    bits_after: list[float | None]
    ranks: list[int]
    characters: list[int]
    unknown: list[int]


def listed(columns: Columns) -> Iterator[Row]:
    """Rows, one by one."""
    places = (columns.line, columns.column, columns.start, columns.stop, columns.text)
    models = (columns.bits, columns.bits_after, columns.ranks, columns.characters, columns.unknown)
    for k in range(len(columns)):
        own, lists = (each[k] for each in places), ([one[k] for one in each] for each in models)
        yield Row(columns.by, columns.name, *own, *lists)  # type: ignore[arg-type]


def columns(*rows: Row) -> Columns:
    """Rows of one text, by their columns."""
    by, name, *values = zip(*rows, strict=True)
    places, models = values[:5], values[5:]
    lists = ([list(one) for one in zip(*each, strict=True)] for each in models)
    return Columns(by[0], name[0], *map(list, places), *lists)


def rows_of(
    models: Sequence[Checkpoint],
    pieces: Iterable[str],
    by: By,
    by_line: bool = False,
    count: bool = False,
    live: bool = False,
    team: Team = Team(2),  # noqa: B008 (never changed)
) -> list[Row]:
    """The rows of one text that comes in these pieces."""
    rows = Rows(by)
    with surprisal(judges_of(models, team, ranks=True), by_line, count) as reading:
        every = chain(reading.scored([("t", pieces, "")], live), reading.flushed())
        return [row for piece in every for some in rows.add(piece) for row in listed(some)]


def cut(text: str, seed: int) -> list[str]:
    """A text in pieces of random sizes, some of them empty."""
    edges = np.sort(np.random.default_rng(seed).integers(0, len(text) + 1, 12)).tolist()
    return [text[start:stop] for start, stop in pairwise([0, *edges, len(text)])]


def near(bits: float | None, expected: Iterable[float]) -> bool:
    """Whether bits are the sum of those that are expected, which are None if there are none."""
    listed = list(expected)
    return bits == pytest.approx(sum(listed), rel=1e-9) if listed else bits is None


@pytest.mark.parametrize("by_line", [False, True], ids=["stream", "lines"])
@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("form", FORMS)
def test_rows_are_those_of_the_naive_version(form: str, units: str, by_line: bool) -> None:
    """Every row of every kind has the text, the place, the bits and the rank of the naive version.

    The text comes in pieces that end anywhere, and its last line has no line break.
    """
    made = make(form, layers=2, **UNITS[units])
    arrays = {name: np.asarray(array) for name, array in made.parameters.items()}
    of = made.vocabulary.units

    def ids_of(text: str) -> list[int]:
        return made.vocabulary.places(of.of_text(text)).tolist()

    def predict(ids: list[int]) -> list[tuple[float, int]]:
        return naive.surprise(form, arrays, ids, 2)

    for by in ("unit", "word", "line", "text"):
        expected = naive.table(CHARACTERS, ids_of, predict, by, by_line)
        for seed in range(3):
            rows = rows_of([made], cut(TEXT, seed), by, by_line)
            if by_line and by == "unit":
                last = rows.pop()  # the line break that is missing
                assert (last.text, last.characters, last.stop) == ("", [1], len(TEXT))
            assert [(row.line, row.column, row.text) for row in rows] == [
                (row["line"], row["column"], row["text"]) for row in expected
            ]
            for row, wanted in zip(rows, expected, strict=True):
                assert near(row.bits[0], wanted["bits"])
                if by == "word":
                    assert near(row.bits_after[0], wanted["after"])
                if by == "unit":
                    assert row.ranks == [wanted["rank"]]
                assert TEXT[row.start : row.stop] == row.text or by == "text"
            if by == "unit":
                assert "".join(row.text for row in rows) == TEXT


def whole(rows: Iterable[Row]) -> float:
    """The bits of all rows of one model."""
    return math.fsum(bits or 0.0 for row in rows for bits in (row.bits[0], *row.bits_after))


@pytest.mark.parametrize("by", ["unit", "word", "line", "text"])
@pytest.mark.parametrize("units", UNITS)
def test_bits_add_up_to_the_score(units: str, by: By, monkeypatch: pytest.MonkeyPatch) -> None:
    """All bits are those of the score, for streams and lines, in blocks that are full at awkward places."""
    text = (TEXT + "\n") * 90
    for mode in ("text", "lines"):
        made = make("gru after", text, **UNITS[units], **{"corpus.mode": mode})
        read = build_text(made.config.corpus, made.vocabulary, text)
        for block in (score.BLOCK, 2345):
            monkeypatch.setattr(score, "BLOCK", block)
            monkeypatch.setattr(judge, "BLOCK", block)
            monkeypatch.setattr(score.blocks_of_lines, "__defaults__", (block,))
            expected = unit_losses(made.model, made.parameters, read, team=Team(2).of(parts=1)).sum()
            rows = rows_of([made], cut(text, 1), by, mode == "lines")
            assert whole(rows) * math.log(2) == pytest.approx(expected, rel=1e-9)
            if units == "char":
                assert sum(row.characters[0] for row in rows) == read.targets


def test_workers_see_every_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text of many blocks has the rows of one that is scored at once, with two workers and with one."""
    made = make("rnn", TEXT)
    text = TEXT * 60
    once = rows_of([made], [text], "line")
    for block, team in ((2100, Team(1)), (2100, Team(2)), (1000, Team(2))):
        monkeypatch.setattr(judge, "BLOCK", block)
        for pieces in (cut(text, 3), [text[:100], text[100:]]):
            lines = rows_of([made], pieces, "line", team=team)
            assert sum(row.characters[0] for row in lines) == len(text) - 1
            assert [row.bits[0] for row in lines] == pytest.approx([row.bits[0] for row in once], abs=0.01)


def test_crlf_is_one_line_break() -> None:
    """Both characters are one, whether the model keeps them, reads one, or reads lines."""
    text = "one\r\ntwo\r\n\r\nthree"
    for settings in ({}, {"corpus.newlines": "lf"}, {"corpus.mode": "lines", "corpus.newlines": "lf"}):
        made = make(text=text, **settings)
        for by_line in (False, True):
            for seed in range(4):
                rows = rows_of([made], cut(text, seed), "unit", by_line)
                assert "".join(row.text for row in rows) == text
                assert [row.line for row in rows if row.text == "\r\n"] == [1, 2, 3]
                lines = rows_of([made], cut(text, seed), "line", by_line)
                assert [row.text for row in lines] == ["one", "two", "", "three"]
                if by_line:
                    assert [row.characters for row in lines] == [[4], [4], [0], [6]]


@pytest.mark.parametrize(
    "characters", [["🇰🇷"] * 99, ["e" + "\u0301" * 90, "a", "t"], ["a", "\u0600 ", "\u0600 ", "a"]]
)
def test_no_piece_ends_within_a_character(characters: list[str]) -> None:
    """However long a character, or a run of flags, is: a row has it whole, as no piece is cut there."""
    text = "".join(characters)
    for seed in range(4):
        rows = rows_of([make(text=text)], cut(text, seed), "unit")
        assert [row.text for row in rows] == characters


def test_each_line_is_read_from_a_line_break() -> None:
    """A line has the same bits wherever it stands; an empty one has none."""
    made = make()
    rows = rows_of([made], ["end\nThe\n\nend\n\n\nend"], "line", by_line=True)
    assert [row.text for row in rows] == ["end", "The", "", "end", "", "", "end"]
    assert rows[0].bits == pytest.approx(rows[3].bits)
    assert rows[0].bits == pytest.approx(rows[6].bits)
    assert [row.bits[0] is None for row in rows] == [False, False, True, False, True, True, False]
    assert rows[0].bits != pytest.approx(rows[1].bits)
    alone = unit_losses(
        made.model, made.parameters, build_text(made.config.corpus, made.vocabulary, "\nend\n")
    )
    assert rows[0].bits[0] == pytest.approx(alone.sum() / math.log(2))


def test_each_text_begins_from_zero() -> None:
    """A text that is scored after another has the bits that it has alone; files of one text have not."""
    made, rows = make(), Rows("text")
    with surprisal(judges_of([made])) as reading:
        apart = [
            row
            for name in "ab"
            for piece in reading.scored([(name, ["The end"], "")])
            for some in rows.add(piece)
            for row in listed(some)
        ]
        joined = [
            row
            for piece in reading.scored([("a", ["The end"], "\n"), ("b", ["The end"], "")])
            for some in rows.add(piece)
            for row in listed(some)
        ]
    assert apart[0].bits == apart[1].bits
    assert [row.name for row in apart] == [row.name for row in joined] == ["a", "b"]
    assert [row.characters for row in joined] == [[7], [7]]
    assert joined[1].bits != pytest.approx(apart[1].bits)
    (one,) = rows_of([made], ["The end\nThe end"], "text")
    assert whole(joined) == pytest.approx(one.bits[0])


@pytest.mark.parametrize(("dynamic", "many"), [(False, 2), (False, 3), (True, 2)])
def test_short_texts_are_scored_side_by_side(
    dynamic: bool, many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has the rows that it has alone, in order: long and short ones, empty ones, unknown characters."""
    monkeypatch.setattr(surprisals, "LONG", 60)
    monkeypatch.setattr(judge, "BLOCK", 90)
    monkeypatch.setattr(judge, "_MANY", many)
    texts = ["The end", "", "a", "ΩΩ", "at\nnoon Ω. " * 3, "Ωt", "The end at noon " * 5, "no", "e"]
    texts += ["on the " * 9, *"end at noon"]
    models = [make(seed=1), make("gru before", seed=2, **UNITS["byte"])]
    for by in ("unit", "text"):
        rows, apart = Rows(by), Rows(by)
        with surprisal(_judges(models, dynamic), count_unknown=True) as reading:
            every = chain(
                *(reading.scored([(str(k), cut(text, k), "")], alone=True) for k, text in enumerate(texts)),
                reading.flushed(),
            )
            found = [row for piece in every for some in rows.add(piece) for row in listed(some)]
        expected = []
        with surprisal(_judges(models, dynamic), count_unknown=True) as reading:
            for k, text in enumerate(texts):
                pieces = list(reading.scored([(str(k), [text], "")]))
                expected += [row for piece in pieces for some in apart.add(piece) for row in listed(some)]
        assert len(found) == len(expected) > len(texts) - 1
        for row, one in zip(found, expected, strict=True):
            assert (row.name, row.text, row.ranks) == (one.name, one.text, one.ranks)
            assert (row.characters, row.unknown) == (one.characters, one.unknown)
            assert row.bits == [None if bits is None else pytest.approx(bits, rel=1e-9) for bits in one.bits]


def _judges(models: Sequence[Checkpoint], dynamic: bool) -> list[Judge]:
    """Judges of models, which go on learning or not."""
    learned = [(np.full(one.parameters.flat.size, 0.01), dynamics.DEFAULT) for one in models]
    return [
        Judge(model, Team(2), True, one if dynamic else None)
        for model, one in zip(models, learned, strict=True)
    ]


def test_models_are_beside_each_other() -> None:
    """Each has its own bits, whatever its units; rows are cut where the units of all can be."""
    models = [make(seed=seed, **UNITS[name]) for seed, name in enumerate(UNITS)]
    for by in ("unit", "word", "line"):
        rows = rows_of(models, cut(TEXT, 2), by)
        for number, model in enumerate(models):
            alone = rows_of([model], [TEXT], by)
            assert [row.bits[number] for row in rows] == pytest.approx([row.bits[0] for row in alone])
            assert [row.ranks[number] for row in rows] == [row.ranks[0] for row in alone]


@pytest.mark.parametrize("min_count", [1, 2])
def test_what_is_unknown_is_counted(min_count: int) -> None:
    """A character that a model lacks is not scored, and a model without `<unk>` does not read it."""
    made = make(text="The end\n", **{"corpus.min_count": min_count})
    rows = rows_of([made], ["The eXnd", "é\nZZ\n"], "line", count=True)
    assert [row.unknown for row in rows] == [[2], [2]]
    assert [row.characters for row in rows] == [[7], [1]]
    if min_count == 1:
        known = rows_of([made], ["The end\n\n"], "line")
        assert [row.bits[0] for row in rows] == pytest.approx([row.bits[0] for row in known])
    else:
        whole_text = build_text(made.config.corpus, made.vocabulary, "The eXndé\nZZ\n")
        losses = unit_losses(made.model, made.parameters, whole_text) / math.log(2)
        assert rows[0].bits[0] == pytest.approx(sum(losses[[0, 1, 2, 3, 5, 6, 8]]))
        scored = rows_of([made], ["The eXndé\nZZ\n"], "line")  # as <unk>
        assert whole(scored) == pytest.approx(losses.sum())
    lines = rows_of([made], ["X\nThe\n"], "line", by_line=True, count=True)
    assert [(row.unknown, row.characters) for row in lines] == [([1], [1]), ([0], [4])]
    # a line break is one, also for a model that does not know its carriage return
    windows = rows_of([made], ["The\r\nend\r\n"], "line", by_line=True, count=True)
    unix = rows_of([made], ["The\nend\n"], "line", by_line=True)
    if min_count == 1:
        assert [row.bits[0] for row in windows] == pytest.approx([row.bits[0] for row in unix])
    assert [(row.text, row.characters) for row in windows] == [("The", [4]), ("end", [4])]


def test_a_character_with_a_unit_that_is_unknown_is_not_read() -> None:
    """None of its units is: what follows has the bits that it has without the character."""
    made = make(text="The 한 end\n", **UNITS["jamo"])
    (row,) = rows_of([made], ["The 각 end"], "line", count=True)
    (without,) = rows_of([made], ["The  end"], "line")
    assert (row.unknown, row.characters) == ([1], without.characters)
    assert row.bits[0] == pytest.approx(without.bits[0])


def test_each_model_lacks_its_own_characters() -> None:
    """Each scores what it knows, as it does alone; one that lacks more is not less surprised for it."""
    one, other = make(text="The end\n"), make(text="The X\n", seed=2)
    for by in ("unit", "line"):
        rows = rows_of([one, other], ["The X en", "d\n"], by, count=True)
        for number, model in enumerate((one, other)):
            alone = rows_of([model], ["The X end\n"], by, count=True)
            for name in ("bits", "characters", "unknown"):
                values = [getattr(row, name)[number] for row in rows]
                assert values == pytest.approx([getattr(row, name)[0] for row in alone])
    (line,) = rows
    assert (line.unknown, line.characters) == ([1, 2], [8, 7])
    assert line.bits[1] < line.bits[0] + 20.0 > 20.0
    assert columns(line).least_surprised() == [0]
    assert columns(line._replace(unknown=[1, 1])).least_surprised() == [int(line.bits[1] < line.bits[0])]


@pytest.mark.parametrize(
    ("settings", "pieces", "where"),
    [
        ({}, ["The end\nThe ", "eXd"], r"t, line 2, column 6: .*'X' \(U\+0058\)"),
        ({"corpus.normalize": "nfd"}, ["The end\n", "eé"], r"t, line 2, column 2: .*U\+0301"),
        ({"corpus.unit": "byte"}, ["\n\nTé"], r"t, line 3, column 2: .*byte 0xc3"),
    ],
)
def test_an_unknown_character_is_named(settings: dict[str, Any], pieces: list[str], where: str) -> None:
    """With its text, line and column, however the text is cut."""
    with pytest.raises(VocabularyError, match=where):
        rows_of([make(text="The end\n", **settings)], pieces, "line")


def test_a_model_without_line_breaks_reads_no_lines() -> None:
    """There is nothing from which it could read one."""
    made = make(text="abc")
    made = dataclasses.replace(made, vocabulary=Vocabulary(map(ord, "abcd"), Units()))
    with pytest.raises(ConfigError, match="line breaks"):
        Surprisal(judges_of([made]), by_line=True)


@pytest.mark.parametrize("by", ["unit", "word", "line", "text"])
def test_there_may_be_nothing_to_score(by: By) -> None:
    """An empty text has no row but that of the text; one character has a row without bits."""
    made = make()
    for by_line in (False, True):
        rows = rows_of([made], [""], by, by_line)
        assert [(row.bits, row.characters) for row in rows] == [([None], [0])] * (by == "text")
    (row,) = rows_of([made], ["T"], by)
    assert (row.bits, row.characters) == ([None], [0])


def test_lines_are_there_as_soon_as_they_come() -> None:
    """A live text gives the rows of every piece before the next piece is read."""
    made, given, seen = make(), [], Rows("line")

    def pieces() -> Iterable[str]:
        for piece in ("The ", "end\nno", "on\n", "at"):
            given.append(len(rows))
            yield piece

    rows: list[str] = []
    with surprisal(judges_of([made]), by_line=True) as reading:
        for piece in reading.scored([("t", pieces(), "")], live=True):
            rows += [text for some in seen.add(piece) for text in some.text]
    assert (rows, given) == (["The end", "noon", "at"], [0, 0, 1, 2])


@pytest.mark.parametrize(("units", "held"), [("char", 10**6), ("char", 200), ("byte", 200), ("folded", 200)])
def test_a_long_line_is_scored_as_a_text(units: str, held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In parallel streams, and read in pieces: beside short lines, in order, with the bits of the score."""
    monkeypatch.setattr(score, "LONG", 50)
    monkeypatch.setattr(surprisals, "_HELD", held)
    for module in (score, judge):
        monkeypatch.setattr(module, "BLOCK", 2345)
    monkeypatch.setattr(score.blocks_of_lines, "__defaults__", (2345,))
    made = make("lstm", TEXT + "\r", **UNITS[units], **{"corpus.mode": "lines"})
    made.parameters["layers.0.b"][1] += 3  # what is forgotten slowly differs where streams begin elsewhere
    line = TEXT.replace("\n", " ")
    lines = [line * 30, "The end", line * 70, "", "no", line * 9, "at", line * 11]
    text = ("\r\n" if units == "folded" else "\n").join(lines)
    read = build_text(made.config.corpus, made.vocabulary, text)
    expected = unit_losses(made.model, made.parameters, read).sum() / math.log(2)
    for seed in range(2):
        for live in (False, True):
            rows = rows_of([made], cut(text, seed), "line", by_line=True, live=live)
            assert [row.text for row in rows] == lines
            assert [row.line for row in rows] == [*range(1, 9)]
            assert [row.characters for row in rows] == [[len(one) + 1] if one else [0] for one in lines]
            assert whole(rows) == pytest.approx(expected, rel=1e-9)
        words = rows_of([made], cut(text, seed), "word", by_line=True)
        assert whole(words) == pytest.approx(expected, rel=1e-9)
