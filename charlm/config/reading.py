"""Reading a configuration: files, mappings and single settings in, a checked `Config` out."""

import codecs
import dataclasses
import glob
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from charlm.config.keys import COUNTS, KEYS, PATH_KEYS, SECTIONS, Config, CorpusConfig, Key, nearest, spoken
from charlm.system.errors import ConfigError, shortened
from charlm.system.files import STANDARD_INPUT, anchored, expanded, is_descriptor, os_errors_as

Source = Path | Config | Mapping[str, Any] | None
"""A configuration file, a run directory, a configuration, sections of plain values; None: only defaults."""


def configuration(source: Source, given: Mapping[str, Any], giver: str) -> Config:
    """The configuration `source`; `given` holds checked values that replace those in it.

    Raises `ConfigError` as `load` and `from_mapping` do.
    """
    if isinstance(source, Path):
        return load(source, given, giver)
    return from_mapping(source.nested() if isinstance(source, Config) else source or {}, given, giver)


def load(path: Path, given: Mapping[str, Any] | None = None, giver: str = "`set`") -> Config:
    """Read the configuration file `path`; `given` holds checked values that replace those in it.

    If `path` is a run directory, its `config.yaml` is read. For a `config.yaml` beside the
    checkpoints of a run, `run.dir` is that directory, even if the run was moved. A relative path of
    a text is relative to the directory of the file, or in `given` to the current one, and becomes
    absolute. An empty `run.dir` becomes `runs/NAME`. Raises `ConfigError` with the key, and
    the file and line that hold it, or `giver`.
    """
    path = expanded(path)
    if os.path.isdir(path):
        directory, path = path, path / "config.yaml"
        if not os.path.exists(path):
            raise ConfigError(f"configuration {directory} is a directory without config.yaml")
    if path.name == "config.yaml" and os.path.exists(path.parent / "last.npz"):
        given = {"run.dir": str(path.parent), **(given or {})}
    with os_errors_as(ConfigError, f"configuration {path} cannot be read"):
        data = path.read_bytes()
    # redirection in Windows PowerShell writes UTF-16 with a byte-order mark
    encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"configuration {path} is not {encoding.upper()}: byte {error.start} (line {line}); "
            "save it as UTF-8"
        ) from error
    values, places = _read(text, str(path))
    piped = is_descriptor(str(path))
    values = _anchored(values, Path.cwd() if piped else path.parent) | _anchored(given or {}, Path.cwd())
    places |= dict.fromkeys(given or {}, giver)
    name = _name_of(values) if piped else path.stem
    return resolve(values, name=name, where=str(path), places=places)


def from_mapping(
    nested: Mapping[str, Any], given: Mapping[str, Any] | None = None, giver: str = "settings"
) -> Config:
    """A configuration from sections of plain values; `given` holds checked values that replace some.

    Relative paths are relative to the current directory. An empty `run.dir` becomes `runs/NAME`, with
    the name of the text. Raises `ConfigError` with the key, and `giver` if the value was given.
    """
    where = "the configuration"
    values = _anchored({**_flat(nested, where), **(given or {})}, Path.cwd())
    return resolve(values, _name_of(values), where, dict.fromkeys(given or {}, giver))


def from_nested(nested: Any, where: str) -> Config:
    """Rebuild a configuration from `Config.nested()`; raises `ConfigError` if it is not one."""
    if not isinstance(nested, dict):
        raise ConfigError(f"{where}: the configuration is not a mapping")
    return resolve(_flat(nested, where), name="model", where=where)


