"""The characters as the first layer sees them: which of their input rows are alike, and a map of them.

Letters: `V` vocabulary, `D` numbers of a row.
"""

import unicodedata

import numpy as np

from charlm.arrays import Array, Ids
from charlm.data.units import Units

_VOWELS = frozenset("aeiouαεηιουωаеёиоуыэюяіїє")

_JAMO = {"CHOSEONG": "consonant", "JUNGSEONG": "vowel", "JONGSEONG": "final consonant"}
"""The kinds of the parts of a Hangul syllable, by their names in Unicode."""

_STEPS = 300
"""Steps of the map."""


def directions(rows: Array) -> Array:
    """The rows `[V, D]` less their mean, each of length 1, or zero where nothing is left."""
    centred = (rows - rows.mean(axis=0)).astype(np.float64)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    units: Array = np.divide(centred, lengths, out=np.zeros_like(centred), where=lengths > 0)
    return units


def nearest(nearness: Array, count: int = 3) -> Ids:
    """The columns with the largest values of each row of `[V, V]`, its own left out, `[V, ≤count]`.

    There are at most half of the others, but one at least if there is one; the largest comes first.
    """
    others = nearness.astype(np.float64)
    np.fill_diagonal(others, -np.inf)
    count = min(count, max(1, (len(others) - 1) // 2), len(others) - 1)
    return np.argsort(-others, axis=1, kind="stable")[:, :count]


def kept(near: Ids, places: Array) -> float:
    """The share of the neighbours `near [V, k]` among the k nearest of places `[V, 2]`; 1 if k is 0."""
    on_map = nearest(-_squares(places), near.shape[1])
    return float((near[:, :, None] == on_map[:, None]).any(axis=2).mean()) if near.size else 1.0


def layout(cosines: Array) -> Array:
    """Places `[V, 2]` at which units with large `cosines [V, V]` are near: t-SNE, without random numbers.

    ::

        p_ij = exp(b_i cos_ij) / Σ_k exp(b_i cos_ik),  k ≠ i;  b_i = 5 / (standard deviation of cos_i)
        P = (p + pᵀ) / 2V
        q_ij = 1 / (1 + ‖y_i - y_j‖²);  Q = q / Σ q
        dy_i = 4 Σ_j (P_ij - Q_ij) q_ij (y_i - y_j)

    Van der Maaten, Hinton 2008, Journal of Machine Learning Research 9, but for b, which they search for.
    It begins with the two principal components, the largest coordinate of each positive, so that equal
    rows give equal pictures.
    """
    V = len(cosines)
    if V < 3:
        return np.array([[0.0, 0.0], [1.0, 0.0]])[:V]
    others = ~np.eye(V, dtype=bool)
    b = 5 / np.maximum(1e-9, cosines.std(axis=1, where=others, keepdims=True))
    logs = np.where(others, b * cosines, -np.inf)
    p = np.exp(logs - logs.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    P = (p + p.T) / (2 * V)
    values, vectors = np.linalg.eigh(cosines)
    y: Array = vectors[:, :-3:-1] * np.sqrt(np.maximum(values[:-3:-1], 0))  # [V, 2]
    largest = np.take_along_axis(y, np.abs(y).argmax(axis=0)[None], axis=0)
    y *= np.where(largest < 0, -1e-4, 1e-4)
    velocity = np.zeros_like(y)
    for step in range(_STEPS):
        is_early = step < _STEPS // 5
        q = others / (1 + _squares(y))
        pull = ((4 if is_early else 1) * P - q / q.sum()) * q
        dy = 4 * (pull.sum(axis=1, keepdims=True) * y - pull @ y)
        velocity = (0.5 if is_early else 0.8) * velocity - max(10.0, V / 4) * dy
        y += velocity
    y -= y.mean(axis=0)
    return y


def _squares(places: Array) -> Array:
    """The squared distances between places `[V, 2]`, `[V, V]`."""
    norms = np.square(places).sum(axis=1)
    squares: Array = np.maximum(norms[:, None] + norms - 2 * (places @ places.T), 0.0)
    return squares


def kind(code: int, units: Units) -> str:
    """The kind of a unit, one of `drawing.MARKS`, by its code.

    A byte beyond ASCII has a kind by its place in a character of UTF-8. A `letter` belongs to a
    script that does not separate vowels from consonants.
    """
    if units.is_byte and code >= 0x80:
        return "following byte" if code < 0xC0 else "first byte"
    character = chr(code)
    script, part, *_ = (unicodedata.name(character, "") + "  ").split(" ")
    if script == "HANGUL" and part in _JAMO:
        return _JAMO[part]
    category = unicodedata.category(character)[0]
    if category in "NP":
        return "digit" if category == "N" else "punctuation"
    if category != "L":
        return "other"
    if unicodedata.normalize("NFD", character)[0].lower() in _VOWELS:
        return "vowel"
    return "consonant" if script in ("LATIN", "GREEK", "CYRILLIC") else "letter"
