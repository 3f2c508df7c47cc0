"""The configuration: one table of keys, and the values that they have in a run.

Every key is declared once, in a dataclass below, with its default, its meaning and its limits. The
reader, the checks, the help text and the written file all use that declaration.
"""

import dataclasses
import datetime
import difflib
import json
import math
import os
import textwrap
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Self, TypeVar

import yaml

from charlm.nn.cells import CELL_NAMES

Value = TypeVar("Value")


@dataclass(frozen=True)
class Key:
    """A configuration key: its default, whose type all values have, its meaning, and its valid values.

    With `paths` a value may also be a list of texts, and with `optional` an empty one. A run that is
    resumed cannot change a key that is `fixed`.
    """

    default: Any
    doc: str
    choices: Collection[str] = ()
    at_least: float = -math.inf
    above: float = -math.inf
    at_most: float = math.inf
    below: float = math.inf
    paths: bool = False
    optional: bool = False
    fixed: bool = False

    @property
    def is_text(self) -> bool:
        """Whether a value is a text."""
        return isinstance(self.default, str)

    @property
    def options(self) -> str:
        """The choices in brackets; empty if there are none."""
        return f" ({' | '.join(self.choices)})" if self.choices else ""

    def valid(self, value: Any) -> Any:
        """Return `value` in the type of the key; raises `ValueError` that says what is wrong with it."""
        value = self._converted(value)
        if self.choices and value not in self.choices:
            raise ValueError(
                f"{value!r} is not one of {', '.join(self.choices)}{nearest(value, self.choices)}"
            )
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, (str, bool)):
                continue
            if not math.isfinite(number):
                raise ValueError(f"{number} is not a finite number")
            if number < self.at_least:
                raise ValueError(f"{number} is below {self.at_least:g}, the smallest valid value")
            if number <= self.above:
                raise ValueError(f"{number} is not above {self.above:g}")
            if number > self.at_most:
                raise ValueError(f"{number} is above {self.at_most:,.9g}, the largest valid value")
            if number >= self.below:
                raise ValueError(f"{number} is not below {self.below:g}")
        return value

    def _converted(self, value: Any) -> Any:
        """`value` in the type of the default, without loss."""
        if self.optional and (value is None or value in ([], ())):
            return ""
        if self.paths and isinstance(value, (list, tuple)):
            if not value or "" in value:
                raise ValueError(f"expected a path, or a list of paths, got {spoken(value)}")
            return tuple(map(_text, value))
        if isinstance(self.default, tuple):
            if not isinstance(value, (list, tuple)) or len(value) != len(self.default):
                raise ValueError(
                    f"expected a list of {len(self.default)} numbers, such as {plain(self.default)}; "
                    f"got {spoken(value)}"
                )
            return tuple(float(_number(item)) for item in value)
        if isinstance(self.default, bool):
            if not isinstance(value, bool):
                raise ValueError(f"expected true or false, got {spoken(value)}")
            return value
        if isinstance(self.default, int):
            number = _number(value, "a whole number")
            if not math.isfinite(number) or number != int(number):
                raise ValueError(f"expected a whole number, got {spoken(value)}")
            return int(number)
        return _text(value) if self.is_text else float(_number(value))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        hint = " ('' is an empty text)" if value is None else ""
        raise ValueError(f"expected a text, got {spoken(value)}{hint}")
    if "\0" in value:
        raise ValueError("a text must not contain a NUL character")
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        raise ValueError("a text must not contain a lone surrogate") from None
    return value


def _number(value: Any, expected: str = "a number") -> int | float:
    number = value
    if isinstance(value, str):  # YAML 1.1 reads 1e-3, without a point, as a string
        try:
            number = float(value)
        except ValueError:
            number = None
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise ValueError(f"expected {expected}, got {spoken(value)}")
    if isinstance(number, int) and abs(number) > 10**300:  # all others fit a float
        raise ValueError("the number is too large")
    return number


