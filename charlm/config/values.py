"""Single values of a configuration: their types, how YAML writes them, and names of encodings."""

from __future__ import annotations

import codecs
import datetime
import difflib
import json
import math
import os
import types
import typing
from collections.abc import Sequence
from typing import Any


def plain(value: Any) -> str:
    """A value in YAML syntax."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(plain, value))}]"
    if isinstance(value, bool) or (isinstance(value, str) and not value.isprintable()):
        return json.dumps(value)
    return str(value)


def text_encoding(name: str) -> str | None:
    """Python's name for a text encoding; None if it is unknown."""
    try:
        "".encode(name)  # raises for codecs that do not encode text
        found = codecs.lookup(name)
    except (LookupError, UnicodeError, ValueError):
        return None
    # these two encode host names and refuse most texts
    if found.incrementaldecoder is None or found.name in ("idna", "punycode"):
        return None
    # byte-order marks are always removed, and utf-8-sig counts bytes only after the mark
    return "utf-8" if found.name == "utf-8-sig" else found.name


def nearest(word: str, known: Sequence[str]) -> str:
    """A hint with the known word most similar to `word`; empty if none is similar."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""


_LARGEST = 10**300
"""Larger integers are refused; all others fit a float."""


def spoken(value: Any) -> str:
    """A value as YAML would say it, for an error message."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime.date):
        return f"the date {value}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(spoken, value))}]"
    return repr(value) if isinstance(value, str) else str(value)


def converted(value: Any, wanted: Any) -> Any:
    """Convert `value` to type `wanted` without loss; raises `ValueError` with the expected form."""
    if isinstance(wanted, types.UnionType):  # one string, or a list of them
        if not isinstance(value, (list, tuple)):
            return converted(value, str)
        if not value or "" in value:
            raise ValueError(f"expected a path, or a list of paths, got {spoken(value)}")
        return tuple(converted(item, str) for item in value)
    if wanted is bool:
        if not isinstance(value, bool):
            raise ValueError(f"expected true or false, got {spoken(value)}")
        return value
    if isinstance(wanted, types.GenericAlias):
        items = typing.get_args(wanted)
        if not isinstance(value, (list, tuple)) or len(value) != len(items):
            raise ValueError(
                f"expected a list of {len(items)} numbers, such as [0.9, 0.05, 0.05]; got {spoken(value)}"
            )
        return tuple(converted(item, items[0]) for item in value)
    if wanted is str:
        if not isinstance(value, str):
            raise ValueError(f"expected a text, got {spoken(value)}")
        if "\0" in value:
            raise ValueError("a text must not contain a NUL character")
        try:
            os.fsencode(value)
        except UnicodeEncodeError:
            raise ValueError("a text must not contain a lone surrogate") from None
        return value
    number: Any = value
    if isinstance(value, str):  # YAML 1.1 reads 1e-3, without a point, as a string
        try:
            number = float(value)
        except ValueError:
            number = None
    if number is None or isinstance(number, bool) or not isinstance(number, (int, float)):
        expected = "a whole number" if wanted is int else "a number"
        raise ValueError(f"expected {expected}, got {spoken(value)}")
    if isinstance(number, int) and abs(number) > _LARGEST:
        raise ValueError("the number is too large")
    if wanted is int:
        if not math.isfinite(number) or number != int(number):
            raise ValueError(f"expected a whole number, got {spoken(value)}")
        return int(number)
    return float(number)
