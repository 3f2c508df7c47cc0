"""What an exported file says of its model besides the arrays: network, vocabulary, how a text is read.

One JSON object, the same in every format, so that a file explains itself. It holds nothing of the
machine that the model was trained on: no path.
"""

from __future__ import annotations

from typing import Any

from charlm.config.schema import PATH_KEYS
from charlm.runs.checkpoint import Checkpoint, listed
from charlm.system.version import __version__

FORMAT = 1
"""Version of the description."""

KEY = "charlm"
"""Name of the description among the metadata of a file."""


def describe(loaded: Checkpoint) -> dict[str, Any]:
    """The description of a model, as plain JSON values.

    - `format`, `charlm`: versions of the description and of the program.
    - `model`, `corpus`: the sections of the configuration, without paths.
    - `vocabulary`: the codes of the units in the order of their ids (`listed`); with
      `corpus.min_count` above 1, `<unk>` follows as the last id.
    - `text`: what a checkpoint knows of its training text, `characters` and `digest`.
    """
    nested = loaded.config.nested()
    paths = {dotted.removeprefix("corpus.") for dotted in PATH_KEYS}
    return {
        "format": FORMAT,
        "charlm": __version__,
        "model": nested["model"],
        "corpus": {name: value for name, value in nested["corpus"].items() if name not in paths},
        "vocabulary": listed(loaded.vocabulary.codes),
        "text": loaded.corpus,
    }
