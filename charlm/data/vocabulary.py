"""The vocabulary: the codes that the model knows, and the id of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import product
from typing import Any, NoReturn

import numpy as np

from charlm.arrays import Ids
from charlm.data.units import LINE_BREAK, Units
from charlm.errors import VocabularyError

_SHOWN = 10
"""Number of unknown codes that an error lists."""

_BLOCK = 1 << 20
"""Codes of a text that are looked at together."""

_REPLACEMENT = np.uint32(0xFFFD)


_DIFFERENCES = {"newlines": "line ends", "normalize": "Unicode normal form"}
"""Differences that a setting of `Units` removes."""


class Vocabulary:
    """The sorted codes of a text; the id of a code is its index among them.

    It depends only on which codes occur, not on their order or frequency. With `has_unknown` there
    is one more unit, `<unk>`, with the last id; it replaces all other codes.
    """

    def __init__(self, codes: Iterable[int], units: Units, has_unknown: bool = False) -> None:
        self.units, self.has_unknown = units, has_unknown
        self.codes = np.unique(np.fromiter(codes, np.uint32))
        self._unknown = len(self.codes)
        # id of every code up to the largest; the last entry is for all codes beyond it
        size = int(self.codes[-1]) + 2 if len(self.codes) else 1
        self._ids: Ids = np.full(size, self._unknown, np.min_scalar_type(self._unknown))
        self._ids[self.codes] = np.arange(self._unknown, dtype=self._ids.dtype)

    @classmethod
    def of(cls, codes: Ids, units: Units) -> Vocabulary:
        """The vocabulary of a text given as codes `[N]`."""
        counter = Counter()
        counter.add(codes)
        return cls(counter.codes(), units)

    def __len__(self) -> int:
        return len(self.codes) + self.has_unknown

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Vocabulary)
            and (self.units, self.has_unknown) == (other.units, other.has_unknown)
            and np.array_equal(self.codes, other.codes)
        )

    def __hash__(self) -> int:
        return hash((self.units, self.has_unknown, self.codes.tobytes()))

    @property
    def unknown(self) -> int | None:
        """The id of `<unk>`, if there is one."""
        return self._unknown if self.has_unknown else None

    @property
    def line_break(self) -> int | None:
        """The id of the line break, if it is in the vocabulary."""
        index = int(np.searchsorted(self.codes, LINE_BREAK))
        return index if index < len(self.codes) and self.codes[index] == LINE_BREAK else None

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest type for all ids."""
        return np.min_scalar_type(max(0, len(self) - 1))

    def encode(self, codes: Ids, where: str) -> Ids:
        """Ids `[N]` of codes `[N]`, of type `dtype`.

        Raises `VocabularyError` if the vocabulary lacks a code and has no `<unk>`; the message
        gives the codes, how often each occurs, `where`, and the setting with which the text would
        be known, if there is one.
        """
        ids: Ids = np.empty(codes.shape, self.dtype)
        # codes beyond the table share its last entry
        table = np.take(self._ids, np.arange(256), mode="clip")
        known = self.codes[self.codes < 256].astype(np.uint8).tobytes()
        bytewise = codes.dtype == ids.dtype == np.uint8
        for block in _blocks(len(codes)):
            if bytewise:
                # `bytes.translate` is several times as fast as `np.take`
                data = codes[block].tobytes()
                ids[block] = np.frombuffer(data.translate(table.astype(np.uint8).tobytes()), np.uint8)
                lacks = not self.has_unknown and bool(data.translate(None, known))
            else:
                found = np.take(self._ids, codes[block], mode="clip")
                ids[block] = found
                lacks = not self.has_unknown and found.max(initial=0) == self._unknown
            if lacks:
                self._refuse(*np.unique(codes, return_inverse=True), where)
        return ids

    def recode(self, ids: Ids, codes: Ids, where: str) -> Ids:
        """Ids in this vocabulary of a text given as ids `[N]` of the vocabulary with these `codes`.

        Raises `VocabularyError` as `encode` does.
        """
        if not (self.has_unknown or np.isin(codes, self.codes).all()):
            self._refuse(codes, ids, where)
        table = self.encode(codes, where)
        recoded: Ids = np.empty(ids.shape, self.dtype)
        for block in _blocks(len(ids)):
            recoded[block] = table[ids[block]]
        return recoded

    def names(self) -> list[str]:
        """The name of every unit by id: a character, an ASCII byte or `0xe9`, `<unk>` last."""
        if self.units.is_byte:
            known = [chr(code) if 0x20 <= code < 0x7F else f"0x{code:02x}" for code in self.codes.tolist()]
        else:
            known = [chr(code) for code in self.codes.tolist()]
        return [*known, "<unk>"] if self.has_unknown else known

    def text(self, ids: Ids) -> str:
        """The text of ids `[N]`, with the replacement character for `<unk>`."""
        return self.units.text(np.append(self.codes, _REPLACEMENT)[ids])

    def _refuse(self, codes: Ids, ids: Ids, where: str) -> NoReturn:
        """Raise the `VocabularyError` for a text given as in `recode`."""
        counts = np.zeros(len(codes), np.int64)
        for block in _blocks(len(ids)):
            counts += np.bincount(ids[block], minlength=len(codes))
        what = "bytes" if self.units.is_byte else "characters"
        raise VocabularyError(
            f"{where}: {what} that the model's vocabulary of {len(self)} lacks: {self.lacking(codes, counts)}"
            f"{self._way_out(codes, ids)}"
        )

    def _way_out(self, codes: Ids, ids: Ids) -> str:
        """What to do about a text that the model would know if it were read in another way."""
        own = self.units
        forms = ("none", "nfc", "nfd", "nfkc", "nfkd") if own.normalize == "none" else (own.normalize,)
        for form, newlines in product(forms, (own.newlines, "lf")):
            units = replace(own, normalize=form, newlines=newlines)
            blocks = (units.codes(own.plain(codes[ids[block]])) for block in _blocks(len(ids)))
            if all(np.isin(block, self.codes).all() for block in blocks):
                changed = [name for name in _DIFFERENCES if getattr(units, name) != getattr(own, name)]
                differs = " and ".join(_DIFFERENCES[name] for name in changed)
                keys = " and ".join(f"corpus.{name}={getattr(units, name)}" for name in changed)
                return f"; it differs only in {differs}: convert the text, or train a new model with {keys}"
        return ""

    def lacking(self, codes: Ids, counts: Ids) -> str:
        """The `codes` that the vocabulary lacks and how often each occurs, for a message."""
        lacks = np.isin(codes, self.codes, invert=True)
        codes, counts = codes[lacks], counts[lacks]
        most_first = np.argsort(-counts, kind="stable")
        named = ", ".join(
            f"{self.units.describe(int(codes[k]))} {_times(int(counts[k]))}" for k in most_first[:_SHOWN]
        )
        return named + (f", and {len(codes) - _SHOWN} more" if len(codes) > _SHOWN else "")


