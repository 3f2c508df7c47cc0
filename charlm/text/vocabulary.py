"""The vocabulary: which codes the model knows, and the id of each."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from charlm.errors import VocabularyError
from charlm.nn.parameters import Ids
from charlm.text.units import Units

_SHOWN = 10
"""Unknown characters that an error names one by one."""


class Vocabulary:
    """The sorted codes of a text; a code's id is its place among them.

    Deterministic: it depends on which codes occur, not on their order or number.
    """

    def __init__(self, codes: Iterable[int], units: Units) -> None:
        self.units = units
        self.codes = np.unique(np.fromiter(codes, np.uint32))
        self._unknown = len(self.codes)
        kind = np.min_scalar_type(self._unknown)
        # id of every code up to the largest; one place more for all codes beyond it
        size = int(self.codes[-1]) + 2 if len(self.codes) else 1
        self._ids = np.full(size, self._unknown, kind)
        self._ids[self.codes] = np.arange(self._unknown, dtype=kind)

    @classmethod
    def of(cls, codes: Ids, units: Units) -> Vocabulary:
        """The vocabulary of a text given as codes `[N]`."""
        seen = np.zeros(int(codes.max(initial=0)) + 1, bool)
        seen[codes] = True
        return cls(np.flatnonzero(seen), units)

    def __len__(self) -> int:
        return len(self.codes)

    def encode(self, codes: Ids, where: str) -> Ids:
        """Ids `[N]`, in the smallest type that has room for them and for "unknown".

        Raises `VocabularyError` if the vocabulary lacks a code; the message names the codes, how
        often each occurs, and `where`.
        """
        ids = np.take(self._ids, codes, mode="clip")  # codes beyond the table share its last place
        unknown = codes[ids == self._unknown]
        if len(unknown):
            raise VocabularyError(f"{where}: {self._complaint(unknown)}")
        return ids

    def _complaint(self, unknown: Ids) -> str:
        codes, counts = np.unique(unknown, return_counts=True)
        most_first = np.argsort(-counts, kind="stable")
        named = ", ".join(
            f"{self.units.describe(int(codes[k]))} {_times(int(counts[k]))}" for k in most_first[:_SHOWN]
        )
        more = f", and {len(codes) - _SHOWN} more" if len(codes) > _SHOWN else ""
        what = "bytes" if self.units.unit == "byte" else "characters"
        return f"{what} that the model's vocabulary of {len(self)} lacks: {named}{more}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
