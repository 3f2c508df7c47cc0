"""Arguments of the Python interface: checked before a call does anything, and turned into what it needs."""

import contextlib
import functools
import inspect
import math
import os
import sys
import types
import typing
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, NamedTuple, ParamSpec, TypeVar

import numpy as np

from charlm.config import reading
from charlm.config.keys import Config
from charlm.system import blas
from charlm.system.errors import ConfigError, shortened

AnyPath = str | os.PathLike[str]
"""A path as Python takes it: a text, a `pathlib.Path`, or a `charlm.Run`."""

Configuration = AnyPath | Config | Mapping[str, Mapping[str, Any]]
"""A configuration file, a run directory, a `Config`, or sections of keys as in the file."""

P = ParamSpec("P")
R = TypeVar("R")


def typed(function: Callable[P, R]) -> Callable[P, R]:
    """The same function with checked arguments, and with one thread of BLAS while it runs.

    Numbers of NumPy and of other libraries become Python's. A call with an argument of
    another type, or an empty path, raises `ConfigError`.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        bound = signature.bind(*args, **kwargs)
        hints = _hints(function)
        for name, value in bound.arguments.items():
            if name in hints:
                try:
                    bound.arguments[name] = _converted(value, hints[name])
                except ValueError as error:
                    raise ConfigError(f"{name}: {error}") from None
        with blas.borrowed():
            return function(*bound.args, **bound.kwargs)

    return call


def within(least: int, most: float = math.inf, **numbers: float | None) -> None:
    """Check that the named numbers are from `least` to `most`; None passes. Raises `ConfigError`."""
    for name, number in numbers.items():
        if number is not None and not least <= number <= most:
            limit = f"below {least}" if number < least else f"above {most:,}"
            raise ConfigError(f"{name}: {number} is {limit}")


def with_suffix(path: AnyPath, suffixes: Collection[str]) -> Path:
    """The path of a file to write; raises `ConfigError` if it has none of the suffixes."""
    if Path(path).suffix.lower() not in suffixes:
        raise ConfigError(f"{path}: the suffix must be one of {', '.join(suffixes)}")
    return Path(path)


def given(settings: Mapping[str, Any] | None) -> dict[str, Any]:
    """The checked values of dotted keys."""
    values = _plain(settings or {})
    return {str(key): reading.checked(str(key), value, "settings") for key, value in values.items()}


def source(config: Configuration | None) -> reading.Source:
    """A configuration as the readers of configurations take it."""
    if config is None or isinstance(config, Config):
        return config
    return _plain(config) if isinstance(config, Mapping) else Path(config)


def complete(config: Configuration | None, settings: Mapping[str, Any] | None) -> Config:
    """The whole configuration, with the values of `settings` in their places."""
    return reading.configuration(source(config), given(settings), "settings")


def warn(*messages: str) -> None:
    """Warn of something at the line that called the package."""
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and Path(frame.f_code.co_filename).is_relative_to(_PACKAGE):
        frame, level = frame.f_back, level + 1
    for message in messages:
        warnings.warn(message, stacklevel=level)


_PACKAGE = Path(__file__).parent.parent


def _plain(value: Any) -> Any:
    """A value of a key as YAML has it: NumPy's numbers and paths become Python's numbers and texts."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.item() if isinstance(value, np.generic) else value


_hints = functools.cache(typing.get_type_hints)


def _converted(value: Any, wanted: Any) -> Any:
    """The value as the wanted type; raises `ValueError` with what was expected."""
    is_union = typing.get_origin(wanted) in (types.UnionType, typing.Union)
    kinds = typing.get_args(wanted) if is_union else (wanted,)
    origins = {typing.get_origin(kind) or kind: kind for kind in kinds}
    if os.PathLike in origins:  # which says it better
        del origins[str]
    known = {origin: _KINDS.get(origin) or _Kind(f"a {origin.__name__}", origin) for origin in origins}
    for origin, kind in known.items():
        if isinstance(value, kind.accepted) and not isinstance(value, kind.refused):
            return kind.convert(value, *typing.get_args(origins[origin]))
    expected = " or ".join(kind.words for kind in known.values())
    raise ValueError(f"expected {expected}, got {_shown(value)}")


def _float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        raise ValueError("the number is too large") from None


def _path(value: Any, *_: Any) -> str:
    path = os.fspath(value)
    if not path:
        raise ValueError("the path is empty")
    with contextlib.suppress(UnicodeEncodeError):  # half of a character, which no file system takes
        if isinstance(path, str) and b"\0" not in os.fsencode(path):
            return path
    raise ValueError(f"expected a path, got {_shown(path)}")


def _choice(value: Any, *choices: str) -> Any:
    if value not in choices:
        raise ValueError(f"expected one of {', '.join(choices)}, got {_shown(value)}")
    return value


def _text(value: str) -> str:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"{_shown(value[error.start])} is half of a character") from None
    return value


def _items(value: Any, kind: Any, *_: Any) -> list[Any]:
    return [_converted(item, kind) for item in value]


class _Kind(NamedTuple):
    """A type of arguments."""

    words: str
    """Its name in messages."""
    accepted: Any
    """The types whose values are accepted."""
    convert: Callable[..., Any] = lambda value, *_: value
    """How a value becomes what is handed on; it also takes the arguments of the type."""
    refused: Any = ()
    """Types among those accepted whose values are not."""


_KINDS: dict[Any, _Kind] = {
    str: _Kind("a text", str, _text),
    int: _Kind("a whole number", Integral, int, bool),
    float: _Kind("a number", Real, _float, bool),
    bool: _Kind("True or False", (bool, np.bool), bool),
    os.PathLike: _Kind("a path", (str, os.PathLike), _path),
    Literal: _Kind("a text", str, _choice),
    Sequence: _Kind("a list", Sequence, _items, (str, bytes)),
    Mapping: _Kind("a dict", Mapping),
    Callable: _Kind("a function", Callable),
    types.NoneType: _Kind("None", types.NoneType),
}
"""The types by themselves; others accept their own values, unchanged."""


def _shown(value: Any) -> str:
    return shortened(" ".join(repr(value).split()))
