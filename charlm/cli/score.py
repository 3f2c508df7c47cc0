"""charlm score."""

from __future__ import annotations

import heapq
import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import click

import charlm
from charlm.cli.bar import ReadingBar
from charlm.cli.options import Command, checkpoints_option, encoding_option, say_which_of
from charlm.cli.show import say, visible, warn
from charlm.config.reading import with_encoding
from charlm.runs.directory import RunDirectory, find_checkpoint
from charlm.system import blas
from charlm.system.files import STANDARD_INPUT
from charlm.system.team import Team

_HELP = """How surprising each line, word or character of a text is, as a table.

TEXT is a file, a directory, a pattern, or - for standard input, which is also
read if no TEXT is given. The files of a directory or pattern are one text.

The first character of a text is not predicted, and has no bits. A state that
begins with each line is read from a line break, so that the first character
of the line is predicted too. An empty line has no bits then.

\b
charlm score --by line --top 20 letters.txt
charlm score --by word --format jsonl book.txt
tail -f log | charlm score --checkpoint runs/log --reset line -
charlm score --checkpoint runs/a --checkpoint runs/b --by text texts/*.txt

The columns: text is the file, and line and column are counted from 1, columns
in code points. bits = -log2 p. A character is what a reader takes for one; its
rank is 1 if it was the likeliest. A word is a run without white space, and
bits_after belongs to the white space behind it. bits_per_char is per code
point of the original text. Tabs, line breaks and backslashes in texts are
written as \\t, \\n, \\r and \\\\.
"""


@click.command(cls=Command, help=_HELP)
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@checkpoints_option(
    ": without --mean every column of bits is then there for each, and `best` names the least surprised, "
    "for which a character that it lacks costs 20 bits"
)
@click.option(
    "--by",
    type=click.Choice(["unit", "word", "line", "text"]),
    default="line",
    help="What a row is for: a character, a word, a line or a text.",
)
@click.option(
    "--reset",
    type=click.Choice(["none", "line", "text"]),
    help="Where the state begins from zero: once for a TEXT, with each line, or with each file.  "
    "[default: as the model was trained]",
)
@click.option(
    "--top",
    type=click.IntRange(min=1),
    metavar="N",
    help="The N most surprising rows, most surprising first; lines and texts by bits_per_char.",
)
@click.option(
    "--unknown",
    type=click.Choice(["error", "count"]),
    default="error",
    help="What a character is that the model lacks: an error, or not scored but counted in a column.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["tsv", "jsonl"]),
    default="tsv",
    help="A table with tabs and a header, or a JSON object for each row.",
)
@click.option(
    "--dynamic", is_flag=True, help="Let a copy of the model learn from each segment once it is scored."
)
@encoding_option("the texts")
@click.pass_obj
def score(
    bar: ReadingBar,
    texts: Sequence[str],
    checkpoints: Sequence[Path],
    mean: bool,
    by: charlm.interface.By,
    reset: charlm.interface.Reset | None,
    top: int | None,
    unknown: Literal["error", "count"],
    form: Literal["tsv", "jsonl"],
    dynamic: bool,
    encoding: str | None,
) -> None:
    """Print the table."""
    if "" in texts:
        raise click.UsageError("TEXT: the path is empty.")
    files = [find_checkpoint(path) for path in checkpoints] or [find_checkpoint(None)]
    if len(set(files)) < len(files):
        raise click.UsageError("--checkpoint: the same checkpoint is named twice.")
    models = [charlm.interface.checkpoint.load(file) for file in files]
    if mean:
        models = [charlm.interface.together([str(file) for file in files], models)]
    if mean or not checkpoints:
        say_which_of(checkpoints, files)
    reset = reset or charlm.interface.usual_reset(models)
    corpora = [model.config.corpus for model in models]
    corpus = with_encoding(next((one for one in corpora if one.unit != "byte"), corpora[0]), encoding)
    paths = list(texts) or [STANDARD_INPUT]
    table = _Table(by, _names(checkpoints, files) if len(models) > 1 else [], unknown == "count", form)
    team = Team(blas.workers())
    if dynamic:
        say("choosing the rates of dynamic evaluation on each model's own text")
    judges = charlm.interface.judges_of(models, team, by == "unit", paths if dynamic else None)
    with charlm.interface.surprisal(judges, reset == "line", unknown == "count") as reading:
        # rows on a terminal show how far it is
        progress = charlm.interface.nothing if top is None and sys.stdout.isatty() else bar.advance
        pieces = charlm.interface.pieces_of(
            reading, paths, reset, corpus, say, lambda what: warn([what]), progress
        )
        made = charlm.interface.Rows(by)
        table.begin()
        if top is None:
            try:
                for piece in pieces:
                    for some in made.add(piece):
                        table.write(some)
            except charlm.CharlmError:
                for piece in reading.flushed():  # of the texts before the one that cannot be scored
                    for some in made.add(piece):
                        table.write(some)
                raise
        else:
            most = list(_most((some for piece in pieces for some in made.add(piece)), top))
            bar.close()
            for row in most:
                table.write(row)


