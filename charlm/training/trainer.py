"""Training: one update at a time, with all the state that is needed to continue exactly.

Nothing here reads or writes files; `loop` does, around it.
"""

import contextlib
import copy
import math
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from charlm.arrays import Array
from charlm.config.build import build_model
from charlm.config.keys import COUNTS, KEYS, plain
from charlm.data.texts import Text
from charlm.inference.counts import BYTES
from charlm.inference.score import Score, score
from charlm.nn.model import Model
from charlm.nn.parameters import Parameters
from charlm.optim.clipping import clip_factor
from charlm.optim.optimizers import OPTIMIZERS
from charlm.optim.schedules import Plateau, Schedule
from charlm.runs.checkpoint import Checkpoint
from charlm.system.errors import CheckpointError, ConfigError, DivergenceError, RunError
from charlm.system.team import ALONE, Team
from charlm.system.workers import shared
from charlm.training.job import Job
from charlm.training.memory import check_memory, needed
from charlm.training.sharded import ShardedUpdate, default_shards
from charlm.training.tally import Tally, Update
from charlm.training.teachers import Table, table_bytes

_EARLIER = "earlier/"
"""How the names of the parameters of finished networks begin, in a checkpoint."""

_LARGEST_LOSS = 1e100
"""Nats per character from which a loss counts as not finite: sums of such losses would not be."""

SKIPPED_AT_MOST = 10
"""Updates in a row that are dropped before the run ends all the same."""

SCORING = 2.5
"""How many times faster a long text is scored than trained on."""

_AT_THE_END = 0.1
"""Largest part of the training time for scoring the whole validation split at the end."""


def is_scored_whole(held: float, trained: float) -> bool:
    """Whether `held` characters are few enough to be scored after training on `trained` ones."""
    return held <= SCORING * _AT_THE_END * trained