class Counter:
    """Collects the codes of a text that comes in pieces; with `counting`, also how often each occurs."""

    def __init__(self, counting: bool = False) -> None:
        self.counting = counting
        self.units = 0
        """Codes seen so far."""
        self._bytes: set[int] = set()
        self._seen: Ids = np.zeros(0, np.int64 if counting else bool)

    def add(self, codes: Ids) -> None:
        """Record one more piece `[N]`."""
        self.units += len(codes)
        for block in _blocks(len(codes)):
            piece = codes[block]
            if piece.dtype == np.uint8 and not self.counting:
                # bytes already found are removed, so little remains to examine
                self._bytes |= set(piece.tobytes().translate(None, bytes(self._bytes)))
                continue
            beyond = int(piece.max(initial=0)) + 1 - len(self._seen)
            if beyond > 0:
                self._seen = np.concatenate([self._seen, np.zeros(beyond, self._seen.dtype)])
            if self.counting:
                self._seen += np.bincount(piece, minlength=len(self._seen))
            else:
                self._seen[piece] = True

    def codes(self, at_least: int = 1) -> Ids:
        """The codes that occur at least `at_least` times, sorted."""
        found = np.flatnonzero(self._seen >= at_least)
        return np.union1d(found, np.array(sorted(self._bytes), np.int64)).astype(np.uint32)


def _blocks(size: int) -> Iterator[slice]:
    """Slices of a text: NumPy turns codes into 8-byte indices, too large for a whole text at once."""
    for start in range(0, size, _BLOCK):
        yield slice(start, start + _BLOCK)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
