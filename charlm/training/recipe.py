"""A configuration for a text, the minutes that there are, and this machine.

Every choice follows from three numbers: the characters of the text, N, the size of its vocabulary,
V, and the characters that this machine can train on in the time, n. The speed is measured with the
chosen network. `n / N` are the epochs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from charlm.config.keys import COUNTS, Config
from charlm.data.corpus import Corpus
from charlm.inference.counts import BYTES
from charlm.nn.cells import make_cell
from charlm.system.errors import ConfigError
from charlm.system.machine import machine_bytes
from charlm.system.team import ALONE, Team
from charlm.training.job import Job
from charlm.training.request import Request
from charlm.training.teachers import Table
from charlm.training.trainer import SCORING, Trainer, is_scored_whole

_SIZES = (48, 64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896, 1024)
"""Numbers of hidden units per layer to choose from."""

_LAYERS = 2
"""Recurrent layers: two learn more in the same time than one of as many operations, and than three."""

_USUAL = 192
"""Hidden units of the network whose pace is measured first, if there is time for it."""

_BRIEF = 10.0
"""Seconds below which the smallest network is measured instead."""

_VALIDATIONS = 8
"""Validations of a run."""

_FEWEST_VALIDATIONS = 3
"""Fewest validations of each network of a run."""

_VALIDATION_SHARE = 0.003
"""Largest share of the time for one validation of a run that is chosen."""

_VALIDATING = 0.1
"""Largest share of the time for all validations, where a person chose how many there are."""

_LEAST = 1000
"""Fewest characters that a validation scores of a longer text."""

_HELD_OUT = 0.05
"""Largest fraction of a text for validation, and for test."""

_SHORT = 400
"""Characters of a text of which nothing is held out."""

_SEAMS = 2.5
"""Time of a validation over that with a new network, which soon forgets where streams begin."""

_MEASURING = 0.02
"""Share of the time for each measurement of the pace, of which there are two."""

_LONGEST = 20.0
"""Most seconds per measurement."""

_RESERVE = 0.03
"""Share of the time for previews, checkpoints and slower moments."""

_PER_NETWORK = 8
"""Epochs of each of several networks that are joined; see `_seen`. With fewer, one network is as good."""

_NETWORKS = 2
"""Most networks of a run: what they are joined to is as large as their number squared."""

_JOINED_DROP = 0.6
"""Factor of dropout and weight drop of networks that are joined: each may learn more by heart."""

_JOINING = 4
"""Times that joined networks are scored."""

_COUNTS_SHARES = (0.15, 0.5)
"""Smallest and largest share of the counts of the text in what a network learns."""

_COUNTED_SHARE = 0.2
"""Largest share of the time for the counts to read the text."""

_COUNTED_MEMORY = 0.25
"""Largest share of the machine's memory for the counts."""

_COUNTED_PART = 100_000
"""Characters of a text with which the time of its counts is measured."""

_COUNTING = 32
"""Hidden units of a network that is trained on a text once in about the time in which its counts read it."""

_UPDATES = 3000
"""Updates of a run, if the batch can be chosen so."""

_OFTEN = 10
"""Treat a text as seen often after this many epochs."""

_ROWS = 8
"""Divisor of the batch: two workers then have multiples of 4 rows, which AVX2 multiplies best."""

_WINDOW = 50
"""Steps of a window."""


class Rates(NamedTuple):
    """The learning rates of a cell, which fall with the width of the network, H."""

    largest: float
    """The learning rate of small networks."""
    times_hidden: float
    """Limit of the learning rate, times H."""
    output_times_hidden: float
    """Learning rate of the output layer, times H. A logit is a sum of H values below 1, so its weights
    become the largest."""


_RATES = {"lstm": Rates(0.02, 5.0, 22.0), "gru": Rates(0.014, 1.8, 5.4), "rnn": Rates(0.006, 1.0, 3.0)}
"""Learning rates by cell; other cells have the GRU's."""

_FIRST = 5
"""Updates of a new network, which are slow and not measured."""


