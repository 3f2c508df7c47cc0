"""A trained model in the formats of other programs, one module each.

Every module has `write(path, loaded, …)`, which writes the file whole or not at all, and returns
advice for its use, as lines to print.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from charlm.system.errors import ConfigError

if TYPE_CHECKING:
    from charlm.runs.checkpoint import Checkpoint

FORMATS = (".safetensors", ".onnx", ".html")
"""The suffixes of files; the module that writes one has its name."""


def check(path: Path, float32: bool = False) -> str:
    """The module that writes `path`; raises `ConfigError` if there is none, or it has no `float32`."""
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise ConfigError(f"{path}: the suffix must be one of {', '.join(FORMATS)}")
    if float32 and suffix != ".html":
        raise ConfigError("`float32` is for pages: other files hold every bit of the weights anyway")
    return suffix.removeprefix(".")


def write(path: Path, loaded: Checkpoint, float32: bool = False) -> list[str]:
    """Write a model in the format of the suffix; returns advice for its use.

    With `float32` a page holds every bit of the weights. Raises what `check` does, `ConfigError`
    for a network that the format cannot hold, `ExtraError` if a package is missing, and
    `CharlmError` if the file cannot be written.
    """
    writer = importlib.import_module(f"charlm.export.{check(path, float32)}")
    lines: list[str] = writer.write(path, loaded, **({"float32": True} if float32 else {}))
    return lines
