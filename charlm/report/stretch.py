"""The stretch of text that a report shows: as the network reads it, and as a reader sees it.

Letters: `N` units that are read, `C` characters that are shown, `V` vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from charlm.arrays import Array, Ids
from charlm.data.lines import Text
from charlm.data.vocabulary import Vocabulary
from charlm.web.text import MOST_UNITS, Shown, characters


@dataclass(frozen=True, eq=False)
class Stretch:
    """The first characters of a text."""

    ids: Ids
    """The units, `[N]`; of lines the line break before them first, which is not shown."""
    begins: npt.NDArray[np.bool]
    """Which units are read from a zero state, `[N]`."""
    shown: Sequence[Shown]
    """The characters `[C]`, with the units in `ids` that they are made of."""
    letters: Sequence[str]
    """The text of each character, `[C]`."""

    @classmethod
    def of(cls, text: Text, vocabulary: Vocabulary, length: int) -> Stretch:
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
            Shown(one.sign, slice(one.units.start + first, one.units.stop + first), one.ends_line)
            for one in islice(characters(vocabulary, ids[first:]), length)
        ]
        stop = shown[-1].units.stop
        letters = [vocabulary.text(ids[one.units]) for one in shown]
        return cls(ids[:stop], begins[:stop], shown, letters)

    @property
    def ends(self) -> Ids:
        """The last unit of each character, `[C]`: what is known once a character has been read."""
        return np.array([one.units.stop - 1 for one in self.shown])

    def sums(self, values: Array) -> Array:
        """Of values of the units `[N]` the sum over each character, `[C]`."""
        starts = [one.units.start for one in self.shown]
        sums: Array = np.add.reduceat(values, starts)
        return sums

    def words(self) -> list[slice]:
        """The words, as slices of the characters: letters, digits, and an apostrophe or hyphen among them."""
        within = [bool(letter) and letter[0].isalnum() for letter in self.letters]
        for k in range(1, len(within) - 1):
            if self.letters[k] in _JOINING and self.letters[k - 1][:1].isalnum():
                within[k] = within[k + 1]
        edges = np.flatnonzero(np.diff(np.array([False, *within, False], np.int8)))
        return [slice(begin, end) for begin, end in edges.reshape(-1, 2).tolist()]


_JOINING = ("'", "’", "-", "\N{HYPHEN}")
