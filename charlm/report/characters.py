"""The characters as the first layer sees them: their input rows, by two principal components.

Letters: `V` vocabulary, `G` gates, `H` hidden units.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

import numpy as np

from charlm.arrays import Array
from charlm.data.units import Units
from charlm.data.vocabulary import Vocabulary

_VOWELS = frozenset("aeiouαεηιουωаеёиоуыэюяіїє")

KINDS = (
    "vowel",
    "consonant",
    "final consonant",
    "letter",
    "digit",
    "punctuation",
    "first byte",
    "following byte",
    "other",
)
"""What a unit can be; `letter` is one of a script that does not part vowels from consonants."""


@dataclass(frozen=True, eq=False)
class Components:
    """Two principal components of the rows of a matrix."""

    places: Array
    """Of each row, `[V, 2]`."""
    shares: Array
    """Of the variance that each component explains, `[2]`."""


def components(rows: Array) -> Components:
    """The first two principal components of rows `[V, D]`, from the SVD of what differs from their mean.

    The largest coordinate of each component is positive, so that equal rows give equal pictures.
    """
    centred = (rows - rows.mean(axis=0)).astype(np.float64)
    U, lengths, _ = np.linalg.svd(centred, full_matrices=False)
    places = np.zeros((len(rows), 2))
    shares = np.zeros(2)
    count = min(2, len(lengths))
    places[:, :count] = U[:, :count] * lengths[:count]
    total = float((lengths**2).sum())
    if total > 0:
        shares[:count] = lengths[:count] ** 2 / total
    largest = np.take_along_axis(places, np.abs(places).argmax(axis=0)[None], axis=0)[0]
    return Components(places * np.where(largest < 0, -1.0, 1.0), shares)


def input_rows(Wx: Array) -> Array:
    """The weights `[G, V, H]` with which each unit enters the first layer, `[V, G·H]`."""
    rows: Array = Wx.transpose(1, 0, 2).reshape(Wx.shape[1], -1)
    return rows


def kinds(vocabulary: Vocabulary) -> list[str]:
    """For each unit one of `KINDS`, `[V]`; of `<unk>` `other`."""
    found = [kind(code, vocabulary.units) for code in vocabulary.codes.tolist()]
    return [*found, "other"] if vocabulary.has_unknown else found


def kind(code: int, units: Units) -> str:
    """What a unit is, by its code; bytes beyond ASCII by their place in a character of UTF-8."""
    if units.is_byte and code >= 0x80:
        return "following byte" if code < 0xC0 else "first byte"
    character = chr(code)
    name, category = unicodedata.name(character, ""), unicodedata.category(character)
    for part, what in _JAMO.items():
        if name.startswith(part):
            return what
    if category[0] == "N":
        return "digit"
    if category[0] == "P":
        return "punctuation"
    if category[0] != "L":
        return "other"
    base = unicodedata.normalize("NFD", character)[0].lower()
    if base in _VOWELS:
        return "vowel"
    return "consonant" if name.split(" ")[0] in ("LATIN", "GREEK", "CYRILLIC") else "letter"


_JAMO = {
    "HANGUL CHOSEONG": "consonant",
    "HANGUL JUNGSEONG": "vowel",
    "HANGUL JONGSEONG": "final consonant",
}
