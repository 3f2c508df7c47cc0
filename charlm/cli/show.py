"""How values look in the output."""

import contextlib
import json
import math
import os
import re
import shlex
import sys
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

import click

from charlm.system.files import STANDARD_INPUT
from charlm.web.signs import without_effect


def show(values: object, lines: Iterable[str], as_json: bool) -> None:
    """Print a result on stdout: its values as JSON in one line, or its lines."""
    click.echo(json.dumps(values) if as_json else "\n".join(lines))


def losses(nats: float) -> str:
    """A loss in both units: `1.5432 nats 2.2264 bits/char`."""
    return f"{decimal(nats)} nats {decimal(nats / math.log(2))} bits/char"


def decimal(value: float) -> str:
    """A number with four decimals, or with an exponent if it is large; never `-0.0000`."""
    rounded = round(value, 4) + 0.0 if math.isfinite(value) else value
    return f"{rounded:.4f}" if abs(value) < 10_000 or not math.isfinite(value) else f"{value:.1e}"


def short(value: float) -> str:
    """A number with two decimals at most, a small one with two digits: `9`, `0.25`, `0.0042`."""
    decimals = 2 if value == 0 else max(2, 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{decimals}f}".rstrip("0").rstrip(".")


def counted(count: int, thing: str) -> str:
    """`1 update`, `1,200 updates`."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def visible(text: str, keep: str = "") -> str:
    """`text` with a visible sign for everything that could steer a terminal, except what is in `keep`.

    Control characters become their pictures (ESC: `␛`), the others their code (`<U+0085>`).
    """
    return text if text.isprintable() else "".join(c if c in keep else without_effect(c) for c in text)


def bar(part: float, width: int) -> str:
    """A bar as long as a part, 0 to 1, of `width` columns."""
    block = "#" if _is_odd("█") else "█"
    return block * round(part * width)


def say(text: str) -> None:
    """Show a text on stderr. What cannot be shown there is no reason to fail."""
    with contextlib.suppress(OSError):
        click.echo(text, err=True)


def warn(messages: Iterable[str]) -> None:
    """Show warnings on stderr."""
    for message in messages:
        say(f"Warning: {one_line(with_options(message))}")


def one_line(message: str) -> str:
    """A message in one line without what could steer a terminal."""
    return visible(" ".join(message.split()))


def with_options(message: str) -> str:
    """A message of the library with the options of the command in place of the arguments that it names.

    An argument stands between backticks: `resume=True` becomes --resume, `out=DIR` becomes --out DIR,
    and a key of the configuration with its value `corpus.unit=byte` becomes --set corpus.unit=byte.
    """
    return _ARGUMENT.sub(_option, _KEY.sub(lambda key: f"--set {shell(key[1])}", message))


_KEY = re.compile(r"`([a-z]+\.[a-z_]+=[^`]+)`")
"""A dotted key and its value."""

_ARGUMENT = re.compile(r"`([a-z][a-z0-9]*(?:_[a-z0-9]+)*)(?:=([^`]+))?`")
"""The name of an argument, and its value where there is one."""


def _option(argument: re.Match[str]) -> str:
    option = f"--{argument[1].replace('_', '-')}"
    return option if argument[2] in (None, "True") else f"{option} {shell(argument[2])}"


def shell(*words: str | Path) -> str:
    """A command that a POSIX shell reads as exactly these words, to be pasted."""
    return " ".join(_quoted(str(word)) for word in words)


def _quoted(word: str) -> str:
    """A word in quotes if it needs any; what cannot be shown as it is is printed by the shell."""
    if not any(map(_is_odd, word)):
        return shlex.quote(word)
    quoted = []
    for odd, characters in groupby(word, _is_odd):
        piece = "".join(characters)
        octal = "".join(f"\\{byte:03o}" for byte in os.fsencode(piece))
        quoted.append(f"\"$(printf '{octal}')\"" if odd else shlex.quote(piece))
    return "".join(quoted)


def _is_odd(character: str) -> bool:
    """Whether the output cannot show a character, or should not; a line break it can."""
    try:
        character.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except UnicodeEncodeError:
        return True
    return visible(character, keep="\n") != character


def duration(seconds: float, brief: bool = False) -> str:
    """`1 h 5 min`, `1 min 30 s` or `12 s`; brief `1:05:00`, `1:30` or `0:12`."""
    hours, rest = divmod(round(seconds), 3600)
    minutes, left = divmod(rest, 60)
    if brief:
        return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {left} s" if minutes else f"{left} s"


def shown_path(path: Path | str) -> str:
    """A path for people: relative to the current directory where it is below it."""
    whole = Path(os.path.abspath(path))
    here = Path.cwd()
    return visible(str(whole.relative_to(here) if whole.is_relative_to(here) else whole))


def shown_text(paths: Sequence[str], split: str | None) -> str:
    """The text in some files, or a split of it."""
    return f"{shown_paths(paths)}: {'whole text' if split is None else f'{split} split'}"


def shown_paths(paths: Sequence[str]) -> str:
    """Paths for people, not too many of them."""
    names = ["standard input" if name == STANDARD_INPUT else shown_path(name) for name in paths]
    return ", ".join(names) if len(names) <= 3 else f"{names[0]} and {len(names) - 1} more"
