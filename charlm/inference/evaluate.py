"""How well a checkpoint predicts its own text, a part of it, or another one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from charlm.config.build import build_corpus, build_pipeline
from charlm.config.schema import CorpusConfig
from charlm.data.corpus import Progress, nothing
from charlm.data.raw_size import RawSize, scored_raw_size
from charlm.errors import ChangedError, ConfigError, CorpusError
from charlm.inference.score import Score, score
from charlm.runs.checkpoint import Checkpoint


@dataclass(frozen=True)
class Evaluation:
    """A score, and the size of the original text that was scored."""

    score: Score
    raw: RawSize
    """Characters and bytes of UTF-8 of the files that were scored."""
    split: str | None
    """The part that was scored; None for the whole text."""
    window: int | None
    """Characters of a window that begins from a zero state; None if the state was carried."""
    lines: int | None
    """Lines that were scored one by one; None for a text."""
    unknown: int
    """Scored units that are unknown to the model, as `<unk>`."""
    units_are_characters: bool
    """Whether a scored unit is a character of the files."""
    warnings: tuple[str, ...]
    """What the user should know of how the text was read."""

    @property
    def bits_per_byte(self) -> float:
        """Bits for each byte of the files, in UTF-8."""
        return self.score.nll / math.log(2) / max(1, self.raw.size)

    @property
    def bits_per_original_char(self) -> float:
        """Bits for each character of the files."""
        return self.score.nll / math.log(2) / max(1, self.raw.characters)


def evaluate(
    checkpoint: Checkpoint,
    config: CorpusConfig,
    own: bool,
    split: str | None = None,
    window: int | None = None,
    threads: int = 1,
    progress: Progress = nothing,
) -> Evaluation:
    """Score the text that `config` describes.

    Parameters
    ----------
    own
        Whether it is the text that the model was trained on, which must not have changed. Its
        test split is scored if there is one, else its validation split, else its training split,
        unless `split` names a part. Of another text the whole is scored.
    window
        Score windows of this many characters, each from a zero state.

    Raises
    ------
    CorpusError
        If the text cannot be read, has changed, or holds nothing to predict.
    ConfigError
        If windows are asked for with a model of lines.
    VocabularyError
        If the text holds what the model does not know, and it has no `<unk>`.
    """
    if window is not None and checkpoint.config.corpus.mode == "lines":
        raise ConfigError("--window is for texts: a model of lines begins each line from a zero state")
    vocabulary = checkpoint.vocabulary
    try:
        expected = checkpoint.corpus["digest"] if own else None
        corpus, files = build_corpus(config, vocabulary, expected, progress)
    except ChangedError as error:
        raise CorpusError(f"{error}; to score it as it is now, name it with --corpus") from error
    if split is None and own:
        split = next((name for name in ("test", "validation") if corpus.usable(name)), "train")
    if split is not None and not corpus.usable(split):
        raise CorpusError(
            f"the {split} split of {', '.join(config.paths)} has nothing to predict: "
            "it takes a line, or two characters"
        )
    text = corpus.whole if split is None else corpus.part(split)
    result = score(
        checkpoint.model, checkpoint.parameters, text, window, threads, checkpoint.config.train.shards
    )
    unknown = 0
    if vocabulary.has_unknown:
        unknown = sum(int(np.count_nonzero(block == vocabulary.unknown)) for block in text.target_blocks())
    raw = scored_raw_size(corpus, files[split or "train"], build_pipeline(config), split)
    return Evaluation(
        score=result,
        raw=raw,
        split=split,
        window=window,
        lines=text.lines,
        unknown=unknown,
        units_are_characters=not vocabulary.units.is_byte and raw.characters == result.characters,
        warnings=corpus.warnings,
    )
