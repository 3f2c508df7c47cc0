"""How many words of what a model writes are words of the text that it was trained on.

Run by hand::

    python tests/words.py runs/tales data/tales.txt

Prints the share of the words of a sample of 50,000 characters at temperature 0.7 that occur in the
text, whatever the case of their letters, and the words that do not, most frequent first.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path

import charlm


def words(text: str) -> list[str]:
    """The words of a text, in lowercase."""
    return re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)*", text.lower())


def main(run: str, text: str) -> None:
    """Print the share for the best model of a run."""
    known = set(words(Path(text).read_text(encoding="utf-8")))
    written = words(charlm.load(run).sample(length=50_000, temperature=0.7, seed=1))[:-1]
    others = Counter(word for word in written if word not in known)
    share = 1 - others.total() / len(written)
    print(f"{100 * share:.1f} % of {len(written):,} words occur in the text; the most frequent others:")
    print(" ".join(word for word, _ in others.most_common(20)))


if __name__ == "__main__":
    main(*sys.argv[1:])