def fit(job: Job, request: Request, team: Team = ALONE) -> Job:
    """The job that makes the most of its time: with another configuration, and perhaps another split.

    All ranks of `team` measure together; what follows from clocks is the first one's. Raises
    `ConfigError` if not even one update fits into the time that is left.
    """
    left = team.first(lambda: (request.seconds or 0.0) - (time.perf_counter() - request.begun))
    return choose(job, left, team) if request.everything else fit_to_time(job, left, team)


def warnings(config: Config, corpus: Corpus) -> Iterator[str]:
    """Warnings about a text that was split by `choose`."""
    if "corpus.split" not in config.given and 0 < corpus.split[1] < _HELD_OUT:
        test = ", and as much for test" if corpus.split[2] else ""
        yield (
            f"{100 * corpus.split[1]:.2g} % of the text is for validation{test}: "
            "more would take too much of the time"
        )


def fit_to_time(job: Job, seconds: float, team: Team = ALONE) -> Job:
    """The job with as many `train.epochs` as fit into `seconds`, validations included.

    A validation that would take too much of the time is cut to `run.eval_length`. Raises
    `ConfigError` if not even one update fits.
    """
    started = time.perf_counter()
    measured = pace(job, _measuring(seconds), team)
    most = _validations(job, measured._replace(validation=0.0), seconds)
    in_part = _in_part(job, measured.characters, _VALIDATING / most * seconds)
    if in_part is not job:
        job, measured = in_part, pace(in_part, _measuring(seconds), team)
    left = team.first(lambda: (1 - _RESERVE) * seconds - (time.perf_counter() - started))
    count = _validations(job, measured, left)
    return _with(job, job.config.replace({"train.epochs": _epochs(job, measured, left, count)}))


