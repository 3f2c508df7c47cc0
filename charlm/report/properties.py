"""Simple properties of a text that a unit of a network may follow.

Each is a number for every character: what is so once the character has been read. An opening mark
is inside, a closing one is not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from charlm.arrays import Array

_OPENING, _CLOSING, _STRAIGHT = frozenset("“„«「『"), frozenset("”»」』"), '"'

_DASHES = frozenset("-–—")

_BRACKETS = {
    "(": ")",
    "[": "]",
    "{": "}",
    "<": ">",
    "（": "）",
    "［": "］",
    "【": "】",
    "〈": "〉",
    "《": "》",
}


def inside_quotes(letters: Sequence[str]) -> Array:
    """1 from an opening quotation mark to what stands before the closing one; `[C]`.

    A straight mark opens after a blank, a dash, an opening bracket or nothing, and closes after
    anything else. An empty line ends what was not closed.
    """
    found, inside, before = np.zeros(len(letters)), False, "\n"
    for k, letter in enumerate(letters):
        if letter in _OPENING:
            inside = True
        elif letter in _CLOSING:
            inside = False
        elif letter == _STRAIGHT:
            inside = not inside and (before.isspace() or before in _DASHES or before in _BRACKETS)
        elif letter == before == "\n":
            inside = False
        found[k], before = inside, letter
    return found


def inside_brackets(letters: Sequence[str]) -> Array:
    """1 from an opening bracket to what stands before the one that closes it; `[C]`.

    A bracket that is never closed is none, and `<` is one only where `>` follows in its line.
    """
    found = np.zeros(len(letters))
    open_: list[tuple[str, int]] = []  # what closes each, and where it stands
    for k, letter in enumerate(letters):
        if letter in _BRACKETS:
            open_.append((_BRACKETS[letter], k))
        elif letter == "\n":
            open_ = [one for one in open_ if one[0] != ">"]
        elif any(letter == closing for closing, _ in open_):
            while open_:
                closing, begin = open_.pop()
                if closing == letter:
                    found[begin:k] = 1
                    break
    return found


def position_in_line(letters: Sequence[str]) -> Array:
    """Characters since the last line break, which itself is 0; `[C]`."""
    found, position = np.zeros(len(letters)), -1
    for k, letter in enumerate(letters):
        position = 0 if letter == "\n" else position + 1
        found[k] = position
    return found


def after_line_break(letters: Sequence[str]) -> Array:
    """1 at a line break: what was read last; `[C]`."""
    return np.array([float(letter == "\n") for letter in letters])


def capital(letters: Sequence[str]) -> Array:
    """1 at a capital letter; `[C]`."""
    return np.array([float(letter.isupper()) for letter in letters])


def length_of_word(letters: Sequence[str]) -> Array:
    """Letters and digits since the last other character, this one included; `[C]`."""
    found, length = np.zeros(len(letters)), 0
    for k, letter in enumerate(letters):
        length = length + 1 if letter[:1].isalnum() else 0
        found[k] = length
    return found


PROPERTIES: Mapping[str, Callable[[Sequence[str]], Array]] = {
    "inside quotes": inside_quotes,
    "inside brackets": inside_brackets,
    "position in the line": position_in_line,
    "after a line break": after_line_break,
    "capital letters": capital,
    "length of the word so far": length_of_word,
}
"""Each by what readers call it."""
