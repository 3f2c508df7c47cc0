"""Defaults and limits of arguments that are not keys of the configuration.

Options of the command line show them, so they are known without NumPy.
"""

from typing import Literal

STEPS, MOST_STEPS = 50, 1000
"""Steps back of the gradient flow by default, and at most: each keeps what its backward pass needs."""

LENGTH, LONGEST = 5_000, 20_000
"""Characters of the text in a report by default, and at most."""

PICTURES = (".png", ".svg", ".pdf")
"""Suffixes of pictures of curves."""

PAGES = (".html", ".htm")
"""Suffixes of pages."""

Language = Literal["en", "ko"]
"""Languages of a lesson."""

VOCAB, WORKERS, SECONDS = 1_114_112, 1024, 3600
"""Most units of a benchmark's vocabulary, most of its threads, and most seconds of each of its parts."""
