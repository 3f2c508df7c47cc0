"""The memory that training needs, known before any of it is allocated."""

import math
from dataclasses import dataclass

from charlm.config.keys import Config, TrainConfig
from charlm.nn.model import Model
from charlm.optim.optimizers import OPTIMIZERS
from charlm.system.errors import ConfigError
from charlm.system.files import byte_size
from charlm.system.machine import machine_bytes
from charlm.system.team import Team
from charlm.system.workers import slices
from charlm.training.sharded import left_to_add


@dataclass(frozen=True)
class Need:
    """Bytes that one training step needs."""

    parameters: int
    """Of parameters, the gradients of every shard, and the state of the optimiser."""
    window: int
    """Of the activations of a window, and their gradients."""
    taught: int = 0
    """Of what teachers say of the training text."""

    @property
    def total(self) -> int:
        """All of them."""
        return self.parameters + self.window + self.taught


def needed(
    model: Model, train: TrainConfig, B: int, T: int, shards: int = 1, itemsize: int = 4, ranks: int = 1
) -> Need:
    """The memory of one rank for a training step on `T` steps of `B` streams, by the sizes of its arrays.

    Parameters, their running mean, gradients and the optimiser's slots; for each step, stream and
    layer the gates and their gradients, two arrays as the textbook has them (the cells save one of
    them), the states, and what dropout makes of h; for each step and stream the gradient at h, and
    the logits, which their gradient replaces; the masks of weights, and what each shard makes of them.
    A shard has a stream at least, so that there may be fewer than `shards`. With several ranks, each has
    its share of the shards, and of the others what it adds up. M joined networks are at most as large as
    M² of them.
    """
    shards = len(slices(B, shards))
    here, *others = Team(size=ranks).divide(shards)
    received = sum(len(left_to_add(shards, own)) for own in others)
    whole = shards if ranks == 1 else 1 + len(here) + -(-received // ranks)
    size = sum(math.prod(shape) for shape in model.shapes().values())
    kept = 1 + (train.average > 0) + whole + len(OPTIMIZERS[train.optimizer].slot_names)
    kept += train.join * train.generations**2
    own = (2 * len(model.cell.gates) + len(model.cell.states) + bool(model.dropout)) * model.hidden
    per_step = model.layers * own + model.hidden + model.vocab
    on_weights = sum(noise.size for noise in model.noise(T, B).values() if noise.streams is None)
    return Need(
        itemsize * (kept * size + (1 + len(here)) * on_weights), itemsize * -(-B // ranks) * T * per_step
    )


def check_memory(need: Need, config: Config) -> None:
    """Raise `ConfigError` if this machine does not have that much memory."""
    machine = machine_bytes()
    if machine is None or need.total <= machine:
        return
    model, train = config.model, config.train
    advice = f"use a smaller train.batch ({train.batch:,}) or train.seq_len ({train.seq_len:,})"
    if need.parameters > need.window:
        advice = f"use a smaller model.hidden ({model.hidden:,}) or model.layers ({model.layers:,})"
        if train.join and train.generations > 1:
            advice += f", or join fewer networks (train.generations, {train.generations:,})"
    if need.taught > max(need.parameters, need.window):
        advice = f"use fewer teachers (train.teacher) or train.generations ({train.generations:,})"
    raise ConfigError(
        f"training needs about {byte_size(need.total)} of memory, and this machine has {byte_size(machine)}: "
        f"{advice}"
    )