def _flat(nested: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Checked values by dotted key from sections of plain values."""
    values = {}
    for section, content in nested.items():
        if not isinstance(content, Mapping):
            raise ConfigError(f"{where}: {section} is not a section of keys")
        for name, value in content.items():
            values[f"{section}.{name}"] = checked(f"{section}.{name}", value, where)
    return values


def checked(dotted: str, value: Any, where: str) -> Any:
    """Return `value` as the type of key `dotted`, within its limits; raises `ConfigError`."""
    try:
        return _key(dotted, where).valid(value)
    except ValueError as error:
        raise ConfigError(f"{where}: {dotted}: {error}") from error


def _key(dotted: str, where: str) -> Key:
    if dotted not in KEYS:
        raise ConfigError(f"{where}: {dotted}: unknown key{nearest(dotted, KEYS)}")
    return KEYS[dotted]


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
    corpus = config.corpus

    def error(key: str, problem: str) -> ConfigError:
        return ConfigError(f"{places.get(f'corpus.{key}', where)}: corpus.{key}: {problem}")

    total = math.fsum(corpus.split)
    if not math.isclose(total, 1.0, abs_tol=1e-6):
        raise error("split", f"the fractions sum to {total:g}, not to 1")
    if corpus.split[0] == 0:
        raise error("split", "the first fraction, for training, must be above 0")
    for part, paths in corpus.separate_paths.items():
        if STANDARD_INPUT in paths:
            raise error(part, f"name a file: standard input, {STANDARD_INPUT}, is only for corpus.path")
    encoding = text_encoding(corpus.encoding)
    if encoding is None:
        known = ("utf-8", "utf-16", "latin-1", "cp1252", "cp949", "shift_jis")
        raise error(
            "encoding",
            f"{corpus.encoding!r} is not a text encoding that Python knows{nearest(corpus.encoding, known)}",
        )
    config = config.replace({"corpus.encoding": encoding})
    if corpus.unit == "byte":
        for key in ("normalize", "lowercase", "encoding"):
            if getattr(config.corpus, key) != getattr(CorpusConfig, key):
                place, byte = (places.get(f"corpus.{name}", where) for name in (key, "unit"))
                unit = f" ({byte})" if byte != place else ""
                raise error(key, f"not with unit: byte{unit}; remove it, or use unit: char")
    return config if config.run.dir else config.replace({"run.dir": str(Path("runs") / name)})


def text_encoding(name: str) -> str | None:
    """Python's name for a text encoding; None if it is unknown."""
    try:
        "".encode(name)  # raises for codecs that do not encode text
        codec = codecs.lookup(name)
    except (LookupError, UnicodeError, ValueError):
        return None
    # these two encode host names and refuse most texts
    if codec.incrementaldecoder is None or codec.name in ("idna", "punycode"):
        return None
    # byte-order marks are always removed, and utf-8-sig counts bytes only after the mark
    return "utf-8" if codec.name == "utf-8-sig" else codec.name


def _name_of(values: Mapping[str, Any]) -> str:
    """The name of a run on a text: the name of its file, or of the directory of a pattern."""
    path = values.get("corpus.path", "")
    path = path[0] if isinstance(path, tuple) else path
    names = [] if is_descriptor(path) else [Path(path).stem, Path(path).parent.name]
    plain = (name for name in names if name and name != STANDARD_INPUT and not glob.has_magic(name))
    return next(plain, "text" if path else "model")


def _anchored(values: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """The values with absolute paths of files; a relative one is relative to `directory`.

    A leading `~` is a home directory, in `run.dir` too.
    """
    absolute = dict(values)
    if "run.dir" in values:
        absolute["run.dir"] = os.path.expanduser(values["run.dir"])

    def path_of(path: str, dotted: str) -> str:
        is_word = dotted == "train.teacher" and path == COUNTS
        return path if is_word else anchored(path, directory)

    for dotted in PATH_KEYS:
        paths = values.get(dotted)
        if isinstance(paths, tuple):
            absolute[dotted] = tuple(path_of(path, dotted) for path in paths)
        elif paths:
            absolute[dotted] = path_of(paths, dotted)
    return absolute


def another(
    config: CorpusConfig, path: str | os.PathLike[str] | None, encoding: str | None = None
) -> CorpusConfig | None:
    """The settings of a text at another path, read as `config` says; None without a path.

    A relative path is relative to the current directory. Raises `ConfigError` if an encoding is given
    without a path, or is unknown.
    """
    if path is None:
        if encoding is not None:
            raise ConfigError("`encoding` has no effect on the model's own text")
        return None
    if not os.fspath(path):
        raise ConfigError("`corpus`: the path is empty")
    own = anchored(os.fspath(path), Path.cwd())
    return with_encoding(dataclasses.replace(config, path=own, validation="", test=""), encoding)


def with_encoding(config: CorpusConfig, encoding: str | None) -> CorpusConfig:
    """The corpus settings with another encoding, unless it is None or units are bytes."""
    if encoding is None or config.unit == "byte":
        return config
    name = text_encoding(encoding)
    if name is None:
        raise ConfigError(f"`encoding`: {encoding!r} is not a text encoding that Python knows")
    return dataclasses.replace(config, encoding=name)


def parse_overrides(overrides: Iterable[str]) -> dict[str, Any]:
    """Turn `KEY=VALUE` texts into checked values by dotted key; raises `ConfigError`."""
    values: dict[str, Any] = {}
    for override in overrides:
        dotted, equals, text = override.partition("=")
        where = f"`set` {override}"
        if not equals:
            raise ConfigError(f"{where}: expected KEY=VALUE, such as model.hidden=256")
        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise ConfigError(f"{shortened(where)}: the value is not YAML") from error
        values[dotted.strip()] = _checked(dotted.strip(), node, where)
    return values


def _read(text: str, file: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Checked values by dotted key from YAML text, and the file and line of each.

    Every error message gives the file and the line.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark, position = getattr(error, "problem_mark", None), getattr(error, "position", None)
        number = mark.line + 1 if mark else text.count("\n", 0, position) + 1
        problem = getattr(error, "problem", None) or "a character that YAML does not allow"
        raise ConfigError(f"{file}, line {number}: not valid YAML: {problem}") from error
    except RecursionError as error:
        raise ConfigError(f"{file}: too many nested brackets for a configuration") from error
    values: dict[str, Any] = {}
    places: dict[str, str] = {}
    for section, place, content in _pairs(root, file, "the file", "section"):
        if section not in SECTIONS:
            hint = nearest(section, SECTIONS) or f"; the sections are {', '.join(SECTIONS)}"
            raise ConfigError(f"{place}: {section}: unknown section{hint}")
        for dotted, where, node in _pairs(content, file, section, "key"):
            values[dotted] = _checked(dotted, node, where)
            places[dotted] = where
    return values, places


_OTHER_BASES = re.compile(r"[-+]?(?P<octal>0[0-7_]+|0o[0-7_]+)|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")
"""Numbers that YAML 1.1 reads in base 8 or 60."""


def _checked(dotted: str, node: yaml.Node | None, where: str) -> Any:
    """The checked value of key `dotted` from its YAML node; raises `ConfigError`."""
    key = _key(dotted, where)
    try:
        # the tag and the text of a node may disagree
        value = None if node is None else yaml.SafeLoader("").construct_object(node, deep=True)
    except (yaml.YAMLError, LookupError, AttributeError, TypeError, ValueError) as error:
        hint = "; put it in quotes" if key.is_text else ""
        raise ConfigError(f"{shortened(where)}: {dotted}: the value cannot be read{hint}") from error
    for scalar in node.value if isinstance(node, yaml.SequenceNode) else [node]:
        if not isinstance(scalar, yaml.ScalarNode) or scalar.style is not None:
            continue  # in quotes
        other = _OTHER_BASES.fullmatch(scalar.value)
        if other and not key.is_text:
            base = 8 if other["octal"] else 60
            raise ConfigError(
                f"{where}: {dotted}: YAML reads {scalar.value} as a number in base {base}: "
                "write it in decimal digits, without zeros before it"
            )
        if key.is_text and scalar is node and scalar.value and not isinstance(value, str):
            raise ConfigError(
                f"{where}: {dotted}: expected a text, but YAML reads {scalar.value} as {spoken(value)}: "
                "put it in quotes"
            )
    return checked(dotted, value, where)


def _pairs(node: yaml.Node | None, file: str, holder: str, what: str) -> Iterator[tuple[str, str, yaml.Node]]:
    """The name, the file and line, and the value of each section of the file or key of a section."""
    if node is None or (isinstance(node, yaml.ScalarNode) and node.tag.endswith(":null")):
        return  # empty, or with every key commented out
    if not isinstance(node, yaml.MappingNode):
        line = node.start_mark.line + 1
        raise ConfigError(f"{file}, line {line}: {holder} must hold keys with values, such as `hidden: 256`")
    names = set()
    for name_node, value in node.value:
        place = f"{file}, line {name_node.start_mark.line + 1}"
        if not isinstance(name_node, yaml.ScalarNode):
            raise ConfigError(f"{place}: a key must be a plain word")
        name = name_node.value if what == "section" else f"{holder}.{name_node.value}"
        if name in names:
            raise ConfigError(f"{place}: {name}: duplicate {what}")
        names.add(name)
        yield name, place, value
