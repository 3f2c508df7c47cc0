"""Warnings for the user, before a run begins."""

from collections.abc import Iterator

import numpy as np

from charlm.config.keys import Config
from charlm.data.corpus import Corpus
from charlm.data.texts import Text
from charlm.system import blas
from charlm.system.team import machine
from charlm.system.workers import slices
from charlm.training import recipe
from charlm.training.request import Request
from charlm.training.trainer import Trainer

_ODD = {
    0x0D: "carriage returns, as in the line ends of Windows, which are learned too: "
    "corpus.newlines=lf converts them",
    0x00: "NUL characters, which are learned too: is it plain text?",
    0x1B: "escape characters, as in the output of terminals, which are learned too: is it plain text?",
    0xFFFD: "replacement characters (U+FFFD), which are learned too: an earlier conversion lost what stood "
    "in their place",
}
"""Characters that a text rarely holds on purpose, by their code."""

_SMALL_WINDOW = 256
"""Characters of an update below which many updates are worth a warning."""

_MANY_STEPS = 500_000
"""Warn above this many updates of a small window."""


def of_run(
    trainer: Trainer, request: Request, small_window: int = _SMALL_WINDOW, many_steps: int = _MANY_STEPS
) -> Iterator[str]:
    """Warnings about the text, the machine, and settings that do not fit to them."""
    yield from trainer.corpus.warnings
    if not trainer.tally.step:
        yield from of_text(trainer.config, trainer.corpus, request)
    blas_warning = blas.warning()
    if blas_warning:
        yield blas_warning
    if trainer.warning:
        yield trainer.warning
    corpus, train = trainer.config.corpus, trainer.config.train
    for code, what in _ODD.items():
        if corpus.unit == "char" and _holds(trainer.corpus, code):
            yield f"the text holds {what}"
    if train.warmup > trainer.planned_steps:
        yield (
            f"train.warmup of {train.warmup:,} updates is longer than the run of {trainer.planned_steps:,}: "
            "the learning rate never reaches train.lr"
        )
    streams = trainer.streams
    if streams.batch * streams.seq_len < small_window and trainer.planned_steps > many_steps:
        yield (
            f"{trainer.planned_steps:,} updates of {streams.batch} x {streams.seq_len} characters take long: "
            "a larger train.batch or train.seq_len makes fewer"
        )
    if corpus.split[1] and trainer.best_of == "training":
        yield "the validation split is too short to score; best.npz goes by training loss"
    if train.join and trainer.best_of == "training":
        yield "train.join takes a validation split: without one, nothing is joined"
    if trainer.validates_in_part:
        scored, held = trainer.validation.targets, trainer.corpus.part("validation").targets
        end = "the whole is scored at the end" if trainer.scores_whole else "the whole would take too long"
        yield (
            f"each validation scores the first {scored:,} of {held:,} characters (run.eval_length), and "
            f"best.npz goes by them; {end}"
        )


def _holds(corpus: Corpus, code: int) -> bool:
    """Whether a text holds a code; the vocabulary of the weights that a run begins with may hold more."""
    codes = corpus.vocabulary.codes
    unit = np.searchsorted(codes, code)
    return code in codes and any((block == unit).any() for block in Text(corpus.ids).blocks())


def of_text(config: Config, corpus: Corpus, request: Request) -> Iterator[str]:
    """Warnings about how a text is split and read, before a run begins."""
    if request.everything:
        yield from recipe.warnings(config, corpus)
    if "corpus.mode" not in config.given and recipe.looks_like_lines(corpus):
        yield (
            "the text looks like a list of lines that do not belong together: corpus.mode=lines makes each "
            "line a separate example"
        )
    repeated = {name: (count, len(corpus.part(name))) for name, count in corpus.repeated_lines().items()}
    counts = ", ".join(
        f"{count:,} of {lines:,} {name} lines ({100 * count / lines:.3g} %)"
        for name, (count, lines) in repeated.items()
    )
    if counts:
        yield f"also in the training split, and easier to predict: {counts}"


def of_team(trainer: Trainer) -> Iterator[str]:
    """Warnings about several ranks; all of them call this."""
    team, B = trainer.team, trainer.streams.batch
    shards = len(slices(B, trainer.config.train.shards))
    if shards < team.size:
        idle = team.size - shards
        yield (
            f"{idle} of {team.size} ranks {'has' if idle == 1 else 'have'} nothing to do: the batch of "
            f"{B} is divided into {shards} shard{'' if shards == 1 else 's'} (train.shards)"
        )
    machines = team.gather((machine(), blas.arithmetic()))
    for where, other in dict.fromkeys(machines):
        if other != machines[0][1]:
            yield (
                f"{where} has {other}, and {machines[0][0]} {machines[0][1]}: rounding differs, so that only "
                "the same ranks on the same machines train to the same bits"
            )