def plain(value: Any) -> str:
    """A value in YAML syntax."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(plain, value))}]"
    if isinstance(value, bool) or (isinstance(value, str) and not value.isprintable()):
        return json.dumps(value)
    return str(value)


def spoken(value: Any) -> str:
    """A value for an error message: as YAML would write it, with quotes around a text."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime.date):
        return f"the date {value}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(spoken, value))}]"
    return repr(value) if isinstance(value, str) else str(value)


def nearest(word: str, known: Collection[str]) -> str:
    """A hint with the known word most similar to `word`; empty if none is similar."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""


def key(default: Value, doc: str, **limits: Any) -> Value:
    """Declare a configuration key: a dataclass field that carries its `Key`."""
    return dataclasses.field(default=default, metadata={"key": Key(default, doc, **limits)})


@dataclass(frozen=True)
class CorpusConfig:
    """The text, and how it is read."""

    path: str | tuple[str, ...] = key(
        "",
        "the text: a file, a directory, a pattern such as texts/*.txt, - for standard input, or a list of "
        "these; relative to the configuration file, given elsewhere to the current directory; a "
        "directory or pattern is read without runs, other files that charlm writes, and hidden files; files "
        "named .gz and .xz are unpacked",
        paths=True,
    )
    validation: str | tuple[str, ...] = key(
        "",
        "a separate text for validation, named like corpus.path, but not standard input; the "
        "vocabulary is that of corpus.path alone",
        paths=True,
    )
    test: str | tuple[str, ...] = key(
        "", "a separate text for the test split, named like corpus.validation", paths=True
    )
    mode: str = key(
        "stream",
        "one continuous text, or lines, each a separate example that begins from a zero state",
        choices=("stream", "lines"),
        fixed=True,
    )
    unit: str = key(
        "char",
        "the unit that is modelled: Unicode characters, or the bytes of any file",
        choices=("char", "byte"),
        fixed=True,
    )
    encoding: str = key("utf-8", "encoding of the files: any text encoding that Python knows", fixed=True)
    newlines: str = key(
        "keep",
        "keep line breaks, or convert every \\r\\n and \\r to \\n (mode: lines always converts)",
        choices=("keep", "lf"),
        fixed=True,
    )
    lowercase: bool = key(False, "lowercase the text and every prime, before normalisation", fixed=True)
    normalize: str = key(
        "none",
        "Unicode normalisation of the text and of every prime (nfd: Hangul syllables become jamo)",
        choices=("none", "nfc", "nfd", "nfkc", "nfkd"),
        fixed=True,
    )
    min_count: int = key(
        1,
        "units that occur less often are replaced by one unit, <unk>, which is never generated",
        at_least=1,
        fixed=True,
    )
    separator: str = key(
        "\n", "text inserted between two files; in mode: lines always a line break", fixed=True
    )
    split: tuple[float, float, float] = key(
        (0.9, 0.05, 0.05),
        "fractions for training, validation and test: contiguous in this order, or assigned line by line; "
        "the fraction of a split with a separate text goes to training",
        at_least=0,
        at_most=1,
        fixed=True,
    )

    @property
    def paths(self) -> tuple[str, ...]:
        """All paths of the text, as a tuple."""
        return _listed(self.path)

    @property
    def separate_paths(self) -> dict[str, tuple[str, ...]]:
        """The paths of the separate text of each split that has one, by the name of the split."""
        named = {"validation": self.validation, "test": self.test}
        return {name: _listed(paths) for name, paths in named.items() if paths}

    def paths_of(self, split: str | None) -> tuple[str, ...]:
        """The paths of a split; with None those of the text itself."""
        return self.separate_paths.get(split or "", self.paths)


def _listed(paths: str | tuple[str, ...]) -> tuple[str, ...]:
    """Paths as a tuple; an empty text is none."""
    return paths if isinstance(paths, tuple) else (paths,) if paths else ()


@dataclass(frozen=True)
class ModelConfig:
    """The network."""

    cell: str = key("lstm", "the recurrent cell", choices=CELL_NAMES, fixed=True)
    hidden: int = key(256, "hidden units of each layer", at_least=1, at_most=10_000_000, fixed=True)
    layers: int = key(2, "stacked recurrent layers", at_least=1, at_most=1000, fixed=True)
    dropout: float = key(
        0.0, "fraction of hidden units dropped between layers and before the output", at_least=0, below=1
    )
    dropout_mask: str = key(
        "window",
        "one dropout mask per window and stream (variational), or a new one per step",
        choices=("window", "step"),
    )
    weight_drop: float = key(
        0.0, "fraction of recurrent weights dropped, the same ones for a whole window", at_least=0, below=1
    )
    gru_reset: str = key(
        "after",
        "where the GRU's reset gate acts: after the recurrent product (PyTorch) or before it (Cho et al.)",
        choices=("after", "before"),
        fixed=True,
    )
    init: str = key(
        "orthogonal",
        "recurrent matrices at the start: orthogonal, or uniform within 1/sqrt(hidden)",
        choices=("orthogonal", "uniform"),
        fixed=True,
    )


@dataclass(frozen=True)
class TrainConfig:
    """How the network is trained."""

    batch: int = key(50, "parallel streams of text, or parallel lines", at_least=1, fixed=True)
    seq_len: int = key(
        50,
        "most steps between updates (truncated BPTT); state is carried over, in mode: lines within a line",
        at_least=1,
        fixed=True,
    )
    epochs: float = key(10.0, "passes over the training split", above=0, at_most=1e6)
    optimizer: str = key(
        "adam",
        "the update rule",
        choices=("sgd", "momentum", "adagrad", "rmsprop", "adam", "adamw"),
        fixed=True,
    )
    lr: float = key(0.002, "learning rate", above=0)
    output_lr: float = key(1.0, "learning rate of the output layer, times lr", above=0, at_most=1e6)
    momentum: float = key(0.9, "momentum: fraction of the last update kept", at_least=0, below=1)
    beta1: float = key(0.9, "adam, adamw: decay of the mean of gradients", at_least=0, below=1)
    beta2: float = key(0.999, "adam, adamw: decay of the mean of squares", at_least=0, below=1)
    rms_decay: float = key(0.95, "rmsprop: decay of the mean of squares", at_least=0, below=1)
    epsilon: float = key(1e-8, "adagrad, rmsprop, adam, adamw: added to the root", above=0)
    weight_decay: float = key(0.01, "adamw: decay of the parameters, times lr", at_least=0)
    schedule: str = key(
        "constant",
        "how the learning rate changes",
        choices=("constant", "linear", "cosine", "exponential", "step", "plateau"),
    )
    warmup: int = key(0, "updates over which the learning rate rises from zero; any schedule", at_least=0)
    lr_final: float = key(
        0.0, "linear, cosine: fraction of lr at the end of the last epoch", at_least=0, at_most=1
    )
    lr_decay: float = key(0.95, "exponential, step, plateau: factor of each reduction", above=0, at_most=1)
    lr_decay_after: int = key(10, "exponential: whole epochs before the first reduction", at_least=0)
    lr_decay_every: int = key(5, "step: whole epochs between reductions", at_least=1)
    lr_patience: int = key(
        2, "plateau: consecutive validations without improvement to tolerate before a reduction", at_least=0
    )
    clip_norm: float = key(5.0, "largest global norm of the gradient; 0 switches it off", at_least=0)
    clip_value: float = key(
        0.0, "largest gradient of a single parameter; 0 switches it off", at_least=0, at_most=1e30
    )
    on_nonfinite: str = key(
        "stop",
        "if a loss or gradient is not finite: end the run, or skip the update (ten in a row end the run)",
        choices=("stop", "skip"),
    )
    patience: int = key(
        0,
        "consecutive validations without improvement before the network stops; 0: it does not stop",
        at_least=0,
    )
    average: float = key(
        0.0,
        "decay of the running mean of the parameters, which is validated, kept as best and sampled; 0: none",
        at_least=0,
        below=1,
    )
    reset_state: float = key(
        0.0,
        "chance, for each stream and window, that it begins from a zero state instead of the carried one",
        at_least=0,
        at_most=1,
    )
    shards: int = key(
        0,
        "parts of the batch whose gradients are summed in a fixed order; 0: one for each worker",
        at_least=0,
        at_most=10_000,
        fixed=True,
    )
    generations: int = key(
        1,
        "networks that are trained one after the other, each for all epochs; the best is kept",
        at_least=1,
        at_most=100,
    )
    chain: bool = key(
        True,
        "each network is taught by those before it (Furlanello et al. 2018); false: all are taught by "
        "train.teacher alone, and differ more, which helps train.join",
        fixed=True,
    )
    teacher: str | tuple[str, ...] = key(
        "",
        "models of the same vocabulary whose probabilities are learned too: a run, a checkpoint, `counts` "
        "for the counts of the text itself, or a list of these; models are copied into the run. In a chain, "
        "counts teach the first network only",
        paths=True,
        optional=True,
        fixed=True,
    )
    teacher_share: float = key(
        0.5,
        "the share of the loss that is the teachers', whichever they are (Hinton et al. 2015)",
        at_least=0,
        at_most=1,
    )
    taught_share: float = key(
        0.0,
        "train.teacher_share of the networks after the first in a chain, which no counts teach; 0: the same",
        at_least=0,
        at_most=1,
    )
    taught_drop: float = key(
        0.3,
        "factor of model.dropout and model.weight_drop for the networks after the first in a chain: their "
        "teachers keep them from learning the text by heart",
        at_least=0,
        at_most=1,
    )
    join: bool = key(
        False,
        "at the end, join the networks (train.generations), as their last updates leave them, to one that is "
        "as wide as all together. Its logits are the mean of theirs, times a factor from 0.6 to 1.4 for "
        "which the validation loss is low. Of one network, only the logits are multiplied",
    )
    seed: int = key(
        1, "seed of the initial parameters, of dropout, and of the order of lines", at_least=0, fixed=True
    )

    @property
    def teachers(self) -> tuple[str, ...]:
        """All teachers, as a tuple."""
        return _listed(self.teacher)


@dataclass(frozen=True)
class RunConfig:
    """The directory of a run and its reports."""

    dir: str = key("", "directory of the run, relative to the current one; default: runs/NAME")
    eval_every: float = key(1.0, "epochs between validations, each with a checkpoint", above=0)
    eval_length: int = key(
        0,
        "characters that each validation scores, from the beginning of the split; 0: all, or as many "
        "as there is time for if minutes are given",
        at_least=0,
        fixed=True,
    )
    sample_every: float = key(1.0, "epochs between sample previews; 0 switches them off", at_least=0)
    sample_length: int = key(200, "characters of a sample preview", at_least=1, at_most=1_000_000)
    threads: int = key(
        0,
        "threads of the arithmetic; 0: as the environment says, else all CPUs, or one for each MPI rank",
        at_least=0,
        at_most=1024,
    )
    kernel: str = key(
        "fused",
        "code of the recurrence: fused is fast, textbook is plain and slow; the mathematics is the same",
        choices=("fused", "textbook"),
    )
    log_every: int = key(100, "updates between lines of metrics.jsonl; 0: only validations", at_least=0)
    tensorboard: bool = key(
        False, "write the log and the previews for TensorBoard too, into the run's directory (tensorboardX)"
    )


@dataclass(frozen=True)
class Config:
    """A whole configuration; its sections and keys are the same as in the YAML file."""

    corpus: CorpusConfig = dataclasses.field(default_factory=CorpusConfig)
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    run: RunConfig = dataclasses.field(default_factory=RunConfig)
    given: frozenset[str] = dataclasses.field(default=frozenset(), compare=False, repr=False)
    """Dotted keys that a person set, to any value; the others have their defaults, or were chosen."""

    def flat(self) -> dict[str, Any]:
        """Every value by its dotted key, in order."""
        return {dotted: attrgetter(dotted)(self) for dotted in KEYS}

    def nested(self) -> dict[str, dict[str, Any]]:
        """Sections of plain values, as in YAML and JSON."""
        nested: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
        for dotted, value in self.flat().items():
            section, name = dotted.split(".")
            nested[section][name] = list(value) if isinstance(value, tuple) else value
        return nested

    def to_commented_yaml(self) -> str:
        """The configuration as a YAML file to be read and edited: every key below its meaning."""
        values = self.flat()

        def lines(dotted: str) -> list[str]:
            comment = KEYS[dotted].doc + KEYS[dotted].options
            return [*_wrapped(comment, 96, "# ", "# "), f"{dotted.split('.')[1]}: {_yaml(values[dotted])}"]

        return _by_section(lines) + "\n"

    def replace(self, values: Mapping[str, Any]) -> Self:
        """Return a copy with other values for some dotted keys, unchecked."""
        changed: dict[str, Any] = {}
        for dotted, value in values.items():
            section, name = dotted.split(".")
            before = changed.get(section, getattr(self, section))
            changed[section] = dataclasses.replace(before, **{name: value})
        return dataclasses.replace(self, **changed)

    def give(self, values: Mapping[str, Any]) -> Self:
        """Return a copy in which a person set these values, unchecked."""
        return dataclasses.replace(self.replace(values), given=self.given | values.keys())

    def choose(self, values: Mapping[str, Any]) -> Self:
        """Return a copy with these values, except for the keys that a person set."""
        return self.replace({dotted: value for dotted, value in values.items() if dotted not in self.given})


SECTIONS: dict[str, type[Any]] = {
    "corpus": CorpusConfig,
    "model": ModelConfig,
    "train": TrainConfig,
    "run": RunConfig,
}
"""The class of each section, in the order of the YAML file."""

KEYS: dict[str, Key] = {
    f"{section}.{field.name}": field.metadata["key"]
    for section, kind in SECTIONS.items()
    for field in dataclasses.fields(kind)
}
"""Every key of a configuration by its dotted name."""

PATH_KEYS = tuple(dotted for dotted, key in KEYS.items() if key.paths)
"""Keys that name files."""

COUNTS = "counts"
"""The teacher that is not a file: the counts of the text."""


def reference(width: int = 80) -> str:
    """Every key with its default, choices and meaning, one paragraph per section (for `--help`)."""

    def lines(dotted: str) -> list[str]:
        key = KEYS[dotted]
        return _wrapped(f"{dotted}={plain(key.default)}{key.options}: {key.doc}", width - 2, "", "    ")

    return _by_section(lines)


def _by_section(lines: Callable[[str], list[str]]) -> str:
    """The lines of every key, indented, each section below its name."""
    blocks = {section: [f"{section}:"] for section in SECTIONS}
    for dotted in KEYS:
        blocks[dotted.split(".")[0]] += [f"  {line}" for line in lines(dotted)]
    return "\n\n".join("\n".join(block) for block in blocks.values())


def _wrapped(text: str, width: int, first: str, next: str) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=next,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _yaml(value: Any) -> str:
    """A value as YAML on one line. What PyYAML could not read back is escaped."""
    texts = [text for text in (value if isinstance(value, tuple) else (value,)) if isinstance(text, str)]
    written: str = yaml.safe_dump(
        list(value) if isinstance(value, tuple) else value,
        default_style=None if all(map(str.isprintable, texts)) else '"',
        default_flow_style=True,
        allow_unicode=True,
        width=math.inf,
    )
    return written.removesuffix("...\n").strip()
