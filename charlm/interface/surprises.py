"""The surprise of the parts of a text in memory, as rows that a notebook shows as a table."""

import html
from dataclasses import dataclass
from itertools import chain

from charlm.inference.judge import judges_of
from charlm.inference.rows import By, Rows
from charlm.inference.surprisal import Reset, surprisal, usual_reset
from charlm.runs.checkpoint import Checkpoint
from charlm.system.team import ALONE, Team
from charlm.web.signs import without_effect
from charlm.web.text import shade

_SHOWN = 200
"""Most rows that a notebook shows."""


@dataclass(frozen=True, slots=True)
class Surprise:
    """How surprising a part of a text is: a row of `charlm score`."""

    start: int
    """Where it begins in the text."""
    stop: int
    """Where it ends; for a word, before the white space behind it."""
    text: str
    """The unit or word, or the line without its line break."""
    bits: float | None
    """`-log2 p`, of all its units; None if none of them is predicted."""
    rank: int | None
    """1 if it was the likeliest; only for units."""
    bits_after: float | None
    """Bits of the white space behind a word."""
    line: int
    """The number of its line, from 1."""
    column: int
    """Its place in the line, from 1."""


class Surprises(list[Surprise]):
    """Rows of a text, which a notebook shows as a table."""

    def _repr_html_(self) -> str:
        """The first rows; the surprise of each is shaded."""
        columns = ("line", "column", "text", "bits", "bits_after", "rank")
        used = [name for name in columns if any(getattr(row, name) is not None for row in self)]
        head = "".join(f"<th>{name}</th>" for name in used)
        body = "".join(
            f"<tr>{''.join(_cell(name, getattr(row, name)) for name in used)}</tr>" for row in self[:_SHOWN]
        )
        more = f"<div>and {len(self) - _SHOWN:,} more</div>" if len(self) > _SHOWN else ""
        return f"<table><tr>{head}</tr>{body}</table>{more}"


def _cell(name: str, value: str | float | None) -> str:
    if isinstance(value, str):
        shown = "".join(map(without_effect, value))
        return f'<td style="text-align:left;white-space:pre-wrap">{html.escape(shown)}</td>'
    if isinstance(value, float):
        return f'<td style="{shade(value) if name == "bits" else ""}">{value:.2f}</td>'
    return f"<td>{'' if value is None else value}</td>"


def surprises(
    loaded: Checkpoint,
    text: str,
    by: By,
    reset: Reset | None = None,
    count_unknown: bool = False,
    team: Team = ALONE,
) -> Surprises:
    """The rows of a text in memory; see `Surprisal` for the arguments."""
    by_line = (reset or usual_reset([loaded])) == "line"
    rows = Rows(by)
    with surprisal(judges_of([loaded], team, by == "unit"), by_line, count_unknown) as reading:
        pieces = chain(reading.scored([("the text", [text], "")]), reading.flushed())
        return Surprises(
            Surprise(*values)
            for piece in pieces
            for some in rows.add(piece)
            for values in zip(
                some.start,
                some.stop,
                some.text,
                some.bits[0],
                [rank or None for rank in some.ranks[0]],
                some.bits_after[0] if by == "word" else [None] * len(some),
                some.line,
                some.column,
                strict=True,
            )
        )
