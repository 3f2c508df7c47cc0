"""The objects that a configuration describes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.config.schema import CorpusConfig, ModelConfig, TrainConfig
from charlm.data.reader import TextPipeline
from charlm.data.units import Units
from charlm.nn.cells import make_cell
from charlm.nn.model import Model
from charlm.optim.optimizers import OPTIMIZERS, Hyperparameters, Optimizer
from charlm.optim.schedules import Schedule


def build_pipeline(config: CorpusConfig) -> TextPipeline:
    """How the files of this corpus become codes."""
    by_line = config.mode == "lines"
    newlines = "lf" if by_line else config.newlines
    units = Units(config.unit, config.normalize, config.lowercase, newlines)
    return TextPipeline(units, config.encoding, config.separator, by_line, config.min_count)


def build_model(config: ModelConfig, vocab: int, kernel: str = "fused") -> Model:
    """The network for a vocabulary of `vocab` units; `kernel` is `run.kernel`."""
    return Model(
        cell=make_cell(config.cell, config.gru_reset),
        vocab=vocab,
        hidden=config.hidden,
        layers=config.layers,
        dropout=config.dropout,
        dropout_mask=config.dropout_mask,
        kernel=kernel,
    )


def build_optimizer(
    config: TrainConfig,
    size: int,
    dtype: npt.DTypeLike,
    zeros: Callable[[tuple[int, ...], npt.DTypeLike], npt.NDArray[Any]] = np.zeros,
) -> Optimizer:
    """A fresh optimiser for a flat buffer of `size` parameters, its state in arrays made by `zeros`."""
    return OPTIMIZERS[config.optimizer](
        size,
        dtype,
        Hyperparameters(
            momentum=config.momentum,
            beta1=config.beta1,
            beta2=config.beta2,
            rms_decay=config.rms_decay,
            epsilon=config.epsilon,
            weight_decay=config.weight_decay,
        ),
        zeros,
    )


def build_schedule(config: TrainConfig, steps_per_epoch: int) -> Schedule:
    """The learning-rate schedule of a run with so many updates an epoch."""
    return Schedule(
        kind=config.schedule,
        steps=planned_steps(config, steps_per_epoch),
        steps_per_epoch=steps_per_epoch,
        warmup=config.warmup,
        final=config.lr_final,
        decay=config.lr_decay,
        decay_after=config.lr_decay_after,
        decay_every=config.lr_decay_every,
        patience=config.lr_patience,
    )


def planned_steps(config: TrainConfig, steps_per_epoch: int) -> int:
    """Updates in the whole run; an epoch that is begun by a fraction counts as far as it goes."""
    return max(1, math.ceil(round(config.epochs * steps_per_epoch, 6)))
