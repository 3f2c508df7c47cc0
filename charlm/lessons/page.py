"""The page of the lesson: networks that run in the browser, forward and backward, in float64.

The files in `charlm/lessons/web` are its body, its style, its scripts and its sentences. The network
(`network.js`) and the way from a text to its ids (`text.js`) are in `charlm/web`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from charlm.config.build import build_ids
from charlm.config.limits import Language
from charlm.data.corpus import Progress, nothing
from charlm.inference.generate import Sampling, TextSampler
from charlm.inference.reading import read_text
from charlm.runs.checkpoint import Checkpoint
from charlm.runs.description import describe
from charlm.system.errors import CharlmError, ConfigError, CorpusError, VocabularyError
from charlm.web import assembly
from charlm.web.text import signs

LONGEST = 2_000
"""Most characters of a text."""

MOST_PARAMETERS = 4_000_000
"""Most parameters of all networks of a page: 21 MB, and over a second for a text of 40 characters."""

SCRIPTS = (
    "web/network.js",
    "web/text.js",
    "lessons/web/elements.js",
    "lessons/web/graph.js",
    "lessons/web/charts.js",
    "lessons/web/lesson.js",
)
"""The scripts of the page, in the order in which they run."""

_BYTES = 16 / 3
"""Bytes of a parameter in the page: four of float32, in Base64."""

_LENGTH = 40
"""Most characters of the text, where none is given."""

_FEW = 40
"""Most characters of a vocabulary that a message lists."""


def lesson(
    networks: Sequence[Checkpoint],
    text: str | None = None,
    language: Language = "en",
    progress: Progress = nothing,
) -> str:
    """The page about trained networks that read a text, the same for the same input, byte for byte.

    Parameters
    ----------
    networks
        At least one. Each reads the text by its own vocabulary.
    text
        None is the beginning of the held-out text of the first network, or what it writes.
    language
        Of the page, which can be switched in it.
    progress
        Called while the held-out text is read (see `build_corpus`).

    Raises
    ------
    ConfigError
        If the text is empty or too long, a network is too large, or its cell is not one of the page's.
    VocabularyError
        If the text holds what a network does not know.
    """
    strings: dict[str, dict[str, str]] = json.loads(assembly.part("lessons/web/strings.json"))
    total = sum(network.parameters.flat.size for network in networks)
    if total > MOST_PARAMETERS:
        largest = max(networks, key=lambda network: network.parameters.flat.size)
        raise ConfigError(
            f"{assembly.name(largest)} has {largest.parameters.flat.size:,} parameters: a lesson holds at "
            f"most {MOST_PARAMETERS:,}: name fewer runs, or train a smaller network (model.hidden=128)"
        )
    text = _usual_text(networks[0], progress) if text is None else text
    if not 0 < len(text) <= LONGEST:
        raise ConfigError(f"text: {len(text):,} characters; a lesson takes from 1 to {LONGEST:,}")
    return assembly.page(
        (strings[language]["title"], strings[language]["about"]),
        "lessons/web/lesson",
        SCRIPTS,
        data={
            "models": [_data(network, text) for network in networks],
            "text": text,
            "language": language,
            "strings": strings,
        },
        language=language,
        without_script=strings[language]["noscript"],
    )


def added_bytes(parameters: int) -> int:
    """The bytes that a network with so many parameters adds to the page."""
    return round(parameters * _BYTES)


def _usual_text(network: Checkpoint, progress: Progress) -> str:
    """The text that a network is shown with: the beginning of its held-out text.

    Where this cannot be read, a text that the network writes.
    """
    try:
        read = read_text(network, progress=progress)
    except CharlmError:
        return _written(network)
    # a split of bytes may begin within a character
    text = network.vocabulary.text(read.text.ids[: 8 * _LENGTH]).lstrip("\N{REPLACEMENT CHARACTER}")
    return _beginning(text) or _written(network)


def _written(network: Checkpoint) -> str:
    """A text that the network writes."""
    sampler = TextSampler.of(network.config.corpus, network.model, network.parameters, network.vocabulary)
    drawn = sampler.draw(sampler.codes(""), 2 * _LENGTH, Sampling(temperature=0.5), np.random.default_rng(1))
    return _beginning("".join(sampler.written(drawn)))


def _beginning(text: str) -> str:
    """Whole words at the beginning of a text, over several lines if they are short."""
    text = text.strip()
    if len(text) <= _LENGTH:
        return text
    cut = max(text.rfind(space, 0, _LENGTH + 1) for space in " \n")
    return text[:cut].rstrip() if cut > 0 else text[:_LENGTH]


def _data(network: Checkpoint, text: str) -> dict[str, Any]:
    """A network as the script reads it, which can read the text."""
    name, about = assembly.name(network), describe(network)
    try:
        cell = assembly.checked_cell(network)
        ids = build_ids(network.config.corpus, network.vocabulary, text)
    except (ConfigError, VocabularyError) as error:
        known = signs(network.vocabulary, np.arange(len(network.vocabulary)))
        knows = f"; it knows {', '.join(known)}" if len(known) <= _FEW else ""
        raise type(error)(f"{name}: {error}" + knows * isinstance(error, VocabularyError)) from error
    if not len(ids):
        raise CorpusError("the text has nothing to read: it needs a character")
    return {
        "name": name,
        "cell": cell,
        **{key: about[key] for key in ("model", "corpus", "vocabulary")},
        "signs": signs(network.vocabulary, np.arange(len(network.vocabulary))),
        "training": {"train": network.corpus["train"], "step": network.progress["step"]},
        "parameters": {
            "shapes": network.model.shapes(),
            "packed": assembly.packed(network.parameters.flat, "<f4"),
        },
    }
