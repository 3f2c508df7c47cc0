"""A bar while a text is read, and the option that names one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from charlm.data.corpus import Progress

corpus_option = click.option(
    "--corpus",
    metavar="FILE",
    help="This text instead of corpus.path: a file, a directory, a pattern, or - for standard input.",
)


def warn(messages: Iterable[str]) -> None:
    """Show warnings on stderr."""
    for message in messages:
        click.echo(f"Warning: {message}", err=True)


@contextmanager
def reading_bar() -> Iterator[Progress]:
    """What is told how far reading is, and shows it on a terminal if it takes more than a moment."""
    bar = _Bar()
    try:
        yield bar.advance
    finally:
        bar.close()


class _Bar:
    def __init__(self) -> None:
        self.size, self.what = 0, ""
        self.bar: Any = None

    def advance(self, what: str, size: int) -> None:
        from tqdm import tqdm

        if what == "total":
            self.size = size
            return
        if what != self.what:
            self.close()
            self.what = what
            tqdm.monitor_interval = 0  # no thread of its own: workers are forked later
            self.bar = tqdm(
                total=self.size, desc=what, unit="B", unit_scale=True, leave=False, delay=0.5, disable=None
            )
        self.bar.update(size)

    def close(self) -> None:
        """Remove the bar."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None
