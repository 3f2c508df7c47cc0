"""Bars on a terminal."""

import time
from typing import Any

from charlm.cli.show import one_line, say

_DELAY = 0.5
"""Seconds after which a bar appears."""


def new_bar(**settings: Any) -> Any:
    """A bar of tqdm, which is imported here because that takes as long as all else that a help text needs."""
    from tqdm import tqdm

    tqdm.monitor_interval = 0  # no thread: workers are forked while a bar is shown
    return tqdm(**settings)


class ReadingBar:
    """A bar while a text is read, or other work takes more than a moment."""

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
            waited = time.perf_counter() - self.begun
            self.bar = new_bar(
                desc=what,
                total=self.size,
                bar_format="{desc}: {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}]",
                leave=False,
                delay=max(0.0, _DELAY - waited),
                disable=None,
            )
        self.bar.update(size)

    def close(self) -> None:
        """Remove the bar; safe to call twice."""
        if self.bar is not None:
            self.bar.close()
            self.bar, self.what = None, ""
