"""The configuration: frozen dataclasses, checked, overridden, written back.

Every key is declared once, in a dataclass below, with its default, its meaning and its limits. The
reader, the checks, the help text and the written file all use that declaration.
"""

from __future__ import annotations

import dataclasses
import math
import textwrap
import typing
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from charlm.config.values import converted as converted_to
from charlm.config.values import nearest, plain, spoken, text_encoding
from charlm.errors import ConfigError
from charlm.nn.cells import CELL_NAMES
from charlm.system.files import STANDARD_INPUT

Value = TypeVar("Value")


@dataclass(frozen=True)
class Key:
    """The meaning of a configuration key and its valid values.

    A run that is resumed cannot change a key that is `fixed`.
    """

    doc: str
    choices: Collection[str] = ()
    at_least: float = -math.inf
    above: float = -math.inf
    at_most: float = math.inf
    below: float = math.inf
    fixed: bool = False

    def complaint(self, value: Any) -> str | None:
        """An error message for an invalid `value`; None if it is valid."""
        if self.choices and value not in self.choices:
            return f"{value!r} is not one of {', '.join(self.choices)}" + nearest(
                str(value), list(self.choices)
            )
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, (int, float)) and not isinstance(number, bool):
                if not math.isfinite(number):
                    return f"{number} is not a finite number"
                if number < self.at_least:
                    return f"{number} is below {self.at_least:g}, the smallest valid value"
                if number <= self.above:
                    return f"{number} is not above {self.above:g}"
                if number > self.at_most:
                    return f"{number} is above {self.at_most:,.9g}, the largest valid value"
                if number >= self.below:
                    return f"{number} is not below {self.below:g}"
        return None


def key(default: Value, doc: str, **limits: Any) -> Value:
    """Declare a configuration key: a dataclass field that carries its `Key`."""
    declared: Value = dataclasses.field(default=default, metadata={"key": Key(doc, **limits)})
    return declared


@dataclass(frozen=True)
class CorpusConfig:
    """The text, and how it is read."""

    path: str | tuple[str, ...] = key(
        "",
        "the text: a file, a directory, a pattern such as texts/*.txt, - for standard input, or a list of "
        "these; relative to the configuration file, given elsewhere to the current directory; a "
        "directory or pattern is read without runs, other files that charlm writes, and hidden files; files "
        "named .gz and .xz are unpacked",
    )
    validation: str | tuple[str, ...] = key(
        "",
        "a separate text for validation, named like corpus.path, but not standard input; the "
        "vocabulary is that of corpus.path alone",
    )
    test: str | tuple[str, ...] = key("", "a separate text for the test split, named like corpus.validation")
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
        0, "consecutive validations without improvement before the run stops; 0: it does not stop", at_least=0
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
    seed: int = key(
        1, "seed of the initial parameters, of dropout, and of the order of lines", at_least=0, fixed=True
    )


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
    """A whole configuration; its sections and keys are those of the YAML file."""

    corpus: CorpusConfig = dataclasses.field(default_factory=CorpusConfig)
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    run: RunConfig = dataclasses.field(default_factory=RunConfig)
    given: frozenset[str] = dataclasses.field(default=frozenset(), compare=False, repr=False)
    """Dotted keys that a person set, to any value; the others have their defaults, or were chosen."""

    def flat(self) -> dict[str, Any]:
        """Every value by its dotted key, in order."""
        return {dotted: getattr(getattr(self, section), name) for dotted, section, name, _ in keys()}

    def nested(self) -> dict[str, dict[str, Any]]:
        """Sections of plain values, as in YAML and JSON."""
        nested: dict[str, dict[str, Any]] = {}
        for dotted, section, name, _ in keys():
            value = self.flat()[dotted]
            nested.setdefault(section, {})[name] = list(value) if isinstance(value, tuple) else value
        return nested

    def to_yaml(self) -> str:
        """The configuration as a YAML file, every key written out."""
        # PyYAML writes some Unicode line breaks unescaped and cannot read them back: escape them
        texts = [
            str(item)
            for value in self.flat().values()
            for item in (value if isinstance(value, tuple) else (value,))
        ]
        printable = all(text.replace("\n", "").isprintable() for text in texts)
        text: str = yaml.safe_dump(self.nested(), sort_keys=False, allow_unicode=printable)
        return text

    def to_commented_yaml(self) -> str:
        """The configuration as a YAML file to be edited: every key below its meaning."""
        lines: list[str] = []
        section = ""
        for dotted, own_section, name, known in keys():
            if own_section != section:
                section = own_section
                lines += ["", f"{section}:"] if lines else [f"{section}:"]
            value = self.flat()[dotted]
            value = list(value) if isinstance(value, tuple) else value
            choices = f" ({' | '.join(known.choices)})" if known.choices else ""
            lines += textwrap.wrap(
                known.doc + choices,
                98,
                initial_indent="  # ",
                subsequent_indent="  # ",
                break_on_hyphens=False,
            )
            style = '"' if isinstance(value, str) and not value.isprintable() else None
            written = yaml.safe_dump(
                value, default_style=style, default_flow_style=True, allow_unicode=True, width=10**6
            )
            lines.append(f"  {name}: {written.removesuffix('...' + chr(10)).strip()}")
        return "\n".join(lines) + "\n"

    def replace(self, values: Mapping[str, Any]) -> Config:
        """Return a copy with other values for some dotted keys, unchecked."""
        changed: dict[str, Any] = {}
        for dotted, value in values.items():
            section, name = dotted.split(".")
            before = changed.get(section, getattr(self, section))
            changed[section] = dataclasses.replace(before, **{name: value})
        return dataclasses.replace(self, **changed)

    def give(self, values: Mapping[str, Any]) -> Config:
        """Return a copy in which a person set these values, unchecked."""
        return dataclasses.replace(self.replace(values), given=self.given | values.keys())

    def choose(self, values: Mapping[str, Any]) -> Config:
        """Return a copy with those of these values whose keys no person set."""
        return self.replace({dotted: value for dotted, value in values.items() if dotted not in self.given})


