"""Several trained models as one: a checkpoint whose network is an `Ensemble`."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np

from charlm.data.vocabulary import Vocabulary
from charlm.nn.ensemble import Ensemble, Network
from charlm.nn.model import Model
from charlm.nn.parameters import Parameters
from charlm.runs.checkpoint import Checkpoint
from charlm.system.errors import ConfigError

_SHOWN = 5
"""Most characters that a message lists."""


@dataclass(frozen=True)
class Together(Checkpoint):
    """Several models that predict as one; configuration, text and progress are those of the first."""

    several: tuple[Checkpoint, ...] = ()

    @property
    def members(self) -> Sequence[Checkpoint]:
        """The models that predict together."""
        return self.several

    @property
    def network(self) -> Network:
        """The networks, which predict with the mean of their probabilities."""
        return Ensemble(tuple(one.model for one in self.several))

    @property
    def model(self) -> Model:
        """Raises `ConfigError`: there are several."""
        raise ConfigError("the mean of several models is not one network: this needs a single checkpoint")


def together(names: Sequence[str], loaded: Sequence[Checkpoint]) -> Checkpoint:
    """The mean of the probabilities of several models; of one, that model.

    Raises `ConfigError` if two do not read texts in the same way; messages call
    the models by their `names`.
    """
    first, *others = loaded
    if not others:
        return first
    for name, other in zip(names[1:], others, strict=True):
        check_alike(
            f"{names[0]} and {name} cannot predict together", reader(names[0], first), reader(name, other)
        )
    flat = np.concatenate([one.parameters.flat for one in loaded])
    shapes = Ensemble(tuple(one.model for one in loaded)).shapes()
    parameters = Parameters(shapes, flat=flat)
    return Together(
        first.config, first.vocabulary, parameters, first.corpus, first.progress, several=tuple(loaded)
    )


class Reader(NamedTuple):
    """What reads a text: its name in messages, the form of the text, and the units."""

    name: str
    mode: str
    vocabulary: Vocabulary


def reader(name: str, loaded: Checkpoint) -> Reader:
    """A model as a reader."""
    return Reader(name, loaded.config.corpus.mode, loaded.vocabulary)


def check_alike(where: str, one: Reader, other: Reader) -> None:
    """Raise `ConfigError`, which begins with `where`, if two readers predict different units."""
    settings = [{"mode": each.mode} | asdict(each.vocabulary.units) for each in (one, other)]
    for key, value in settings[0].items():
        if value != settings[1][key]:
            raise ConfigError(f"{where}: corpus.{key} is {value} and {settings[1][key]}")
    if one.vocabulary.has_unknown != other.vocabulary.has_unknown:
        raise ConfigError(f"{where}: only {(one if one.vocabulary.has_unknown else other).name} has <unk>")
    for lacking, whole in ((one, other), (other, one)):
        codes = np.setdiff1d(whole.vocabulary.codes, lacking.vocabulary.codes).tolist()
        if codes:
            listed = ", ".join(lacking.vocabulary.units.describe(code) for code in codes[:_SHOWN])
            more = f" and {len(codes) - _SHOWN} more" if len(codes) > _SHOWN else ""
            raise ConfigError(f"{where}: the vocabulary of {lacking.name} lacks {listed}{more}")
