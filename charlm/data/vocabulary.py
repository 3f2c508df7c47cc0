"""The vocabulary: the codes that the model knows, and the id of each."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import product
from typing import Any, NoReturn

import numpy as np

from charlm.arrays import Ids
from charlm.data.units import LINE_BREAK, Units
from charlm.system.errors import VocabularyError

_SHOWN = 10
"""Most unknown codes that an error lists."""

_BLOCK = 1 << 20
"""Units of a text that are processed together."""

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
        given = np.fromiter(codes, np.uint32)
        # all of Unicode takes np.unique half a second
        self.codes = given if (given[:-1] < given[1:]).all() else np.unique(given)

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
        return len(self.codes) if self.has_unknown else None

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
        """Ids `[N]` of codes `[N]`, of type `dtype`; raises `VocabularyError` as `recode` does."""
        numbering = Numbering()
        return self.recode(numbering.add(codes), numbering.codes, where)

    def recode(self, ids: Ids, codes: Ids, where: str) -> Ids:
        """Ids in this vocabulary of a text given as indices `[N]` into `codes`, all different.

        Raises `VocabularyError` if the vocabulary lacks a code and has no `<unk>`. The message gives
        the codes, how often each occurs, `where`, and a setting with which they would be known.
        """
        if not (self.has_unknown or np.isin(codes, self.codes).all()):
            self._refuse(ids, codes, where)
        return translated(ids, self.places(codes))

    def places(self, codes: Ids) -> Ids:
        """The id of each of `codes`, of type `dtype`; for a code that is lacking, the id of `<unk>`."""
        places = np.searchsorted(self.codes, codes)
        return np.where(np.isin(codes, self.codes), places, len(self.codes)).astype(self.dtype)

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

    def _refuse(self, ids: Ids, codes: Ids, where: str) -> NoReturn:
        """Raise the `VocabularyError` of `recode`."""
        counts = sum(np.bincount(ids[block], minlength=len(codes)) for block in _blocks(len(ids)))
        what = "bytes" if self.units.is_byte else "characters"
        raise VocabularyError(
            f"{where}: {what} that the model's vocabulary of {len(self)} lacks: "
            f"{self.lacking(codes, np.asarray(counts))}{self._way_out(ids, codes)}"
        )

    def _way_out(self, ids: Ids, codes: Ids) -> str:
        """Advice about a text that the model would know if it were read with another setting."""
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


class Numbering:
    """Numbers the codes of a text that comes in pieces, in the order of their first occurrence."""

    def __init__(self) -> None:
        self.codes: Ids = np.zeros(0, np.uint32)
        """`[V]`, the codes by number."""
        self.counts: Ids = np.zeros(0, np.int64)
        """`[V]`, the occurrences of each code."""
        # number of every code; the last entry is for all codes beyond, and V for codes without a number
        self._numbers: Ids = np.zeros(257, np.uint8)

    def add(self, codes: Ids) -> Ids:
        """The numbers `[N]` of one more piece `[N]`, in the smallest type."""
        numbers = translated(codes, self._numbers)
        if numbers.max(initial=0) == len(self.codes):
            new = np.unique(codes[numbers == len(self.codes)])
            self.codes = np.concatenate([self.codes, new.astype(np.uint32)])
            size, V = max(len(self._numbers), int(self.codes.max(initial=0)) + 2), len(self.codes)
            self._numbers = np.full(size, V, np.min_scalar_type(V))
            self._numbers[self.codes] = np.arange(V)
            numbers = translated(codes, self._numbers)
        counts = np.zeros(len(self.codes), np.int64)
        counts[: len(self.counts)] = self.counts
        for block in _blocks(len(numbers)):
            counts += np.bincount(numbers[block], minlength=len(counts))
        self.counts = counts
        return numbers


def translated(ids: Ids, table: Ids) -> Ids:
    """`table[ids]`; ids beyond the table take its last entry."""
    result: Ids = np.empty(len(ids), table.dtype)
    bytewise = len(ids) and ids.dtype == table.dtype == np.uint8
    if bytewise:  # `bytes.translate` is several times as fast as `np.take`
        translation = np.take(table, np.arange(256), mode="clip").tobytes()
    for block in _blocks(len(ids)):
        if bytewise:
            result[block] = np.frombuffer(ids[block].tobytes().translate(translation), np.uint8)
        else:
            result[block] = np.take(table, ids[block], mode="clip")
    return result


def _blocks(size: int) -> Iterator[slice]:
    """Slices of a text: NumPy turns ids into 8-byte indices, too large for a whole text at once."""
    for start in range(0, size, _BLOCK):
        yield slice(start, start + _BLOCK)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
