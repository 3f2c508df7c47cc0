"""How fast a configuration is on this machine, on made-up text.

Training, generating and evaluating are timed as `train`, `sample` and `eval perplexity` run
them. The machine's own float32 matrix product is timed in the same process.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from charlm.arrays import Array
from charlm.config.build import build_model
from charlm.config.keys import Config
from charlm.data.corpus import Corpus
from charlm.data.texts import Text
from charlm.data.units import Units
from charlm.data.vocabulary import Vocabulary
from charlm.inference.generate import Sampling, generate
from charlm.inference.score import score
from charlm.nn.activations import sigmoid_form
from charlm.system import blas
from charlm.system.machine import peak_bytes
from charlm.system.team import ALONE, Team
from charlm.system.workers import slices
from charlm.training.job import Job
from charlm.training.memory import check_memory, needed
from charlm.training.sharded import default_shards
from charlm.training.trainer import Trainer

_WINDOWS = 20
"""Windows of an epoch of the made-up text."""

_EVALUATED = 20_000
"""Characters of one timed evaluation."""

_GENERATED = 100
"""Characters between two looks at the clock while generating."""

_PRODUCT = 1024
"""Rows and columns of the square matrices multiplied."""


@dataclass(frozen=True)
class Speed:
    """Speeds, as medians over the timed pieces, memory, and what was timed."""

    config: Config
    vocab: int
    """Units of the made-up vocabulary."""
    workers: int
    """Workers of each rank."""
    ranks: int
    characters: int | None
    """Characters that the configured text has to train on; None without a text."""
    train_chars_per_s: float
    sample_chars_per_s: float
    eval_chars_per_s: float
    train_gflops: float
    """1e9 operations per second in the matrix products of a training step."""
    matmul_gflops: float
    """1e9 operations per second in the machine's float32 product of large matrices."""
    parameters: int
    needed_mb: float
    """Bytes / 1e6 that one window's activations, parameters, gradients and optimiser state need on paper."""
    before_mb: float
    """Peak memory of the process, all code loaded, before the network was made."""
    peak_rss_mb: float
    """Peak memory after training: of the process, and of its workers."""
    compute_ms: float
    """Milliseconds of an update in which a rank computes."""
    communication_ms: float
    """Milliseconds of an update in which it exchanges with other ranks, waiting for them included."""

    @property
    def fraction_of_matmul(self) -> float:
        """How much of the machine's product training reaches."""
        return self.train_gflops / self.matmul_gflops

    @property
    def efficiency(self) -> float:
        """The share of the time in which ranks compute."""
        return self.compute_ms / (self.compute_ms + self.communication_ms)

    @property
    def epoch_seconds(self) -> float | None:
        """Seconds of training for an epoch of the configured text; None without a text."""
        return self.characters / self.train_chars_per_s if self.characters else None

    def figures(self) -> dict[str, Any]:
        """The shape, the speeds and the memory, by the keys of `charlm bench --json`."""
        model, train, epoch = self.config.model, self.config.train, self.epoch_seconds
        keys = {"workers": "threads", "before_mb": "before_rss_mb"}  # the others have their own names
        return {
            "cell": model.cell,
            "hidden": model.hidden,
            "layers": model.layers,
            "batch": train.batch,
            "seq_len": train.seq_len,
            "blas": blas.blas(),
            "sigmoid": sigmoid_form(),
            **{keys.get(name, name): value for name, value in vars(self).items() if name != "config"},
            "fraction_of_matmul": self.fraction_of_matmul,
            "efficiency": self.efficiency,
            "epoch_seconds": epoch,
            "run_seconds": epoch * train.epochs * train.generations if epoch else None,
        }


