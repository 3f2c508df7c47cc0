"""The vocabulary: which codes the model knows, and the id of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

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
        self._ids: Ids = np.full(size, self._unknown, kind)
        self._ids[self.codes] = np.arange(self._unknown, dtype=kind)

    @classmethod
    def of(cls, codes: Ids, units: Units) -> Vocabulary:
        """The vocabulary of a text given as codes `[N]`."""
        return cls(_distinct(codes), units)

    def __len__(self) -> int:
        return len(self.codes)

    def encode(self, codes: Ids, where: str) -> Ids:
        """Ids `[N]`, in the smallest type that has room for them and for "unknown".

        Raises `VocabularyError` if the vocabulary lacks a code; the message names the codes, how
        often each occurs, and `where`.
        """
        ids: Ids = np.empty(codes.shape, self._ids.dtype)
        # codes beyond the table share its last place
        table = np.take(self._ids, np.arange(256), mode="clip").tobytes()
        bytewise = codes.dtype == ids.dtype == np.uint8
        for part in _blocks(len(codes)):
            if bytewise:
                # bytes have a table lookup of their own, which is several times as fast
                ids[part] = np.frombuffer(codes[part].tobytes().translate(table), np.uint8)
            else:
                np.take(self._ids, codes[part], out=ids[part], mode="clip")
            if ids[part].max(initial=0) == self._unknown:
                raise VocabularyError(f"{where}: {self._complaint(codes)}")
        return ids

    def _complaint(self, text: Ids) -> str:
        unknown = text[~np.isin(text, self.codes)]
        codes, counts = np.unique(unknown, return_counts=True)
        most_first = np.argsort(-counts, kind="stable")
        named = ", ".join(
            f"{self.units.describe(int(codes[k]))} {_times(int(counts[k]))}" for k in most_first[:_SHOWN]
        )
        more = f", and {len(codes) - _SHOWN} more" if len(codes) > _SHOWN else ""
        what = "bytes" if self.units.unit == "byte" else "characters"
        return f"{what} that the model's vocabulary of {len(self)} lacks: {named}{more}"


def _distinct(codes: Ids) -> Ids:
    """The codes that occur in `codes [N]`, sorted."""
    if codes.dtype == np.uint8:
        found: set[int] = set()
        for part in _blocks(len(codes)):
            # what was found is taken out, and next to nothing remains to look at
            found |= set(codes[part].tobytes().translate(None, bytes(found)))
        return np.array(sorted(found), np.uint32)
    seen = np.zeros(int(codes.max(initial=0)) + 1, bool)
    for part in _blocks(len(codes)):
        seen[codes[part]] = True
    return np.flatnonzero(seen)


def _blocks(size: int) -> Iterator[slice]:
    """Parts of a text: NumPy turns codes into 8-byte indices, which a whole text has no room for."""
    for start in range(0, size, 1 << 20):
        yield slice(start, start + (1 << 20))


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
