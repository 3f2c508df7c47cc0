"""From text to text: what a model writes after a prime.

The one module that knows what a unit, a line and `<unk>` mean when text is generated. The
preview during training, the command and the Python interface all write through it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np

from charlm.arrays import Ids
from charlm.config.build import build_pipeline
from charlm.config.keys import CorpusConfig
from charlm.data.sources import Source
from charlm.data.units import LINE_BREAK
from charlm.data.vocabulary import Vocabulary
from charlm.inference.generate import Sampling, generate, generate_until
from charlm.nn.model import Model
from charlm.nn.parameters import Parameters
from charlm.system.errors import ConfigError


def streams_of(seed: int | None, count: int) -> Iterator[np.random.Generator]:
    """A generator of random numbers for each of `count` samples; the same ones for the same seed.

    Raises `ConfigError` for a seed below 0.
    """
    if seed is not None and seed < 0:
        raise ConfigError(f"seed: {seed} is below 0")
    seeds = np.random.SeedSequence(seed)
    return (np.random.default_rng(seeds.spawn(1)[0]) for _ in range(count))


@dataclass(frozen=True)
class TextSampler:
    """A trained model as something that continues text."""

    model: Model
    params: Parameters
    vocabulary: Vocabulary
    writes_lines: bool
    """Whether it is a model of lines. It then writes one line, as after a line break."""

    @classmethod
    def of(
        cls, config: CorpusConfig, model: Model, params: Parameters, vocabulary: Vocabulary
    ) -> TextSampler:
        """For a model that was trained on a corpus read as `config` says."""
        return cls(model, params, vocabulary, config.mode == "lines")

    def codes(self, text: str) -> Ids:
        """The codes `[N]` of a prime, or of another text that does not come from a file."""
        return self.vocabulary.units.of_text(text)

    def codes_of_file(
        self, file: Path, config: CorpusConfig, announce: Callable[[str], object] = lambda what: None
    ) -> Ids:
        """The codes `[N]` of a prime in a file, read as the training text was.

        `announce` is called if a pipe must be waited for. Raises `CorpusError` if the file cannot
        be read or decoded.
        """
        source = Source(str(file), "prime", announce)
        pieces = [piece.codes for piece in build_pipeline(config).pieces([source])]
        codes = np.concatenate([*pieces, np.zeros(0, np.uint8)])
        return codes[:-1] if self.writes_lines and len(codes) and codes[-1] == LINE_BREAK else codes

    def unknown_in(self, codes: Ids) -> str:
        """The characters of a prime that the model reads as `<unk>`, for a warning; empty if none."""
        if not self.vocabulary.has_unknown:
            return ""
        return self.vocabulary.lacking(*np.unique(codes, return_counts=True))

    def context(self, prime: Ids) -> Ids:
        """The ids that the model reads before it writes: the prime, in lines after a line break.

        A text without a prime begins as after a line break, if the model knows line breaks.
        Raises `ConfigError` if a prime for a line holds a line break, and `VocabularyError` if it
        holds what the vocabulary lacks.
        """
        if self.writes_lines and LINE_BREAK in prime:
            raise ConfigError("a prime for a model of lines cannot hold a line break")
        begins = self.writes_lines or (not len(prime) and self.vocabulary.line_break is not None)
        before = np.concatenate([np.array([LINE_BREAK], np.uint32), prime]) if begins else prime
        return self.vocabulary.encode(before, "the prime")

    def draw(
        self,
        prime: Ids,
        length: int,
        sampling: Sampling,
        rng: np.random.Generator,
        stop: str = "",
        stop_after_lines: int = 0,
    ) -> Iterator[int]:
        """Draw up to `length` units after the codes `prime [N]`; yields their codes.

        Ends sooner once `stop`, or `stop_after_lines` line breaks, have been drawn. A line ends with its line
        break, which is the last code, and is not empty.

        Raises what `context` does, and `ConfigError` if it is asked to stop at what the model
        never writes.
        """
        vocabulary = self.vocabulary
        if stop_after_lines and vocabulary.line_break is None:
            raise ConfigError("`stop_after_lines`: the model knows no line breaks")
        context = self.context(prime)
        stop_ids = vocabulary.encode(self.codes(stop), "`stop`")
        if vocabulary.unknown in stop_ids:
            raise ConfigError("`stop` holds what the model never generates: characters unknown to it")
        not_first = vocabulary.line_break if self.writes_lines and not len(prime) else None
        ids = generate(self.model, self.params, context, sampling, rng, vocabulary.unknown, not_first)
        lines = 1 if self.writes_lines else stop_after_lines
        drawn = generate_until(ids, length, stop_ids, lines, vocabulary.line_break)
        return (int(vocabulary.codes[one]) for one in drawn)

    def written(self, codes: Iterable[int], prime: Ids | None = None) -> Iterator[str]:
        """The text that codes show, in whole characters, as soon as they are certain.

        Jamo are put together, bytes decoded; the line break that ends a line is left out. With
        `prime`, the text after it: a character that began in the prime is given if the codes
        change it.
        """
        units = self.vocabulary.units
        writer, shown = units.writer(), ""
        if prime is not None:
            before = "".join(writer.write(int(code)) for code in prime)
            shown = units.text(prime)[len(before) :]  # of a character that the codes may go on with
        for code in codes:
            if not (self.writes_lines and code == LINE_BREAK) and (text := writer.write(int(code))):
                yield text.removeprefix(shown)
                shown = ""
        yield writer.finish().removeprefix(shown)

    def preview(
        self,
        ids: Ids,
        length: int,
        rng: np.random.Generator,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> str:
        """A text by the model alone, with `length` drawn units; of a model of lines, several lines.

        It begins with the first unit of the training text, `ids [N]`, or with a line. It ends sooner
        once `should_stop`, asked before every unit, says so.
        """
        first = ids[: 0 if self.writes_lines else 1]
        prime = self.vocabulary.codes[first[first < len(self.vocabulary.codes)]]  # <unk> has no code
        texts = []
        while length > 0 and not should_stop():
            drawn = list(takewhile(lambda _: not should_stop(), self.draw(prime, length, Sampling(), rng)))
            texts.append("".join(self.written([*prime.tolist(), *drawn])))
            length -= len(drawn)
        return "\n".join(texts)
