"""The option that names a text, a bar while a text is read, and warnings."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import click
from tqdm import tqdm

from charlm.cli.show import one_line, say, with_options

_DELAY = 0.5
"""Seconds after which a bar appears."""

corpus_option = click.option(
    "--corpus",
    metavar="FILE",
    help="This text instead of corpus.path: a file, a directory, a pattern, or - for standard input.",
)


def warn(messages: Iterable[str]) -> None:
    """Show warnings on stderr."""
    for message in messages:
        say(f"Warning: {one_line(with_options(message))}")


@contextlib.contextmanager
def shown_warnings(shown: bool = True) -> Iterator[None]:
    """Show the warnings that the block causes as warnings of a command, or drop them, at its end."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            yield
        finally:
            warn(str(warning.message) for warning in caught if shown)


class ReadingBar:
    """A bar on a terminal while a text is read, or other work takes more than a moment."""

    def __init__(self) -> None:
        self.size, self.what, self.begun = 0, "", time.perf_counter()
        self.bar: Any = None

    def advance(self, what: str, size: int) -> None:
        """See `charlm.data.corpus.Progress`."""
        if what == "total":
            self.size, self.begun = size, time.perf_counter()
            return
        if not size:
            self.close()
            say(one_line(what))
            return
        if what != self.what:
            self.close()
            self.what = what
            tqdm.monitor_interval = 0  # no thread: workers are forked later
            waited = time.perf_counter() - self.begun
            self.bar = tqdm(
                desc=what,
                total=self.size,
                bar_format="{desc}: {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}]",
                leave=False,
                delay=max(0.0, _DELAY - waited),
                disable=None,
            )
        self.bar.update(size)

    def close(self) -> None:
        """Remove the bar."""
        if self.bar is not None:
            self.bar.close()
            self.bar, self.what = None, ""
