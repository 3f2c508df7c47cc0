"""Generating text: one unit at a time, and from text to text.

`TextSampler` alone knows what a unit, a line and `<unk>` mean when text is generated. The preview
during training, the command and the Python interface all write through it.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from pathlib import Path
from typing import Self

import numpy as np

from charlm.arrays import Array, Ids
from charlm.config.build import build_pipeline
from charlm.config.keys import CorpusConfig
from charlm.data.sources import Source
from charlm.data.units import LINE_BREAK, Writer
from charlm.data.vocabulary import Vocabulary
from charlm.nn.ensemble import Network
from charlm.nn.parameters import Parameters
from charlm.nn.workspace import Workspace
from charlm.system.errors import ConfigError

_PRIME_STEPS = 100
"""Steps of one forward pass over a prime."""

_COLDEST = 1e-260
"""Temperature below which only the likeliest is left, and a difference of float32 logits would overflow."""


@dataclass(frozen=True)
class Sampling:
    """How the next unit is chosen from the logits."""

    temperature: float = 1.0
    """Logits are divided by it: below 1 is safer, above 1 wilder."""
    top_k: int = 0
    """Only the k likeliest units are drawn; 0 keeps all."""
    top_p: float = 1.0
    """Only the fewest units whose probabilities sum to p are drawn, after `temperature` and `top_k`;
    1 keeps all (Holtzman et al. 2020)."""
    greedy: bool = False
    """The likeliest unit every time; the others do not matter then."""

    def __post_init__(self) -> None:
        """Raise `ConfigError` for a number that is out of its range."""
        if not 0 < self.temperature < math.inf:
            instead = "" if self.temperature else ": `greedy=True` takes the likeliest every time"
            raise ConfigError(f"temperature: {self.temperature} is not a finite number above 0{instead}")
        if self.top_k < 0:
            raise ConfigError(f"top_k: {self.top_k} is below 0")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p: {self.top_p} is not above 0 and at most 1")

    def weights(self, logits: Array) -> Array:
        """What `logits [V]` are drawn in proportion to, in float64; the likeliest has 1."""
        p = logits.astype(np.float64)
        np.subtract(p, p.max(), p)
        np.divide(p, max(self.temperature, _COLDEST), p)
        np.exp(p, p)
        if 0 < self.top_k < p.size or self.top_p < 1:
            order = np.argsort(-p, kind="stable")  # likeliest first, ties by id
            kept = self.top_k or p.size
            if self.top_p < 1:
                reached = np.cumsum(p[order[:kept]])
                # the first place at which the sum is reached is the last one kept
                kept = int(np.searchsorted(reached, self.top_p * reached[-1])) + 1
            p[order[kept:]] = 0.0
        return p

    def draw(self, logits: Array, rng: np.random.Generator) -> int:
        """The next unit's id, from `logits [V]`."""
        if self.greedy:
            return int(logits.argmax())
        p = self.weights(logits)
        cumulative = p.cumsum()
        place = int(cumulative.searchsorted(rng.random() * cumulative[-1], side="right"))
        # a product that rounds up to the whole sum is beyond the last unit that can be drawn
        return place if place < p.size else int(np.flatnonzero(p)[-1])


def generate(
    model: Network,
    parameters: Parameters,
    prime: Ids,
    choice: Sampling,
    rng: np.random.Generator,
    unknown: int | None = None,
    not_first: int | None = None,
) -> Iterator[int]:
    """Yield ids without end, each drawn from what the model expects after `prime` and all before it.

    `prime [N]` is not yielded; if it is empty, all units are as likely: the first id is drawn evenly
    from the vocabulary, and a greedy choice takes the first of equals, 0.
    `unknown` is the id of `<unk>`, the last of the vocabulary, which is never drawn, and
    `not_first` one that is not drawn first.
    """
    state = model.zero_state(1, parameters.flat.dtype)
    if not len(prime):
        first = rng.integers(model.vocab if unknown is None else unknown)
        prime = np.array([0 if choice.greedy else first])
        yield int(prime[0])
    before, drawn, workspace = prime[:-1, None], int(prime[-1]), Workspace()
    for start in range(0, len(before), _PRIME_STEPS):
        state = model.forward(parameters, before[start : start + _PRIME_STEPS], state, workspace).state
    step = model.decoder(parameters, state)
    never = [] if unknown is None else [unknown]
    barred = never if not_first is None else [*never, not_first]
    while True:
        logits = step(drawn)
        logits[barred] = -np.inf
        barred = never
        drawn = choice.draw(logits, rng)
        yield drawn


def generate_until(
    ids: Iterator[int],
    length: int,
    stop: Sequence[int] | Ids = (),
    lines: int = 0,
    line_break: int | None = None,
) -> Iterator[int]:
    """The first `length` of `ids`, ending sooner once they end in `stop`, or hold `lines` line breaks.

    If `stop` is empty, or `lines` 0, it ends nothing.
    """
    recent: deque[int] = deque(maxlen=len(stop))
    wanted = deque(int(drawn) for drawn in stop)
    for drawn in islice(ids, length):
        yield drawn
        recent.append(drawn)
        lines -= drawn == line_break
        if (wanted and recent == wanted) or (lines == 0 and drawn == line_break):
            return


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

    model: Network
    params: Parameters
    vocabulary: Vocabulary
    writes_lines: bool
    """Whether it is a model of lines. It then writes one line, as after a line break."""

    @classmethod
    def of(cls, config: CorpusConfig, model: Network, params: Parameters, vocabulary: Vocabulary) -> Self:
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
        writer, shown = Writer(units), ""
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
