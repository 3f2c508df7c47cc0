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
    paths: tuple[str, ...]
    """The files that it comes from."""
    warnings: tuple[str, ...]
    """What the user should know of how the text was read."""


def of_checkpoint(
    checkpoint: Checkpoint,
    another: CorpusConfig | None = None,
    progress: Progress = nothing,
    argument: str = "corpus",
) -> HeldOut:
    """The whole of `another` text, or of the model's own the split that `of_corpus` takes.

    Messages name the `argument` that names another text.

    Raises `CorpusError` if the text cannot be read or, being its own, has changed; and
    `VocabularyError` if another one holds what the model does not know.
    """
    config, vocabulary = checkpoint.config.corpus, checkpoint.vocabulary
    if another is not None:
        corpus, _ = build_corpus(another, vocabulary, progress=progress)
        return HeldOut(corpus.whole, vocabulary, None, another.paths, corpus.warnings)
    corpus, _ = build_own_corpus(config, vocabulary, checkpoint.corpus["digest"], progress, argument)
    return of_corpus(corpus, config)


def of_corpus(corpus: Corpus, config: CorpusConfig) -> HeldOut:
    """The validation split of the text of `config`, else its test split, else its training split."""
    split = next((name for name in ("validation", "test", "train") if corpus.usable(name)), None)
    text = corpus.whole if split is None else corpus.part(split)
    return HeldOut(text, corpus.vocabulary, split, config.paths_of(split), corpus.warnings)
