"""The stretch of text that a report shows, as the network reads it and as a reader sees it.

A property of the text is a number for every character: what holds once the character has been read.
An opening mark is inside, a closing one is not. Letters: `N` units that are read, `C` characters.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Self

import numpy as np
import numpy.typing as npt

from charlm.arrays import Array, Ids
from charlm.data.texts import Text
from charlm.data.vocabulary import Vocabulary
from charlm.web.text import MOST_UNITS, Shown, characters


@dataclass(frozen=True, eq=False)
class Stretch:
    """The first characters of a text."""

    ids: Ids
    """The units, `[N]`; a stretch of lines begins with a line break, which is not shown."""
    begins: npt.NDArray[np.bool]
    """Which units are read from a zero state, `[N]`."""
    shown: Sequence[Shown]
    """The characters `[C]`, with the units in `ids` that they are made of."""
    letters: Sequence[str]
    """The text of each character, `[C]`."""

    @classmethod
    def of(cls, text: Text, vocabulary: Vocabulary, length: int) -> Self:
        """The first `length` characters of a text, or of lines; all of a shorter one."""
        most, first = MOST_UNITS * length, 0
        if text.lines is None:
            ids = text.ids[:most]
            begins = np.arange(len(ids)) == 0
        else:
            line_break = text.ids[:1]
            ids = np.concatenate([line_break, *text.excerpt(most).blocks()])
            begins, first = ids == line_break, 1
        shown = [
            one._replace(units=slice(one.units.start + first, one.units.stop + first))
            for one in islice(characters(vocabulary, ids[first:]), length)
        ]
        stop = shown[-1].units.stop
        letters = [vocabulary.text(ids[one.units]) for one in shown]
        return cls(ids[:stop], begins[:stop], shown, letters)

    @property
    def ends(self) -> Ids:
        """The last unit of each character, `[C]`: once it is read, so is the character."""
        return np.array([one.units.stop - 1 for one in self.shown])

    def sums(self, values: Array) -> Array:
        """The sum of values of the units `[N]` over each character, `[C]`."""
        return np.add.reduceat(values, [one.units.start for one in self.shown])

    def words(self) -> list[slice]:
        """The words, as slices of the characters: letters, digits, and an apostrophe or hyphen among them."""
        marks = "".join(
            "a" if letter[:1].isalnum() else "-" if letter in _JOINING else " " for letter in self.letters
        )
        return [slice(*match.span()) for match in re.finditer("a+(?:-a+)*", marks)]


_JOINING = ("'", "’", "-", "\N{HYPHEN}")

_OPENING, _CLOSING, _STRAIGHT = frozenset("“„«「『"), frozenset("”»」』"), '"'

_DASHES = frozenset("-–—")

_BRACKETS = dict(zip("([{<（［【〈《", ")]}>）］】〉》", strict=True))


def inside_quotes(letters: Sequence[str]) -> Array:
    """1 from an opening quotation mark to the character before the closing one; `[C]`.

    A straight mark opens after a blank, a dash, an opening bracket or nothing, and closes after
    anything else. An empty line ends a quotation that was not closed.
    """
    marked, inside, before = np.zeros(len(letters)), False, "\n"
    for k, letter in enumerate(letters):
        if letter in _OPENING:
            inside = True
        elif letter in _CLOSING or letter == before == "\n":
            inside = False
        elif letter == _STRAIGHT:
            inside = not inside and (before.isspace() or before in _DASHES or before in _BRACKETS)
        marked[k], before = inside, letter
    return marked


def inside_brackets(letters: Sequence[str]) -> Array:
    """1 from an opening bracket to the character before the one that closes it; `[C]`.

    A bracket that is never closed does not count, and `<` counts only where `>` follows in its line.
    """
    marked = np.zeros(len(letters))
    open_: list[tuple[str, int]] = []  # the closing bracket of each, and the place of the opening one
    for k, letter in enumerate(letters):
        if letter in _BRACKETS:
            open_.append((_BRACKETS[letter], k))
        elif letter == "\n":
            open_ = [one for one in open_ if one[0] != ">"]
        elif any(letter == closing for closing, _ in open_):
            while open_:
                closing, begin = open_.pop()
                if closing == letter:
                    marked[begin:k] = 1
                    break
    return marked


def position_in_line(letters: Sequence[str]) -> Array:
    """Characters since the last line break, or the first character, which itself is 0; `[C]`."""
    return _since([letter == "\n" for letter in letters], 0)


def length_of_word(letters: Sequence[str]) -> Array:
    """Letters and digits since the last other character, this one included; `[C]`."""
    return _since([not letter[:1].isalnum() for letter in letters], -1)


def _since(breaks: Sequence[bool], start: int) -> Array:
    """The distance from the last break, or else from place `start`; `[C]`."""
    places = np.arange(len(breaks))
    return (places - np.maximum.accumulate(np.where(breaks, places, start))).astype(np.float64)


PROPERTIES: Mapping[str, Callable[[Sequence[str]], Array]] = {
    "inside quotes": inside_quotes,
    "inside brackets": inside_brackets,
    "position in the line": position_in_line,
    "after a line break": lambda letters: np.array([float(letter == "\n") for letter in letters]),
    "capital letters": lambda letters: np.array([float(letter.isupper()) for letter in letters]),
    "length of the word so far": length_of_word,
}
"""The properties by their names for readers."""
