"""The objects that a configuration describes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import numpy.typing as npt

from charlm.arrays import Ids
from charlm.config.keys import CorpusConfig, ModelConfig
from charlm.data.cache import user_cache
from charlm.data.corpus import Corpus, nothing, read_corpus
from charlm.data.corpus import Progress as ReadingProgress
from charlm.data.reader import TextPipeline
from charlm.data.sources import Source, find
from charlm.data.texts import Text, text_of
from charlm.data.units import Units
from charlm.data.vocabulary import Vocabulary
from charlm.nn.cells import make_cell
from charlm.nn.model import Model
from charlm.nn.parameters import Parameters
from charlm.system.errors import CorpusError


@dataclass(frozen=True)
class Files:
    """The files of the configured texts, found once and read as often as needed: a pipe can be read once."""

    path: Sequence[Source]
    separate: Mapping[str, Sequence[Source]]
    """Files of each split that has a separate text, by the split's name."""
    remarks: Sequence[str]
    """Remarks for the user on how the files were found."""

    def of(self, split: str | None) -> Sequence[Source]:
        """The files that a split is in; None is the whole text without the separate ones."""
        return self.separate.get(split or "", self.path)


def find_files(config: CorpusConfig, progress: ReadingProgress = nothing) -> Files:
    """Find the configured texts.

    `progress` is called with 0 bytes if a pipe must be waited for. Raises `CorpusError` as
    `sources.find` does, and if no text is configured.
    """
    remarks: list[str] = []

    def sources(paths: Sequence[str]) -> list[Source]:
        return find(paths, lambda what: progress(what, 0), remarks.append)

    if not config.paths:
        raise CorpusError("corpus.path names no text")
    path = sources(config.paths)
    return Files(path, {name: sources(paths) for name, paths in config.separate_paths.items()}, remarks)


def build_corpus(
    config: CorpusConfig,
    vocabulary: Vocabulary | None = None,
    expected: str | None = None,
    progress: ReadingProgress = nothing,
    files: Files | None = None,
) -> tuple[Corpus, Files]:
    """Read the configured texts, through the user's cache. Also returns their files.

    For `vocabulary`, `expected`, `progress` and the errors raised, see `read_corpus`; without
    `files`, see `find_files` too. Before the first file is read, `progress` is also called with
    `total` and the bytes of all files. Warnings are in `Corpus.warnings`.
    """
    files = files or find_files(config, progress)
    sources, separate = files.path, files.separate
    progress("total", sum(source.stamp()[0] for source in chain(sources, *separate.values())))
    cache = user_cache()
    corpus = read_corpus(
        sources, build_pipeline(config), config.split, vocabulary, cache, progress, expected, separate
    )
    warnings = [*files.remarks]
    if cache is None:
        warnings.append("no home directory was found: the encoded text is not cached")
    return replace(corpus, warnings=(*warnings, *corpus.warnings)), files


def build_ids(config: CorpusConfig, vocabulary: Vocabulary, text: str) -> Ids:
    """The ids `[N]` of a text that does not come from a file; of lines with a line break before them.

    Raises `VocabularyError` if the vocabulary lacks a unit and has no `<unk>`.
    """
    return vocabulary.encode(build_pipeline(config).codes_of_text(text), "the text")


def build_text(config: CorpusConfig, vocabulary: Vocabulary, text: str) -> Text:
    """A text that does not come from a file, encoded with this vocabulary.

    Raises what `build_ids` does, and `CorpusError` if there is nothing to predict.
    """
    ids = build_ids(config, vocabulary, text)
    if len(ids) < 2:
        raise CorpusError("the text has nothing to predict: it needs a line, or two characters")
    return text_of(ids, config.mode == "lines")


def build_pipeline(config: CorpusConfig) -> TextPipeline:
    """The pipeline that turns the files of this corpus into codes."""
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
        weight_drop=config.weight_drop,
        kernel=kernel,
    )


def fresh_parameters(
    model: Model, config: ModelConfig, seed: int, dtype: npt.DTypeLike = np.float32, generation: int = 0
) -> Parameters:
    """The parameters that a network of a run with this `train.seed` begins with; the first is number 0."""
    # the noise of the run comes from child 1 of the same seed, the order of lines from child 2
    key = (0, generation) if generation else (0,)
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
    return model.initialise(rng, config.init, dtype)
