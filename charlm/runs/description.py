"""What an exported file says of its model besides the arrays: network, vocabulary, how a text is read.

One JSON object, the same in every format, so that a file explains itself. It holds nothing of the
machine that the model was trained on: no path.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from charlm.config.schema import PATH_KEYS
from charlm.data.units import LINE_BREAK
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


def described(loaded: Checkpoint) -> str:
    """The description as JSON text."""
    return json.dumps(describe(loaded), sort_keys=True)


def reading(loaded: Checkpoint) -> list[str]:
    """Lines of Python that turn a text into `ids`, by the description in a variable `about`."""
    vocabulary, corpus = loaded.vocabulary, loaded.config.corpus
    known = vocabulary.codes.tolist()
    shown = [code for code in known if chr(code).isalnum() and (code < 128 or not vocabulary.units.is_byte)]
    codes = np.array((shown or known)[:6], np.uint32)
    start = [LINE_BREAK] if corpus.mode == "lines" else []  # a line begins as after a line break
    if vocabulary.units.is_byte:
        lines = [f"codes = {bytes([*start, *codes.tolist()])!r}"]
    else:
        text = "".join(map(chr, start)) + vocabulary.units.text(codes)
        lowered = ".lower()" if corpus.lowercase else ""
        lines = [f"text = {text!r}{lowered}"]
        if corpus.normalize != "none":
            form = corpus.normalize.upper()
            lines = ["import unicodedata", f'text = unicodedata.normalize("{form}", {text!r}{lowered})']
        lines.append("codes = [ord(character) for character in text]")
    listing = 'about["vocabulary"]'
    if isinstance(listed(vocabulary.codes)[0], list):  # ranges
        listing = f"code for first, last in {listing} for code in range(first, last + 1)"
        listing = f"({listing})"
    known_ids = f"known = {{code: id for id, code in enumerate({listing})}}"
    found = "known.get(code, len(known))" if vocabulary.has_unknown else "known[code]"
    return [*lines, known_ids, f"ids = [{found} for code in codes]"]
