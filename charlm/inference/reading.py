"""The text on which a model is scored or looked at: its own, a split of it, or another one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from charlm.config.build import Files, build_corpus
from charlm.config.keys import CorpusConfig
from charlm.data.corpus import Corpus, Progress, nothing
from charlm.data.sources import Source
from charlm.data.texts import Text
from charlm.runs.checkpoint import Checkpoint
from charlm.system.errors import ChangedError, CorpusError
from charlm.system.files import STANDARD_INPUT

HELD_OUT = ("validation", "test", "train")
"""The splits of a model's own text, those that it is not trained on first."""


@dataclass(frozen=True)
class ReadText:
    """A text that has been read, and the part of it that is meant."""

    corpus: Corpus
    split: str | None
    """The name of the part; None for the whole text."""
    paths: tuple[str, ...]
    """The paths of the part."""
    sources: Sequence[Source] = ()
    """The files of the part."""

    @property
    def text(self) -> Text:
        """The part."""
        return self.corpus.part(self.split)


def read_text(
    checkpoint: Checkpoint,
    another: CorpusConfig | None = None,
    split: str | None = None,
    preferred: Sequence[str] = HELD_OUT,
    progress: Progress = nothing,
    argument: str = "corpus",
) -> ReadText:
    """The whole of `another` text or, of the model's own, the first usable split of `preferred`.

    A `split` that is named is taken, of either. Messages name the `argument` that names another text.

    Raises `CorpusError` if the text cannot be read, its split has nothing to predict, or the model's own
    text has changed. Raises `VocabularyError` if another text holds units that the model does not know.
    """
    if another is None:
        corpus, files = _read_own(checkpoint, progress, argument)
        split = split or _first_usable(corpus, preferred)
    else:
        corpus, files = build_corpus(another, checkpoint.vocabulary, progress=progress)
    config = another or checkpoint.config.corpus
    if split is not None and not corpus.usable(split):
        raise CorpusError(
            f"the {split} split of {', '.join(config.paths)} has nothing to predict: "
            "it takes a line, or two characters"
        )
    return ReadText(corpus, split, config.paths_of(split), files.of(split))


def held_out(corpus: Corpus, config: CorpusConfig) -> ReadText:
    """The first usable split of `HELD_OUT` of a text that was read as `config` says."""
    split = _first_usable(corpus, HELD_OUT)
    return ReadText(corpus, split, config.paths_of(split))


def _first_usable(corpus: Corpus, splits: Sequence[str]) -> str | None:
    return next((name for name in splits if corpus.usable(name)), None)


def _read_own(checkpoint: Checkpoint, progress: Progress, argument: str) -> tuple[Corpus, Files]:
    """The text that a model was trained on, unchanged, and its files."""
    config = checkpoint.config.corpus
    if not config.paths:
        raise CorpusError(
            f"the model came without the text that it was trained on: name one with `{argument}=FILE`"
        )
    try:
        return build_corpus(config, checkpoint.vocabulary, checkpoint.corpus["digest"], progress)
    except ChangedError as error:
        way_out = f"to use it as it is now, name it with `{argument}`, and to learn it, train with `init=RUN`"
        if STANDARD_INPUT in config.paths:
            way_out = "the model needs that text as its standard input, < TEXT"
        raise ChangedError(f"{error}; {way_out}") from error
    except CorpusError as error:
        raise CorpusError(
            f"the model's own text: {error}; `{argument}` names another one, or this one where it is now"
        ) from error
