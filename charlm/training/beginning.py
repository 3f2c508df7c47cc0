"""The weights that a new run begins with, if they are those of a model that there is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from charlm.config.keys import Config, plain
from charlm.data.vocabulary import Vocabulary
from charlm.errors import ConfigError
from charlm.nn.parameters import Parameters
from charlm.runs import checkpoint
from charlm.runs.checkpoint import Checkpoint
from charlm.runs.directory import find_checkpoint
from charlm.training.trainer import Trainer

_OF_THE_MODEL = (
    "model.cell",
    "model.hidden",
    "model.layers",
    "model.gru_reset",
    "corpus.mode",
    "corpus.unit",
    "corpus.newlines",
    "corpus.lowercase",
    "corpus.normalize",
    "corpus.min_count",
)
"""Keys that belong to the weights: the network, and what its units are."""


@dataclass(frozen=True)
class Beginning:
    """A model whose weights a new run begins with.

    Attributes
    ----------
    loaded
        The model.
    where
        Its name in messages.
    extend
        Whether units of the new text that the model lacks get fresh weights, as those of a new
        network; otherwise they are an error.
    """

    loaded: Checkpoint
    where: str
    extend: bool = False

    @classmethod
    def of(cls, path: Path, extend: bool = False) -> Beginning:
        """The model at `path`, a checkpoint file or a run directory; raises `CheckpointError`."""
        return cls(checkpoint.load(find_checkpoint(path)), str(path), extend)

    def settings(self, config: Config) -> dict[str, Any]:
        """The keys that belong to the weights, by dotted key.

        Raises `ConfigError` if a person gave one of them another value in `config`.
        """
        own, asked = self.loaded.config.flat(), config.flat()
        for dotted in _OF_THE_MODEL:
            if dotted in config.given and asked[dotted] != own[dotted]:
                raise ConfigError(
                    f"{dotted}: {plain(asked[dotted])} is not that of {self.where}, whose weights the run "
                    f"begins with: leave it out, or set it to {plain(own[dotted])}"
                )
        return {dotted: own[dotted] for dotted in _OF_THE_MODEL}

    def vocabulary(self, text: Vocabulary) -> Vocabulary:
        """The vocabulary of the new run, whose text has the vocabulary `text` by itself."""
        known = self.loaded.vocabulary
        if not self.extend:
            return known
        return Vocabulary([*known.codes.tolist(), *text.codes.tolist()], known.units, known.has_unknown)

    def put_into(self, trainer: Trainer) -> None:
        """Copy the weights into a trainer at its beginning, whose vocabulary is `vocabulary`."""
        known, new = self.loaded.vocabulary, trainer.corpus.vocabulary
        places = new.encode(known.codes, self.where)
        if new.unknown is not None:
            places = np.append(places, new.unknown)
        copy_rows(self.loaded.parameters, trainer.parameters, places)
        trainer.mean.flat[...] = trainer.parameters.flat


def copy_rows(source: Parameters, target: Parameters, places: np.ndarray[Any, Any]) -> None:
    """Copy every parameter; the unit with the id k of `source` has the id `places[k]` in `target`.

    The axis of the vocabulary is the one along which the two have different shapes; the units that
    `source` lacks keep their values.
    """
    for name, array in source.items():
        differs = [old != new for old, new in zip(array.shape, target[name].shape, strict=True)]
        where = tuple(places if differ else slice(None) for differ in differs)
        target[name][where] = array