class Trainer(contextlib.AbstractContextManager["Trainer"]):
    """A network being trained on a corpus; a context manager, which ends its workers.

    All of its state is in `parameters`, `mean`, `optimizer`, `state`, `rng` and `tally`;
    `snapshot` and `restore` move exactly these.

    Attributes
    ----------
    parameters, mean
        What is trained, and what is validated, kept and sampled from: the running mean of the
        parameters with `train.average`, else the same.
    streams
        What the updates read, window by window.
    validation
        What a validation scores: the validation split, or the beginning of it (`run.eval_length`).
    warning
        Set if the corpus is too small for the configured batch or window.
    steps_per_epoch
        Updates in an epoch.
    earlier
        The finished networks of the run.
    table
        What the teachers say of the training text; None if there never is one.
    needed
        Memory of a training step.
    """

    def __init__(
        self,
        job: Job,
        team: Team = ALONE,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        """The run of `job`, at its beginning or where it stopped.

        Raises `RunError` if there is nothing to train on, `ConfigError` if it does not fit into memory or
        ends before the update that it has reached, and what `restore` does.
        """
        config, corpus = job.config, job.corpus
        if not corpus.usable("train"):
            text = corpus.part("train")
            held = "one character" if len(text) else "no characters"
            size, least = (held, "two") if text.lines is None else ("no lines", "one")
            raise RunError(
                f"the training split holds {size}; it takes {least} at least: "
                "give corpus.split a larger first part, or a longer text"
            )
        self.corpus = corpus
        self.streams, self.warning = corpus.part("train").batches(
            config.train.batch, config.train.seq_len, config.train.seed
        )
        self.validation = corpus.part("validation")
        if config.run.eval_length:
            self.validation = self.validation.excerpt(config.run.eval_length)
        if not config.train.shards:
            config = config.replace({"train.shards": default_shards(self.streams.batch, team)})
        self.config = config
        self.model = build_model(config.model, len(corpus.vocabulary), config.run.kernel)
        B, T, itemsize = self.streams.batch, self.streams.seq_len, np.dtype(dtype).itemsize
        train, text, V = config.train, corpus.part("train"), len(corpus.vocabulary)
        self.needed = needed(self.model, train, B, T, train.shards, itemsize, team.size)
        teachers = len(train.teachers) + train.chain * (train.generations - 1)
        taught = table_bytes(len(text.ids), V, teachers)
        if COUNTS in train.teachers:
            taught += BYTES * len(text.ids)
        self.needed = replace(self.needed, taught=taught)
        check_memory(self.needed, config)
        self.team, self._dtype = team, dtype
        self._job = replace(job, saved=None)  # its arrays are not needed for long
        self.earlier: list[Parameters] = []
        self.table = Table(text, V, teachers, train.teacher_share) if teachers else None
        params = self._fresh_parameters(0)
        self.optimizer = OPTIMIZERS[config.train.optimizer](params.flat.size, dtype, config.train, shared)
        self.sharded = ShardedUpdate(
            self.model, params, self.streams, self.optimizer, train, team, self.table
        )
        self.parameters, self.state = self.sharded.params, self.sharded.state
        self.mean = self.sharded.mean
        self.rng = self._noise(0)
        self.steps_per_epoch = self.streams.windows
        self.schedule = Schedule(config.train, self.steps_per_epoch)
        self.tally = Tally()
        if job.saved is not None:
            where = f"run {Path(config.run.dir)}"
            self.restore(job.saved, where)
            if self.tally.generation >= train.generations:
                raise ConfigError(
                    f"train.generations: {where} has begun network {self.tally.generation + 1}: it must be "
                    "that at least"
                )
            if self.tally.step > self.planned_steps:
                done = (self.tally.step - self.tally.begun) / self.steps_per_epoch
                raise ConfigError(
                    f"train.epochs: {config.train.epochs:g} epochs end before update {self.tally.step:,}, "
                    f"which {where} has reached: it must be {math.ceil(100 * done) / 100:g} at least"
                )

    def _fresh_parameters(self, generation: int) -> Parameters:
        """The parameters that a network of the run begins with."""
        # the same numbers on every rank, though their libraries may differ
        return self.team.first(lambda: self._job.parameters(self.model, self._dtype, generation))

    def _noise(self, generation: int) -> np.random.Generator:
        """The source of the noise of a network of the run."""
        key = (1, generation) if generation else (1,)
        return np.random.default_rng(np.random.SeedSequence(self.config.train.seed, spawn_key=key))

    @property
    def planned_steps(self) -> int:
        """Updates of the whole run."""
        networks = max(1, self.config.train.generations - self.tally.generation)
        return self.tally.begun + networks * self.schedule.steps

    @property
    def is_last_of_network(self) -> bool:
        """Whether the network has done its last update, or its patience has run out."""
        return self.tally.step >= self.tally.begun + self.schedule.steps or self.out_of_patience

    @property
    def begins_network(self) -> bool:
        """Whether the next update is the first of another network, or the first that is taught."""
        return not self.finished and (self.is_last_of_network or self._unread > 0)

    @property
    def teachers_wait(self) -> bool:
        """Whether teachers read the text before the next update."""
        follows = self.is_last_of_network and not self.finished
        return self._unread > 0 or (follows and self.config.train.chain)

    @property
    def _unread(self) -> int:
        """The teachers that have yet to read the text."""
        teachers = len(self._job.teachers) + self._counts_teach + len(self._chain)
        return 0 if self.table is None else teachers - self.table.teachers

    @property
    def _chain(self) -> list[Parameters]:
        """The finished networks that teach this one."""
        return self.earlier if self.config.train.chain else []

    @property
    def _counts_teach(self) -> bool:
        """Whether the counts of the text teach: only until a network of the run can."""
        return COUNTS in self.config.train.teachers and not self._chain

    def prepare(self) -> Generator[float, None, None]:
        """Begin the next network where one is finished, and let the teachers read the text.

        Yields the share of the text that the present teacher has read, before each piece of it. A teacher
        that is interrupted there reads from the beginning when this is called again.
        """
        if self.is_last_of_network and not self.finished:
            self._begin_network()
        nets = [(teacher.model, teacher.parameters) for _, teacher in self._job.teachers]
        nets += [(self.model, params) for params in self._chain]
        while self.table is not None and self._unread:
            number = self.table.teachers
            if self._counts_teach and not number:
                # of a long text that is read in part, counts are asked for that part
                is_part = self.schedule.steps < self.steps_per_epoch
                trained = self.streams.places(self.schedule.steps) if is_part else None
                yield from self.table.add_counts(self.team, trained)
            else:
                team = self.team.of(parts=self.config.train.shards)
                yield from self.table.add_network(*nets[number - self._counts_teach], team)

    def _begin_network(self) -> None:
        """Begin the next network; in a chain, the one that is finished teaches it."""
        tally = self.tally
        self.earlier.append(self.mean.copy())
        if len(self._chain) == 1:
            self._let_networks_teach()
        tally.generation, tally.begun, tally.applied_before = len(self.earlier), tally.step, tally.applied
        tally.plateau, tally.lowest, tally.waited = Plateau(), None, 0
        self.parameters.flat[...] = self._fresh_parameters(tally.generation).flat
        self.mean.flat[...] = self.parameters.flat
        for slot in self.optimizer.slots.values():
            slot[...] = 0.0
        self.rng = self._noise(tally.generation)

    def _let_networks_teach(self) -> None:
        """Begin the table of those that teach the networks after the first."""
        if self.table is not None:
            self.table.begin_again(self.config.train.taught_share or self.config.train.teacher_share)

    @property
    def epoch(self) -> float:
        """Epochs done, of all networks; a fraction within one."""
        return self.tally.step / self.steps_per_epoch

    @property
    def finished(self) -> bool:
        """Whether the last network has done its updates, or its patience has run out."""
        return self.is_last_of_network and self.tally.generation + 1 >= self.config.train.generations

    @property
    def best_of(self) -> str:
        """The split of `Tally.best`: `validation`, or `training` if that cannot be scored."""
        return "validation" if self.corpus.usable("validation") else "training"

    @property
    def out_of_patience(self) -> bool:
        """Whether the last validations, as many as `train.patience` says, did not improve."""
        return 0 < self.config.train.patience <= self.tally.waited

    def update(self) -> Update:
        """Train on the next window: forward, backward, clip, optimise; the state is carried over.

        A loss or gradient that is not finite never reaches the parameters: `train.on_nonfinite`
        says whether it is a `DivergenceError`, or the update is dropped (ten in a row are an
        error in any case).
        """
        for _ in self.prepare():
            pass
        step = self.tally.step - self.tally.begun
        if self.streams.resets_state(step):
            self.state[...] = 0.0
        elif self.config.train.reset_state:
            resets = self.rng.random(self.streams.batch) < self.config.train.reset_state
            self.state[:, :, resets] = 0.0
        drop = self.config.train.taught_drop if self._chain else 1.0
        loss = self.sharded.backpropagate(step, self.rng, drop)
        norm, clipped_norm = self.sharded.clip_values()
        factor = clip_factor(clipped_norm, self.config.train.clip_norm)
        lr = self.config.train.lr * self.schedule.factor(step, self.tally.plateau)
        dropped = None
        is_finite = loss < _LARGEST_LOSS
        if is_finite and math.isfinite(norm):
            self.sharded.update(lr, factor, self.tally.applied - self.tally.applied_before + 1)
            self.tally.skipped_in_a_row = 0
        else:
            dropped = f"gradient of {self.sharded.first_not_finite()}" if is_finite else "loss"
            self._drop(self.tally.step + 1, dropped)
        self.tally.step += 1
        is_clipped = clipped_norm < norm or factor < 1
        return Update(loss, norm, lr, self.streams.characters(step), is_clipped, dropped)

    def _drop(self, step: int, what: str) -> None:
        """Drop an update, or raise `DivergenceError`."""
        if self.config.train.on_nonfinite == "stop":
            raise _divergence(step, what)
        self.tally.skipped += 1
        self.tally.skipped_in_a_row += 1
        if self.tally.skipped_in_a_row >= SKIPPED_AT_MOST:
            raise _divergence(step, what, f", the {SKIPPED_AT_MOST}th update in a row")
        self.sharded.reset_not_finite()

    @property
    def validates_in_part(self) -> bool:
        """Whether a validation scores less than the whole split."""
        return self.validation.targets < self.corpus.part("validation").targets

    @property
    def scores_whole(self) -> bool:
        """Whether the best model is scored on the whole split at the end, after validations in part."""
        trained = self.planned_steps / self.steps_per_epoch * self.corpus.part("train").targets
        held = self.corpus.part("validation").targets
        return self.validates_in_part and is_scored_whole(held, trained)

    def validate(self) -> Score | None:
        """Score `validation`, if there is anything in it, without touching the training state.

        Raises `DivergenceError` if its loss is not finite.
        """
        if self.best_of == "training":
            return None
        result = self.score(self.model, self.mean, self.validation)
        if not math.isfinite(result.nll):
            raise _divergence(self.tally.step, "validation loss")
        return result

    def score(self, model: Model, params: Parameters, text: Text) -> Score:
        """Score a text with a network, on the workers and ranks of this one."""
        return score(model, params, text, team=self.team.of(parts=self.config.train.shards))

    def record_validation(self, loss: float) -> bool:
        """Record a validation loss (schedule, patience, best); True if it is the best yet."""
        tally = self.tally
        tally.validation = loss
        tally.plateau = self.schedule.after_validation(loss, tally.plateau)
        tally.waited += 1
        if tally.lowest is None or loss < tally.lowest:
            tally.lowest, tally.waited = loss, 0
        if tally.best is not None and loss >= tally.best:
            return False
        tally.best, tally.best_step = loss, tally.step
        return True

    @property
    def joins(self) -> bool:
        """Whether the networks will be joined after the last update."""
        can = self.config.train.join and self.best_of == "validation" and self.tally.step > 0
        return can and self.tally.joined != self.tally.step

    def __exit__(self, *error: object) -> None:
        self.sharded.pool.close()

    def snapshot(self) -> Checkpoint:
        """Everything, as a checkpoint; it shares the trainer's arrays, so save it before going on.

        With several ranks, `sharded.complete_state` comes first.

        With a running mean, that is its model, and what is trained is among the arrays of training.
        """
        arrays: dict[str, Array] = {f"optimizer/{name}": slot for name, slot in self.optimizer.slots.items()}
        arrays |= self.model.named(self.state, "carried/")
        if self.config.train.average:
            arrays["trained"] = self.parameters.flat
        arrays |= {f"{_EARLIER}{number}": params.flat for number, params in enumerate(self.earlier)}
        progress = {
            **self.tally.to_json(),
            "epoch": self.epoch,
            "best_of": self.best_of,
            "optimizer_updates": self.tally.applied,
            "random": copy.deepcopy(self.rng.bit_generator.state),
        }
        corpus = {
            "digest": self.corpus.digest,
            "characters": len(self.corpus.ids),
            "train": self.corpus.part("train").units,
        }
        return Checkpoint(self.config, self.corpus.vocabulary, self.mean, corpus, progress, arrays)

    def restore(self, checkpoint: Checkpoint, where: str) -> None:
        """Continue where `checkpoint` was made, on the same corpus.

        Raises `RunError` if a key differs that cannot, and `CheckpointError` if training state is missing.
        """
        now, then = self.config.flat(), checkpoint.config.flat()
        if not then["train.shards"]:  # of a format that did not know the key
            then["train.shards"] = now["train.shards"]
        for dotted, known in KEYS.items():
            if known.fixed and now[dotted] != then[dotted]:
                raise RunError(
                    f"{where}: {dotted} is {plain(then[dotted]) or 'empty'} in this run and cannot become "
                    f"{plain(now[dotted]) or 'empty'}; start a new run with `out=DIR`"
                )
        try:
            values = dict(checkpoint.progress)
            del values["epoch"], values["best_of"], values["optimizer_updates"]
            self.rng.bit_generator.state = values.pop("random")
            self.tally = Tally.from_json(values)
            for number in range(self.tally.generation):
                earlier = self.parameters.zeros_like()
                _fill(earlier.flat, checkpoint.training[f"{_EARLIER}{number}"])
                self.earlier.append(earlier)
            for name, slot in self.optimizer.slots.items():
                _fill(slot, checkpoint.training[f"optimizer/{name}"])
            for name, array in self.model.named(self.state, "carried/").items():
                _fill(array, checkpoint.training[name])
            # a mean that is switched on or off begins, or ends, with the model that there is
            trained = checkpoint.training.get("trained", checkpoint.parameters.flat)
            _fill(self.parameters.flat, trained)
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{where} lacks the training state that it takes to resume") from error
        if self.config.train.average:
            self.mean.flat[...] = checkpoint.parameters.flat
        if self._chain:
            self._let_networks_teach()


def _fill(array: Array, values: Array) -> None:
    """Copy values of the same shape; raises `ValueError` for any other."""
    if values.shape != array.shape:
        raise ValueError(f"an array of shape {values.shape} where {array.shape} is kept")
    array[...] = values


def _divergence(step: int, what: str, more: str = "") -> DivergenceError:
    return DivergenceError(
        f"update {step}: the {what} is not a finite number{more}; try a lower train.lr or train.clip_norm"
    )