PATH_KEYS = ("corpus.path", "corpus.validation", "corpus.test")
"""Keys that name texts."""


SECTIONS = {
    name: kind for name, kind in typing.get_type_hints(Config).items() if dataclasses.is_dataclass(kind)
}
"""The class of each section, in the order of the YAML file."""


def keys() -> Iterator[tuple[str, str, str, Key]]:
    """Every key of a configuration: dotted name, section, name within it, and its `Key`."""
    for section, section_type in SECTIONS.items():
        for field in dataclasses.fields(section_type):
            yield f"{section}.{field.name}", section, field.name, field.metadata["key"]


def resolve(
    values: Mapping[str, Any],
    name: str,
    where: str = "the configuration",
    places: Mapping[str, str] | None = None,
) -> Config:
    """Make a configuration from checked values, check their combination, and fill in `run.dir`.

    `places` says where single keys were set, for error messages; the others were set at `where`.
    """
    places = places or {}
    config = Config().give(values)
    total = math.fsum(config.corpus.split)
    split = f"{places.get('corpus.split', where)}: corpus.split"
    if not math.isclose(total, 1.0, abs_tol=1e-6):
        raise ConfigError(f"{split}: the fractions sum to {total:g}, not to 1")
    if config.corpus.split[0] == 0:
        raise ConfigError(f"{split}: the first fraction, for training, must be above 0")
    for part, paths in config.corpus.separate_paths.items():
        if STANDARD_INPUT in paths:
            raise ConfigError(
                f"{places.get(f'corpus.{part}', where)}: corpus.{part}: name a file: standard input, "
                f"{STANDARD_INPUT}, is only for corpus.path"
            )
    encoding = text_encoding(config.corpus.encoding)
    if encoding is None:
        raise ConfigError(
            f"{places.get('corpus.encoding', where)}: corpus.encoding: {config.corpus.encoding!r} is not a "
            "text encoding that Python knows"
            + nearest(config.corpus.encoding, ("utf-8", "utf-16", "latin-1", "cp1252", "cp949", "shift_jis"))
        )
    config = config.replace({"corpus.encoding": encoding})
    if config.corpus.unit == "byte":
        for of_text, without in (("normalize", "none"), ("lowercase", False), ("encoding", "utf-8")):
            if getattr(config.corpus, of_text) != without:
                place, byte = (places.get(f"corpus.{key}", where) for key in (of_text, "unit"))
                raise ConfigError(
                    f"{place}: corpus.{of_text}: not with unit: byte"
                    f"{f' ({byte})' if byte != place else ''}; remove it, or use unit: char"
                )
    if not config.run.dir:
        config = config.replace({"run.dir": str(Path("runs") / name)})
    return config


def from_nested(nested: Any, where: str) -> Config:
    """Rebuild a configuration from `Config.nested()`; raises `ConfigError` if it is not one."""
    if not isinstance(nested, dict):
        raise ConfigError(f"{where}: the configuration is not a mapping")
    values: dict[str, Any] = {}
    for section, content in nested.items():
        if not isinstance(content, dict):
            raise ConfigError(f"{where}: {section} is not a section of keys")
        for name, value in content.items():
            values[f"{section}.{name}"] = checked(f"{section}.{name}", value, where)
    return resolve(values, name="model", where=where)


def reference(width: int = 80) -> str:
    """Every key with its default, choices and meaning, one paragraph per section (for `--help`)."""
    lines: list[str] = []
    section = ""
    defaults = Config().flat()
    for dotted, own_section, _, known in keys():
        if own_section != section:
            lines += ["", f"{own_section}:"] if lines else [f"{own_section}:"]
            section = own_section
        choices = f" ({' | '.join(known.choices)})" if known.choices else ""
        entry = f"{dotted}={plain(defaults[dotted])}{choices}: {known.doc}"
        lines += textwrap.wrap(
            entry,
            width,
            initial_indent="  ",
            subsequent_indent="      ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    return "\n".join(lines)


def is_text(dotted: str) -> bool:
    """Whether key `dotted` holds a text; False for an unknown key."""
    return isinstance(Config().flat().get(dotted), str)


def checked(dotted: str, value: Any, where: str, written: str = "") -> Any:
    """Return `value` as the type of key `dotted`, within its limits; raises `ConfigError`.

    `written` is what a file says, if `value` is how YAML understands it.
    """
    known = {name: (section, field, spec) for name, section, field, spec in keys()}
    if dotted not in known:
        near = nearest(dotted, list(known))
        raise ConfigError(f"{where}: {dotted}: unknown key{near}")
    section, field, spec = known[dotted]
    hints = typing.get_type_hints(SECTIONS[section])
    try:
        if written and is_text(dotted) and not isinstance(value, str):
            raise ValueError(
                f"expected a text, but YAML reads {written} as {spoken(value)}: put it in quotes"
            )
        converted = converted_to(value, hints[field])
    except ValueError as error:
        raise ConfigError(f"{where}: {dotted}: {error}") from error
    complaint = spec.complaint(converted)
    if complaint:
        raise ConfigError(f"{where}: {dotted}: {complaint}")
    return converted
