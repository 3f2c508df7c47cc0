"""Reading a corpus with everything around it: the cache, a bar while it takes, warnings."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from charlm.cli.show import place
from charlm.config.schema import Config, CorpusConfig, text_encoding
from charlm.errors import ConfigError
from charlm.system.files import STANDARD_INPUT, anchored

if TYPE_CHECKING:
    from charlm.data.corpus import Corpus
    from charlm.data.sources import Source
    from charlm.data.vocabulary import Vocabulary

corpus_option = click.option(
    "--corpus",
    metavar="FILE",
    help="This text instead of corpus.path: a file, a directory, a pattern, or - for standard input.",
)


def with_path(config: CorpusConfig, path: str) -> CorpusConfig:
    """The corpus of that path, relative to the current directory, read in the same way."""
    if not path:
        raise ConfigError("--corpus: the path is empty")
    return dataclasses.replace(config, path=anchored(path, Path.cwd()))


def with_encoding(config: CorpusConfig, encoding: str | None) -> CorpusConfig:
    """The corpus with files in that encoding, if one is named."""
    if encoding is None or config.unit == "byte":
        return config
    found = text_encoding(encoding)
    if found is None:
        raise ConfigError(f"--encoding: {encoding!r} is not a text encoding that Python knows")
    return dataclasses.replace(config, encoding=found)


def shown(paths: Sequence[str]) -> str:
    """Paths as one would type them, not too many of them."""
    names = [name if name == STANDARD_INPUT else place(name) for name in paths]
    return ", ".join(names) if len(names) <= 3 else f"{names[0]} and {len(names) - 1} more"


def open_corpus(
    config: CorpusConfig, vocabulary: Vocabulary | None = None, expected: str | None = None
) -> tuple[Corpus, Sequence[Source]]:
    """Find and read a corpus; warnings go to stderr, and so does a bar if it takes long.

    `vocabulary` and `expected`, a digest, are those of `read_corpus`.
    """
    from charlm.config.build import build_pipeline
    from charlm.data.cache import user_cache
    from charlm.data.corpus import read_corpus
    from charlm.data.sources import find

    sources = find(config.paths)
    cache = user_cache()
    if cache is None:
        click.echo("Warning: there is no home directory to keep the encoded text in", err=True)
    bar = _Bar(sum(source.stamp()[0] for source in sources))
    try:
        corpus = read_corpus(
            sources, build_pipeline(config), config.split, vocabulary, cache, bar.advance, expected
        )
    finally:
        bar.close()
    for warning in corpus.warnings:
        click.echo(f"Warning: {warning}", err=True)
    return corpus, sources


@dataclasses.dataclass(frozen=True)
class Text:
    """How much there is to train on, and in how many different units."""

    characters: int
    units: int


def training_text(config: Config) -> Text | None:
    """Of the configured text, if one is named."""
    from charlm.data.lines import target_count

    if not config.corpus.path:
        return None
    corpus, _ = open_corpus(config.corpus)
    return Text(target_count(corpus.part("train")), len(corpus.vocabulary))


class _Bar:
    """How far reading is, on a terminal and if it takes more than a moment."""

    def __init__(self, size: int) -> None:
        self.size, self.what = size, ""
        self.bar: Any = None

    def advance(self, what: str, size: int) -> None:
        from tqdm import tqdm

        if what != self.what:
            self.close()
            self.what = what
            tqdm.monitor_interval = 0  # no thread of its own: workers are forked later
            self.bar = tqdm(
                total=self.size, desc=what, unit="B", unit_scale=True, leave=False, delay=0.5, disable=None
            )
        self.bar.update(size)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None