def measure(
    config: Config, vocab: int, seconds: float, team: Team = ALONE, characters: int | None = None
) -> Speed:
    """Time a configuration with a vocabulary of `vocab` units, each part for about `seconds`.

    `characters` are those that the configured text has to train on, if it is known.
    All ranks of `team` train and evaluate together. The first generates, and measures its own memory.
    """
    train = config.train
    model = build_model(config.model, vocab, config.run.kernel)
    shards = train.shards or default_shards(train.batch, team)
    check_memory(needed(model, train, train.batch, train.seq_len, shards, ranks=team.size), config)
    rng = np.random.default_rng(0)
    kind = np.min_scalar_type(vocab)
    ids = rng.integers(0, vocab, train.batch * train.seq_len * _WINDOWS + 1).astype(kind)
    corpus = Corpus(ids, Vocabulary(range(vocab), Units()), (1.0, 0.0, 0.0), digest="")
    # a network of next to nothing comes first: what it takes is code of NumPy and BLAS that is
    # loaded when it is first used, and belongs to the interpreter
    tiny = replace(
        config, model=replace(config.model, hidden=1), train=replace(train, batch=1, seq_len=1, shards=1)
    )
    with Trainer(Job(tiny, corpus).alone()) as trainer:
        trainer.update()
    before = peak_bytes() / 1e6
    window = train.batch * train.seq_len
    with Trainer(Job(config, corpus).alone(), team) as trainer:
        exchanging: list[float] = []

        def update() -> None:
            before = team.waited
            trainer.update()
            exchanging.append(team.waited - before)

        trained = _rate(update, window, seconds, team)
        communication = statistics.median(exchanging[1:])
        peak = (peak_bytes() + trainer.sharded.pool.worker_bytes) / 1e6
        model, parameters = trainer.model, trainer.parameters
        shards = trainer.config.train.shards
        drawn = generate(model, parameters, ids[:1], Sampling(), rng)
        sampled = team.first(lambda: _rate(lambda: list(islice(drawn, _GENERATED)), _GENERATED, seconds))
    text = Text(rng.integers(0, vocab, _EVALUATED + 1).astype(kind))
    evaluated = _rate(
        lambda: score(model, parameters, text, team=team.of(parts=shards)),
        _EVALUATED,
        seconds,
        team,
    )
    paper = needed(model, train, train.batch, train.seq_len, team.size, ranks=team.size)
    return Speed(
        config=config,
        vocab=vocab,
        workers=team.workers,
        ranks=team.size,
        characters=characters,
        train_chars_per_s=trained,
        sample_chars_per_s=sampled,
        eval_chars_per_s=evaluated,
        train_gflops=trained * training_flops(trainer) / 1e9,
        matmul_gflops=sum(team.gather(_matmul_gflops(team, seconds))),
        parameters=parameters.flat.size,
        needed_mb=paper.total / 1e6,
        before_mb=before,
        peak_rss_mb=peak,
        compute_ms=1e3 * (window / trained - communication),
        communication_ms=1e3 * communication,
    )


def training_flops(trainer: Trainer) -> int:
    """Operations of the products in a training step, per character.

    Two for each weight forward, four backward (one product for the gradient of the weight, one
    for that of its input); none for the first layer's input matrix, whose rows are gathered.
    """
    return sum(
        6 * array.size
        for name, array in trainer.parameters.items()
        if name.endswith(("Wx", "Wh", "W")) and name != "layers.0.Wx"
    )


def _rate(work: Callable[[], object], units: int, seconds: float, team: Team = ALONE) -> float:
    """Median units a second of `work`, repeated for `seconds` (three times at least) after a warm-up.

    All ranks of `team` repeat it as often as the first, whose times count.
    """
    work()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or team.first(lambda: time.perf_counter() < end):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return team.first(lambda: units / statistics.median(times))


def _matmul_gflops(team: Team, seconds: float) -> float:
    a, b = np.random.default_rng(0).standard_normal((2, _PRODUCT, _PRODUCT), dtype=np.float32)
    out: Array = np.empty_like(a)
    rows = slices(_PRODUCT, team.workers)

    def multiply(number: int) -> None:
        np.matmul(a[rows[number]], b, out[rows[number]])

    with team.pool(team.workers, multiply) as pool:
        return _rate(lambda: pool.map(multiply, range(team.workers)), 2 * _PRODUCT**3, seconds) / 1e9
