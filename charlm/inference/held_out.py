"""The text on which a network is looked at: one that it is not trained on, where there is one."""

from __future__ import annotations

from dataclasses import dataclass

from charlm.config.build import build_corpus, build_own_corpus
from charlm.config.keys import CorpusConfig
from charlm.data.corpus import Corpus, Progress, nothing
from charlm.data.texts import Text
from charlm.data.vocabulary import Vocabulary
from charlm.runs.checkpoint import Checkpoint


@dataclass(frozen=True)
class HeldOut:
    """A text, and where it comes from."""

    text: Text
    vocabulary: Vocabulary
    split: str | None
    """The part of the files that it is; None for the whole."""
    warnings: tuple[str, ...]
    """What the user should know of how the text was read."""


def of_config(config: CorpusConfig, progress: Progress = nothing) -> HeldOut:
    """The validation split of the text of a configuration, else its test split, else its training split.

    Raises `CorpusError` if the text cannot be read, or is too short.
    """
    return _held_out(build_corpus(config, progress=progress)[0])


def of_checkpoint(
    checkpoint: Checkpoint,
    another: CorpusConfig | None = None,
    progress: Progress = nothing,
    argument: str = "corpus",
) -> HeldOut:
    """The same of the text that a model was trained on, or the whole of another one.

    Messages name the `argument` that names another one.

    Raises `CorpusError` if the text cannot be read or, being its own, has changed; and
    `VocabularyError` if another one holds what the model does not know.
    """
    vocabulary = checkpoint.vocabulary
    if another is not None:
        corpus, _ = build_corpus(another, vocabulary, progress=progress)
        return HeldOut(corpus.whole, vocabulary, None, corpus.warnings)
    digest = checkpoint.corpus["digest"]
    return _held_out(build_own_corpus(checkpoint.config.corpus, vocabulary, digest, progress, argument)[0])


def _held_out(corpus: Corpus) -> HeldOut:
    usable = (name for name in ("validation", "test", "train") if corpus.usable(name))
    split = next(usable, None)
    text = corpus.whole if split is None else corpus.part(split)
    return HeldOut(text, corpus.vocabulary, split, corpus.warnings)
