"""How well a checkpoint predicts its own text, a part of it, or another one."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from charlm.arrays import Array
from charlm.config.build import build_corpus, build_pipeline
from charlm.config.keys import CorpusConfig
from charlm.data.corpus import SPLITS, Corpus, Progress, nothing
from charlm.data.raw_size import RawSize, scored_raw_size
from charlm.data.sources import Source
from charlm.data.texts import Text
from charlm.inference import dynamic
from charlm.inference.reading import read_text
from charlm.inference.score import Score, score
from charlm.runs.checkpoint import Checkpoint
from charlm.system.errors import ConfigError, CorpusError
from charlm.system.team import ALONE, Team


@dataclass(frozen=True)
class Dynamic:
    """The score of a model that goes on learning from the text that it has read."""

    score: Score
    constants: dynamic.Constants
    chosen_on: str | None
    """The text on which the constants were chosen; None for the defaults."""
    seconds: float
    """Duration: of measuring the gradients of the training text, of choosing, and of scoring."""


@dataclass(frozen=True, repr=False)
class Evaluation:
    """A score, and the size of the original text that was scored."""

    score: Score
    raw: RawSize
    """Characters and bytes of UTF-8 of the files that were scored."""
    split: str | None
    """The part that was scored; None for the whole text."""
    paths: tuple[str, ...]
    """The files that it comes from."""
    window: int | None
    """Characters of a window that begins from a zero state; None if the state was carried."""
    lines: int | None
    """Lines that were scored one by one; None for a text."""
    unknown: int
    """Scored units that are unknown to the model, as `<unk>`."""
    units_are_characters: bool
    """Whether a scored unit is a character of the files."""
    warnings: tuple[str, ...]
    """Warnings from reading the text."""
    dynamic: Dynamic | None = None
    """The score of dynamic evaluation, if it was asked for; `score` is static."""

    @property
    def asked(self) -> Score:
        """The score that was asked for: of dynamic evaluation, or the static one."""
        return self.score if self.dynamic is None else self.dynamic.score

    def __repr__(self) -> str:
        """The figures, and what was scored, in a line."""
        what = "whole text" if self.split is None else f"{self.split} split"
        how = "" if self.dynamic is None else ", dynamic"
        return f"<Evaluation of the {what}{how}: {self.asked.account}>"

    def figures(self) -> dict[str, Any]:
        """The figures that were asked for, by the keys of `charlm eval perplexity --json`."""
        asked, learned = self.asked, self.dynamic
        bits = asked.nll / math.log(2)
        figures: dict[str, Any] = {
            "nats_per_char": asked.nats_per_char,
            "bits_per_char": asked.bits_per_char,
            "perplexity": asked.perplexity if math.isfinite(asked.perplexity) else None,
            "characters": asked.characters,
            "bits_per_byte": bits / max(1, self.raw.size),
        }
        if not self.units_are_characters:
            figures["bits_per_original_char"] = bits / max(1, self.raw.characters)
        figures |= {
            "original_characters": self.raw.characters,
            "bytes": self.raw.size,
            "unknown": self.unknown,
            "split": self.split,
            "window": self.window,
            "dynamic": learned is not None,
        }
        if learned is not None:
            figures |= {
                "static_nats_per_char": self.score.nats_per_char,
                "dynamic_rate": learned.constants.rate,
                "dynamic_pull_back": learned.constants.pull_back,
                "seconds": learned.seconds,
            }
        return figures

    @property
    def bits_per_byte(self) -> float:
        """Bits of the static score for each byte of the files, in UTF-8."""
        return self.score.nll / math.log(2) / max(1, self.raw.size)

    @property
    def bits_per_original_char(self) -> float:
        """Bits of the static score for each character of the files."""
        return self.score.nll / math.log(2) / max(1, self.raw.characters)


def evaluate(
    checkpoint: Checkpoint,
    another: CorpusConfig | None = None,
    split: str | None = None,
    window: int | None = None,
    progress: Progress = nothing,
    dynamically: bool = False,
    team: Team = ALONE,
) -> Evaluation:
    """Score the text that the model was trained on, which must not have changed, or another one.

    Parameters
    ----------
    another
        Another text, of which the whole is scored unless `split` names a part. Without it the test
        split of the model's own text is scored, or else its validation or its training split.
    window
        Score windows of this many characters, each from a zero state.
    dynamically
        Score with dynamic evaluation too. It needs the text that the model was trained on.
    team
        Those that score together, each called with the same arguments. The first reads the texts,
        and does dynamic evaluation, which cannot be divided.

    Raises
    ------
    CorpusError
        If a text cannot be read, has changed, or holds nothing to predict.
    ConfigError
        If windows are asked for with a model of lines, or with dynamic evaluation.
    VocabularyError
        If the text holds what the model does not know, and it has no `<unk>`.
    """
    if window is not None and checkpoint.config.corpus.mode == "lines":
        raise ConfigError("`window` is for texts: a model of lines begins each line from a zero state")
    if window is not None and dynamically:
        raise ConfigError("`dynamic` carries the state through: it cannot be combined with `window`")
    sources: Sequence[Source] = ()
    learned_from: Corpus | None = None

    def prepare() -> tuple[Corpus, str | None]:
        nonlocal sources, learned_from
        read = read_text(checkpoint, another, split, ("test", "validation", "train"), progress)
        learned_from = _learned_from(checkpoint, read.corpus, progress) if dynamically else None
        sources = read.sources
        return read.corpus, read.split

    corpus, part = team.first(prepare)
    text = corpus.part(part)
    shown = progress if team.is_first else nothing
    shown("total", text.targets)
    result = score(
        checkpoint.network,
        checkpoint.parameters,
        text,
        window,
        team.of(parts=checkpoint.config.train.shards),
        lambda characters: shown("scoring", characters),
    )

    def completed() -> Evaluation:
        learned, warnings, vocabulary = None, corpus.warnings, corpus.vocabulary
        if learned_from is not None:
            # splits of the text that the model was trained on in which no constants are chosen
            scored = SPLITS if part is None else (part,)
            choice = _choice(learned_from, scored if corpus.digest == learned_from.digest else ())
            learned = _dynamic(checkpoint, learned_from.part("train"), choice, text, team, progress)
            if learned.chosen_on is None:
                why = "no text is left to choose on" if choice is None else "no others have a finite loss"
                warnings += (f"the constants of dynamic evaluation are the defaults: {why}",)
        unknown = 0
        if vocabulary.has_unknown:
            unknown = sum(int((block == vocabulary.unknown).sum()) for block in text.target_blocks())
        config = another or checkpoint.config.corpus
        raw = scored_raw_size(corpus, sources, build_pipeline(config), part)
        return Evaluation(
            score=result,
            raw=raw,
            split=part,
            paths=config.paths_of(part),
            window=window,
            lines=text.lines,
            unknown=unknown,
            units_are_characters=not vocabulary.units.is_byte and raw.characters == result.characters,
            warnings=warnings,
            dynamic=learned,
        )

    return team.first(completed)


def _learned_from(checkpoint: Checkpoint, scored: Corpus | None, progress: Progress) -> Corpus:
    """The text that the model was trained on, which may be the one that is scored."""
    if len({member.corpus["digest"] for member in checkpoint.members}) > 1:
        raise CorpusError("`dynamic` needs the text that the model was trained on, and these have several")
    if scored is not None and scored.digest == checkpoint.corpus["digest"]:
        return scored
    try:
        corpus, _ = build_corpus(
            checkpoint.config.corpus, checkpoint.vocabulary, checkpoint.corpus["digest"], progress
        )
    except CorpusError as error:
        raise CorpusError(f"`dynamic` needs the text that the model was trained on: {error}") from error
    return corpus


def adaptation(checkpoint: Checkpoint, own: bool, team: Team = ALONE) -> tuple[Array, dynamic.Constants]:
    """What dynamic evaluation of another text, or of the model's own, needs: gradients and constants.

    They are those that `evaluate` uses for the whole of that text. Raises `CorpusError` if the text that
    the model was trained on cannot be read.
    """
    learned_from = _learned_from(checkpoint, None, nothing)
    choice = _choice(learned_from, SPLITS if own else ())
    rms, constants = _adapted(checkpoint, learned_from.part("train"), choice, team)
    return rms, constants or dynamic.DEFAULT


def _adapted(
    checkpoint: Checkpoint, train: Text, choice: tuple[str, Text] | None, team: Team
) -> tuple[Array, dynamic.Constants | None]:
    """The gradients of the training text, and the constants that are chosen; None if none are."""
    model, params = checkpoint.network, checkpoint.parameters
    rms = dynamic.rms_gradients(model, params, train, team)
    return rms, None if choice is None else dynamic.choose(model, params, rms, choice[1], team)


def _choice(learned_from: Corpus, scored: Sequence[str]) -> tuple[str, Text] | None:
    """A name and the text on which the constants are chosen: of no split that is scored."""
    if learned_from.usable("validation"):
        if "validation" not in scored:
            return "validation", learned_from.part("validation").excerpt(dynamic.TRIED)
        if "train" not in scored:
            return "the end of the training text", learned_from.part("train").excerpt(
                dynamic.TRIED, last=True
            )
    return None


def _dynamic(
    checkpoint: Checkpoint,
    train: Text,
    choice: tuple[str, Text] | None,
    text: Text,
    team: Team,
    progress: Progress,
) -> Dynamic:
    """Measure the gradients of the training text, choose the constants, and score `text`."""
    begun = time.perf_counter()
    rms, chosen = _adapted(checkpoint, train, choice, team)
    constants, chosen_on = chosen or dynamic.DEFAULT, choice[0] if choice and chosen else None
    progress("total", text.targets)
    losses = dynamic.dynamic_losses(
        checkpoint.network,
        checkpoint.parameters,
        rms,
        text,
        constants,
        lambda units: progress("dynamic evaluation", units),
    )
    result = Score(float(losses.sum()), text.targets)
    return Dynamic(result, constants, chosen_on, time.perf_counter() - begun)