def choose(job: Job, seconds: float, team: Team = ALONE) -> Job:
    """The job with the configuration that makes the best model in `seconds`, its text split for it.

    Keys that a person set are kept. Raises `ConfigError` if not even one update fits.
    """
    started = time.perf_counter()
    given = job.config.given
    if "corpus.split" not in given:  # what is held out depends on the pace
        job = _split(job, 0.0)
    measured = _USUAL if seconds > _BRIEF else _SIZES[0]
    if "model.hidden" in given:
        measured = job.config.model.hidden
    train = job.corpus.part("train")
    steps = _WINDOW if train.lines is None else train.targets // max(1, train.lines)
    reference = _with(job, job.config.choose(rules(1, 1, measured, _UPDATES * _WINDOW * 20, steps)))
    speed = pace(reference.alone(), _measuring(seconds), team).characters
    if "corpus.split" not in given:
        share = held_out(len(job.corpus.ids), SCORING * speed * _VALIDATION_SHARE * seconds)
        job = _split(job, share if share * len(train) >= 1 else 0.0)  # not less than a line
    N, V = job.corpus.part("train").targets, len(job.corpus.vocabulary)
    usable = (1 - _RESERVE - 2 * _MEASURING - _VALIDATIONS * _VALIDATION_SHARE) * seconds
    cell = job.config.model.cell if "model.cell" in given else "lstm"

    def trained(H: int) -> float:
        """Characters that a network of H is trained on."""
        return usable * speed * _relative_pace(V, H, measured, cell)

    def width(networks: int) -> int:
        """Hidden units of each of so many networks."""
        if "model.hidden" in given:
            return job.config.model.hidden
        return max(H for H in _SIZES if enough(N, V, H, trained(H) / networks))

    networks = job.config.train.generations
    if "train.generations" not in given and job.corpus.usable("validation"):
        most = range(_NETWORKS, 1, -1)
        pays = (M for M in most if _seen(trained(width(M)) / M / N, steps) >= _PER_NETWORK)
        networks = next(pays, 1)
    hidden = width(networks)
    n = trained(hidden) / networks
    has_room = team.first(lambda: _COUNTED_MEMORY * (machine_bytes() or math.inf) >= N * BYTES)
    counts = None if has_room and job.corpus.usable("validation") else False
    settings = rules(N, V, hidden, n, steps, cell, networks, counts)
    settings["train.join"] = job.corpus.usable("validation")
    job = _with(job, job.config.choose(settings))
    each = max(_FEWEST_VALIDATIONS, math.ceil(_VALIDATIONS / networks))
    one, validations = _VALIDATION_SHARE * seconds, networks * each
    if "run.eval_every" in given:
        one = min(one, _VALIDATING / _validations(job, Pace(networks * n / usable, 0.0), seconds) * seconds)
    job = _in_part(job, networks * n / usable, one)
    chosen = pace(job, _measuring(seconds), team)
    left = team.first(lambda: (1 - _RESERVE) * seconds - (time.perf_counter() - started))
    if "run.eval_every" in given:
        validations = _validations(job, chosen, left)
    job = _with(job, job.config.choose({"train.epochs": _epochs(job, chosen, left, validations)}))
    epochs = job.config.train.epochs
    updates = int(epochs * _windows(job))
    rest = {
        "train.teacher_share": _counts_share(epochs, steps) if COUNTS in job.config.train.teachers else 0.5,
        # rounded up, so that the last validation falls on the last update
        "run.eval_every": _digits(1.0005 * epochs / each),
        "run.sample_every": _digits(epochs / 4),
        "run.log_every": min(100, max(1, updates // 40)),
        "train.warmup": min(100, updates // 20),
    }
    return _with(job, job.config.choose(rest))


def _with(job: Job, config: Config) -> Job:
    return replace(job, config=config)


def _split(job: Job, share: float) -> Job:
    """The job with that share of the text for validation, and as much for test."""
    split = (1 - 2 * share, share, share)
    config = job.config.replace({"corpus.split": split})
    return replace(job, config=config, corpus=job.corpus.with_split(split))


def _validations(job: Job, measured: Pace, seconds: float) -> int:
    """Validations of a run of `seconds`, if there is one every `run.eval_every` epochs and at the end."""
    epoch = job.corpus.part("train").targets / measured.characters
    every = job.config.run.eval_every
    return max(1, math.ceil(seconds / (epoch * every + measured.validation)))


def _in_part(job: Job, speed: float, seconds: float) -> Job:
    """The job, with a `run.eval_length` if a validation takes longer than `seconds`.

    `speed` is in characters trained on per second. A length that is set stays.
    """
    length = max(_LEAST, int(float(f"{SCORING * speed * max(0.0, seconds):.2g}")))
    if job.config.run.eval_length or job.corpus.part("validation").targets <= length:
        return job
    return _with(job, job.config.replace({"run.eval_length": length}))


def _epochs(job: Job, measured: Pace, seconds: float, validations: int) -> float:
    """Epochs of each network that fit into `seconds`.

    Beside them fit so many validations, what teachers read, the scoring of the joined networks, and of the
    whole split.

    Raises `ConfigError` if not even one update fits.
    """
    train, held = job.corpus.part("train").targets, job.corpus.part("validation").targets
    seconds -= validations * measured.validation
    part = job.config.run.eval_length
    joined = 1.0
    if job.config.train.join:
        joined = _joined_cost(job)
        seconds -= _JOINING * joined * min(part or held, held) / (SCORING * measured.characters)
    if 0 < part < held:
        whole = joined * held / (SCORING * measured.characters)
        if is_scored_whole(held, (seconds - whole) * measured.characters):
            seconds -= whole
    count, total = job.config.train.generations, seconds * measured.characters / train - _readings(job)
    # counts are built of the whole text, which takes half of their time, and read what is trained on
    counting = measured.counting * measured.characters / train / 2
    epochs = (total - 2 * counting) / count
    if epochs < 1:
        epochs = (total - counting) / (count + counting)
    if epochs * _windows(job) < 1:
        which = "this network" if count == 1 else f"each of {count} networks (train.generations)"
        raise ConfigError(f"`minutes`: not even one update of {which} fits into the time")
    return _digits(min(epochs, 1e6))


def _readings(job: Job) -> float:
    """The epochs of training that take as long as what the networks read that teach."""
    train = job.config.train
    given = len(train.teachers) - (COUNTS in train.teachers)
    if not train.chain:
        return given / SCORING
    # networks of `train.teacher` read again for the second network
    return (given * min(2, train.generations) + train.generations - 1) / SCORING


def _joined_cost(job: Job) -> float:
    """The time in which the joined networks of a job read a text, over the time of one network."""
    model, V = job.config.model, len(job.corpus.vocabulary)
    return _relative_pace(V, model.hidden, job.config.train.generations * model.hidden, model.cell)


def enough(N: int, V: int, H: int, n: float) -> bool:
    """Whether `n` characters to train on, of a text of `N` with a vocabulary of `V`, are enough for `H`.

    A larger network needs more of them, and a longer text; with a large vocabulary the text says
    less of each character. A text that is seen often is better used by a larger network than by a
    smaller one that sees it even more often.
    """
    for_time = 2.2e6 * (H / 192) ** 1.5 if n >= _OFTEN * N else 3e6 * (H / 192) ** 2
    largest = max(128.0, 430 * (N / 1e6) ** 0.35 * (65 / max(65, V)) ** 0.08)
    return _SIZES[0] >= H or (n >= for_time and largest >= H)


def _seen(epochs: float, steps: int) -> float:
    """The epochs of a usual text that teach as much as so many of short lines."""
    return epochs * math.sqrt(min(steps, _WINDOW) / _WINDOW)


def _counts_share(epochs: float, steps: int) -> float:
    """The share of the counts of the text in the loss of a network of so many epochs."""
    least, most = _COUNTS_SHARES
    return round(min(max(least, 2 / _seen(epochs, steps)), most), 2)


def rules(
    N: int,
    V: int,
    H: int,
    n: float,
    steps: int = _WINDOW,
    cell: str = "lstm",
    networks: int = 1,
    counts: bool | None = None,
) -> dict[str, Any]:
    """The settings for a network of `H` that is trained on `n` characters of a text of `N`, of `V` different.

    `steps` is the usual length of a window; for lines, their mean length. `networks` are trained one after
    the other, and joined. `counts` says whether the counts of the text teach; None where they do not take
    long.

    The figures come from the runs in configs/README.md. Regularisation slows learning: dropout and
    weight drop begin where the text is seen often by a network that could learn it by heart, and
    weight decay is small where there are few weights for the text. With a large vocabulary each
    character is rare, so that both pay sooner; in short lines there is less to learn by heart.
    """
    recurrent = 4 * (2 * _LAYERS - 1) * H * H  # weights of an LSTM, with those between its layers
    weights = recurrent + 5 * V * H  # with its input and its output
    # log2 of the epochs, plus half the log2 of the weights per character and of the steps
    capacity = recurrent / N * min(steps, _WINDOW) / _WINDOW
    overfitting = math.log2(max(1.0, n / N)) + 0.5 * math.log2(capacity)
    # small batches are slow, large ones make few updates; windows of short lines are short
    batch = _ROWS * round(n / _UPDATES / min(steps, _WINDOW) / _ROWS)
    batch = min(max(16, batch), 32 if steps >= _WINDOW else 64)
    seldom = 0.6 * math.log2(max(65, V) / 65)
    drop = _JOINED_DROP if networks > 1 else 1.0
    known = cell if cell in _RATES else "gru"
    if counts is None:
        counts = _relative_pace(V, H, _COUNTING, known) < _COUNTED_SHARE * networks * n / N
    rates = _RATES[known]
    lr = min(rates.largest, rates.times_hidden / H)
    return {
        "model.cell": cell,
        "model.hidden": H,
        "model.layers": _LAYERS,
        "model.dropout": round(drop * min(0.65, max(0.0, 0.08 * (overfitting - 2.5 + seldom))), 2),
        "model.dropout_mask": "step",
        "model.weight_drop": round(drop * min(0.5, max(0.0, 0.07 * (overfitting - 1.0 + seldom / 2))), 2),
        "train.batch": batch,
        "train.seq_len": _WINDOW,
        "train.optimizer": "adamw",
        "train.lr": _digits(lr),
        "train.output_lr": _digits(rates.output_times_hidden / H / lr),
        "train.beta2": 0.99,
        "train.clip_norm": 1.0,
        # a small network cannot learn a long text by heart, and needs all of its weights
        "train.weight_decay": round(0.05 * min(1.0, 2 * weights / N), 4),
        "train.schedule": "cosine",
        "train.warmup": 100,
        "train.generations": networks,
        "train.chain": False,
        # counts know at once what a network has to learn, and in the end less than it
        "train.teacher": COUNTS if counts else "",
        "train.teacher_share": _counts_share(n / N, steps) if counts else 0.5,
    }


def held_out(N: int, characters: float) -> float:
    """The fraction of a text of `N` characters for validation, and for test, of at most `characters`."""
    return 0.0 if N < _SHORT else min(_HELD_OUT, _digits(characters / N))


class Pace(NamedTuple):
    """The speed of a configuration on this machine."""

    characters: float
    """Characters trained on per second."""
    validation: float
    """Seconds per validation."""
    counting: float = 0.0
    """Seconds in which the counts of the training text read it, where they teach."""


def pace(job: Job, seconds: float, team: Team = ALONE) -> Pace:
    """The pace of a job, for which training is measured for `seconds`, and counting for a part of the text.

    A validation is measured too, unless it would take longer than `seconds`: a short text is scored
    in few streams, which is slow.
    """
    with Trainer(job.alone(), team) as trainer:
        for _ in range(_FIRST):
            trainer.update()
        started, characters, taken, done = time.perf_counter(), 0, 0.0, False
        while not done:
            characters += trainer.update().characters
            taken = time.perf_counter() - started
            done = team.agree(taken >= seconds)
        speed = team.first(lambda: characters / taken)
        held = trainer.validation.targets
        validation = held / (SCORING * speed)
        if validation < seconds:
            started = time.perf_counter()
            trainer.validate()
            validation = team.first(lambda: _SEAMS * (time.perf_counter() - started))
    counting = 0.0
    if COUNTS in job.config.train.teachers:
        text = job.corpus.part("train")
        part = text.excerpt(_COUNTED_PART)
        started = time.perf_counter()
        for _ in Table(part, len(job.corpus.vocabulary), 1, 0.0).add_counts(team):
            pass
        counting = team.first(lambda: (time.perf_counter() - started) * text.targets / part.targets)
    return Pace(speed, validation, counting)


def _measuring(seconds: float) -> float:
    """Seconds of a measurement."""
    return min(_LONGEST, max(0.0, _MEASURING * seconds))


def looks_like_lines(corpus: Corpus) -> bool:
    """Whether a text seems to be a list of short unconnected lines, such as names."""
    if corpus.by_line or corpus.vocabulary.line_break is None:
        return False
    breaks = np.flatnonzero(np.asarray(corpus.ids[:100_000]) == corpus.vocabulary.line_break)
    lengths = np.diff(breaks) - 1
    return len(lengths) >= 50 and lengths.min() > 0 and lengths.mean() <= 30 and lengths.max() <= 80


def _relative_pace(V: int, H: int, measured: int, cell: str) -> float:
    """The pace of a network over the pace of one with `measured` hidden units."""

    def cost(hidden: int) -> float:
        gates = len(make_cell(cell).gates)
        # products: recurrent ones, those between layers, the output; elementwise work and calls weigh
        # more in small networks
        return hidden * (gates * hidden * (2 * _LAYERS - 1) + V) * (1 + 60 / hidden)

    return cost(measured) / cost(H)


def _windows(job: Job) -> int:
    """Updates of an epoch."""
    train = job.config.train
    return job.corpus.part("train").batches(train.batch, train.seq_len, train.seed)[0].windows


def _digits(number: float) -> float:
    """A number with four significant digits."""
    return float(f"{number:.4g}")