def _most(rows: Iterable[charlm.interface.Columns], count: int) -> Iterator[charlm.interface.Columns]:
    """The most surprising rows, by the model that is least surprised; rows without bits are left out."""

    def candidates() -> Iterator[tuple[float, int, charlm.interface.Columns]]:
        before = 0
        for some in rows:
            ranked = ((value, -k) for k, value in enumerate(_surprise(some)) if value is not None)
            for value, place in heapq.nlargest(count, ranked):
                yield value, place - before, some.between(-place, 1 - place)
            before += len(some)

    # no two numbers are equal, so that rows are not compared
    for _, _, row in heapq.nlargest(count, candidates()):
        yield row


def _surprise(rows: charlm.interface.Columns) -> list[float | None]:
    """What rows are ranked by: bits, or bits per character for lines and texts."""
    values = rows.per_char() if rows.by in ("line", "text") else rows.bits
    return [
        min((value for value in row if value is not None), default=None) for row in zip(*values, strict=True)
    ]


def _names(paths: Sequence[Path], files: Sequence[Path]) -> list[str]:
    """A short name for each checkpoint: of its run, or as it was named if those are not all different."""
    names = [
        file.parent.name if path != file or file.name == RunDirectory(file.parent).best.name else str(path)
        for path, file in zip(paths, files, strict=True)
    ]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


_Values = Callable[["charlm.interface.Columns", int], Sequence[Any]]
"""What rows have in a column, for the model of that number."""


class _Table:
    """Writes rows to standard output, as they come."""

    def __init__(self, by: charlm.interface.By, names: Sequence[str], counts: bool, form: str) -> None:
        self.form = form
        keys = [*_COLUMNS[by], *(["best"] if names else []), *(["unknown"] if counts else [])]
        of_models = _OF_MODELS | ({"characters", "unknown"} if counts else set())
        values: Mapping[str, _Values] = {**_VALUES, "best": partial(_best, names)}
        self.columns: list[str] = []
        self.cells: list[tuple[str, _Values, int]] = []
        """For each column its key, what rows have there, and the number of the model."""
        for key in keys:
            for number, name in enumerate(names if names and key in of_models else [""]):
                self.columns.append(f"{key}:{name}" if name else key)
                self.cells.append((key, values[key], number))

    def begin(self) -> None:
        """Write the header of a table."""
        if self.form == "tsv":
            self._put("\t".join(map(_escaped, self.columns)) + "\n")

    def write(self, rows: charlm.interface.Columns) -> None:
        """Write some rows, and let the reader have them."""
        self._put((self._lines if self.form == "tsv" else self._objects)(rows))

    def _put(self, text: str) -> None:
        # what could steer a terminal is shown by a sign there
        sys.stdout.write(visible(text, keep="\t\n") if sys.stdout.isatty() else text)
        sys.stdout.flush()

    def _lines(self, rows: charlm.interface.Columns) -> str:
        shown = [_shown(key, values(rows, number)) for key, values, number in self.cells]
        return "\n".join(map("\t".join, zip(*shown, strict=True))) + "\n"

    def _objects(self, rows: charlm.interface.Columns) -> str:
        every = zip(*(values(rows, number) for _, values, number in self.cells), strict=True)
        return "".join(map(self._object, every))

    def _object(self, values: Sequence[Any]) -> str:
        finite = (None if isinstance(one, float) and not math.isfinite(one) else one for one in values)
        named = dict(zip(self.columns, finite, strict=True))
        line = json.dumps(named, ensure_ascii=False)
        try:
            line.encode()
        except UnicodeEncodeError:  # a byte that is not UTF-8, as a lone surrogate
            line = json.dumps(named)
        return f"{line}\n"


_COLUMNS = {
    "unit": ("text", "line", "column", "unit", "bits", "rank"),
    "word": ("text", "line", "column", "word", "bits", "bits_after"),
    "line": ("text", "line", "characters", "bits", "bits_per_char", "content"),
    "text": ("text", "characters", "bits", "bits_per_char"),
}
"""The columns of each kind of row."""

_OF_MODELS = {"bits", "bits_after", "bits_per_char", "rank"}
"""Columns that are there once for each model; so are counts of characters, if models lack some."""

_VALUES: Mapping[str, _Values] = {
    "text": lambda rows, _: [rows.name] * len(rows),
    "line": lambda rows, _: rows.line,
    "column": lambda rows, _: rows.column,
    "unit": lambda rows, _: rows.text,
    "word": lambda rows, _: rows.text,
    "content": lambda rows, _: rows.text,
    "characters": lambda rows, number: rows.characters[number],
    "unknown": lambda rows, number: rows.unknown[number],
    "bits": lambda rows, number: rows.bits[number],
    "bits_after": lambda rows, number: rows.bits_after[number],
    "bits_per_char": lambda rows, number: rows.per_char()[number],
    "rank": lambda rows, number: [rank or None for rank in rows.ranks[number]],
}
"""What each column holds, for the model of that number."""


def _best(names: Sequence[str], rows: charlm.interface.Columns, _: int) -> list[str | None]:
    """The names of the least surprised models."""
    return [None if least is None else names[least] for least in rows.least_surprised()]


_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


def _escaped(text: str) -> str:
    return text.translate(_ESCAPES)


def _shown(key: str, values: Sequence[Any]) -> Iterable[str]:
    """A column of a table; numbers that are not whole with 12 digits, so that sums are right."""
    if key in ("bits", "bits_after", "bits_per_char"):
        return ["" if value is None else f"{value:.12g}" for value in values]
    # the same values come again and again
    known = {value: "" if value is None else _escaped(str(value)) for value in set(values)}
    return map(known.__getitem__, values)
