"""The description of a model in an exported file: network, vocabulary, how a text is read.

One JSON object, the same in every format, so that a file explains itself. It holds nothing of the
machine that the model was trained on: no path.
"""

import json
from typing import Any

import numpy as np

from charlm.config.build import build_pipeline
from charlm.config.keys import PATH_KEYS, Config
from charlm.config.reading import from_nested
from charlm.data.units import LINE_BREAK
from charlm.data.vocabulary import Vocabulary
from charlm.runs.checkpoint import NOT_TRAINED, Checkpoint, complete, listed, unlisted
from charlm.system.errors import CharlmError, CheckpointError, shortened
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
    - `text`: what a checkpoint records of its training text, `characters` and `digest`.
    """
    nested = loaded.config.nested()
    corpus = {key: value for key, value in nested["corpus"].items() if f"corpus.{key}" not in PATH_KEYS}
    return {
        "format": FORMAT,
        "charlm": __version__,
        "model": nested["model"],
        "corpus": corpus,
        "vocabulary": listed(loaded.vocabulary.codes),
        "text": loaded.corpus,
    }


def described(loaded: Checkpoint) -> str:
    """The description as JSON text."""
    return json.dumps(describe(loaded), sort_keys=True)


def read(description: str) -> tuple[Config, Vocabulary, dict[str, Any]]:
    """The configuration, the vocabulary and the record of the text in an untrusted description.

    Raises `CheckpointError` if it is not a description of a model.
    """
    try:
        about = json.loads(description)
        if not isinstance(about, dict):
            raise CheckpointError("it is not an object")
        if about["format"] != FORMAT:
            raise CheckpointError(f"format {shortened(about['format'])}; this charlm reads {FORMAT}")
        paths = {f"corpus.{key}" for key in about["corpus"]}.intersection(PATH_KEYS)
        if paths:
            raise CheckpointError(f"{min(paths)} names a text of another machine")
        config = from_nested({"model": about["model"], "corpus": about["corpus"]}, "configuration")
        codes = unlisted(about["vocabulary"], config.corpus.unit)
        vocabulary = build_pipeline(config.corpus).vocabulary(codes)
        if not len(vocabulary.codes):
            raise CheckpointError("the vocabulary is empty")
        text = {key: about["text"][key] for key in ("digest", "characters", "train") if key in about["text"]}
        if not 0 <= text["characters"] < 2**63:
            raise CheckpointError("the length of its text")
        complete(text, dict(NOT_TRAINED), config)
    except KeyError as error:
        raise CheckpointError(f"its description of a model lacks {error}") from error
    except (TypeError, ValueError, RecursionError, CharlmError) as error:
        raise CheckpointError(f"its description of a model is invalid: {shortened(error)}") from error
    return config, vocabulary, text


def reading(loaded: Checkpoint) -> list[str]:
    """Lines of Python that turn a text into `ids`, by the description in a variable `about`."""
    vocabulary, corpus = loaded.vocabulary, loaded.config.corpus
    known = vocabulary.codes.tolist()
    letters = [code for code in known if chr(code).isalnum() and (code < 128 or not vocabulary.units.is_byte)]
    codes = np.array((letters or known)[:6], np.uint32)
    start = [LINE_BREAK] if corpus.mode == "lines" else []  # a line begins as after a line break
    if vocabulary.units.is_byte:
        lines = [f"codes = {bytes([*start, *codes.tolist()])!r}"]
    else:
        text = repr("".join(map(chr, start)) + vocabulary.units.text(codes)) + ".lower()" * corpus.lowercase
        lines = [f"text = {text}", "codes = [ord(character) for character in text]"]
        if corpus.normalize != "none":
            lines[:1] = [
                "import unicodedata",
                f'text = unicodedata.normalize("{corpus.normalize.upper()}", {text})',
            ]
    listing = 'about["vocabulary"]'
    if isinstance(listed(vocabulary.codes)[0], list):  # ranges
        listing = f"(code for first, last in {listing} for code in range(first, last + 1))"
    known_id = "known.get(code, len(known))" if vocabulary.has_unknown else "known[code]"
    return [
        *lines,
        f"known = {{code: id for id, code in enumerate({listing})}}",
        f"ids = [{known_id} for code in codes]",
    ]
