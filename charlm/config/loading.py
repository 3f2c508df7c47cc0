"""Configuration files and overrides: YAML in, a checked `Config` out."""

from __future__ import annotations

import codecs
import dataclasses
import glob
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from charlm.config.schema import (
    PATH_KEYS,
    SECTIONS,
    Config,
    CorpusConfig,
    checked,
    is_text,
    resolve,
)
from charlm.config.values import nearest, text_encoding
from charlm.errors import ConfigError, shortened
from charlm.system.files import STANDARD_INPUT, anchored, expanded, is_descriptor, reason


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
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"configuration {path} cannot be read: {reason(error)}") from error
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
    nested: Mapping[str, Mapping[str, Any]], given: Mapping[str, Any] | None = None, giver: str = "settings"
) -> Config:
    """A configuration from sections of plain values; `given` holds checked values that replace some.

    Relative paths are relative to the current directory. An empty `run.dir` becomes `runs/NAME`,
    where NAME is that of the text. Raises `ConfigError` with the key.
    """
    where = "the configuration"
    values: dict[str, Any] = {}
    for section, content in nested.items():
        if not isinstance(content, Mapping):
            raise ConfigError(f"{where}: {section} is not a section of keys")
        for name, value in content.items():
            values[f"{section}.{name}"] = checked(f"{section}.{name}", value, where)
    values = _anchored({**values, **(given or {})}, Path.cwd())
    places = dict.fromkeys(given or {}, giver)
    return resolve(values, name=_name_of(values), where=where, places=places)


def _name_of(values: Mapping[str, Any]) -> str:
    """The name of a run on a text: that of its file, or of the directory of a pattern."""
    path = values.get("corpus.path", "")
    path = path[0] if isinstance(path, tuple) else path
    names = [] if is_descriptor(path) else [Path(path).stem, Path(path).parent.name]
    plain = (name for name in names if name and name != STANDARD_INPUT and not glob.has_magic(name))
    return next(plain, "text" if path else "model")


def _anchored(values: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """The values with absolute paths of texts; a relative one is relative to `directory`.

    A leading `~` is a home directory, in `run.dir` too.
    """
    found = dict(values)
    if "run.dir" in values:
        found["run.dir"] = os.path.expanduser(values["run.dir"])
    for dotted in PATH_KEYS:
        paths = values.get(dotted, "")
        if isinstance(paths, tuple):
            found[dotted] = tuple(anchored(path, directory) for path in paths)
        elif paths:
            found[dotted] = anchored(paths, directory)
    return found


def with_path(config: CorpusConfig, path: str) -> CorpusConfig:
    """The corpus settings with another path, relative to the current directory."""
    if not path:
        raise ConfigError("`corpus`: the path is empty")
    return dataclasses.replace(config, path=anchored(path, Path.cwd()))


def another(
    config: CorpusConfig, path: str | os.PathLike[str] | None, encoding: str | None = None
) -> CorpusConfig | None:
    """The settings of a text at another path, read as `config` says; None without a path.

    Raises `ConfigError` if an encoding is given without a path, or is unknown.
    """
    if path is None:
        if encoding is not None:
            raise ConfigError("`encoding` has no effect on the model's own text")
        return None
    config = dataclasses.replace(config, validation="", test="")
    return with_encoding(with_path(config, os.fspath(path)), encoding)


def with_encoding(config: CorpusConfig, encoding: str | None) -> CorpusConfig:
    """The corpus settings with another encoding, unless it is None or units are bytes."""
    if encoding is None or config.unit == "byte":
        return config
    found = text_encoding(encoding)
    if found is None:
        raise ConfigError(f"`encoding`: {encoding!r} is not a text encoding that Python knows")
    return dataclasses.replace(config, encoding=found)


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
    if root is None:
        return values, places
    sections: set[str] = set()
    section_names = list(SECTIONS)
    for section_node, content in _pairs(root, file, "the file"):
        section = str(section_node.value)
        where = f"{file}, line {section_node.start_mark.line + 1}"
        if section not in section_names:
            hint = nearest(section, section_names) or f"; the sections are {', '.join(section_names)}"
            raise ConfigError(f"{where}: {section}: unknown section{hint}")
        if section in sections:
            raise ConfigError(f"{where}: {section}: duplicate section")
        sections.add(section)
        if isinstance(content, yaml.ScalarNode) and content.tag.endswith(":null"):
            continue  # a section with every key commented out
        for key_node, value_node in _pairs(content, file, section):
            dotted = f"{section}.{key_node.value}"
            where = f"{file}, line {key_node.start_mark.line + 1}"
            if dotted in values:
                raise ConfigError(f"{where}: {dotted}: duplicate key")
            values[dotted] = _checked(dotted, value_node, where)
            places[dotted] = where
    return values, places


_OTHER_BASES = re.compile(r"[-+]?(?P<octal>0[0-7_]+|0o[0-7_]+)|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")
"""Numbers that YAML 1.1 reads in base 8 or 60."""


def _checked(dotted: str, node: yaml.Node | None, where: str) -> Any:
    """The checked value of key `dotted` from its YAML node; raises `ConfigError`."""
    written = node.value if isinstance(node, yaml.ScalarNode) and node.style is None else ""
    try:
        # the tag and the text of a node may disagree
        value = None if node is None else yaml.SafeLoader("").construct_object(node, deep=True)
    except (yaml.YAMLError, LookupError, AttributeError, TypeError, ValueError) as error:
        hint = "; put it in quotes" if is_text(dotted) else ""
        raise ConfigError(f"{shortened(where)}: {dotted}: the value cannot be read{hint}") from error
    for scalar in _scalars(node):
        other = _OTHER_BASES.fullmatch(scalar.value)
        if other and scalar.style is None and not is_text(dotted):
            base = 8 if other["octal"] else 60
            raise ConfigError(
                f"{where}: {dotted}: YAML reads {scalar.value} as a number in base {base}: "
                "write it in decimal digits, without zeros before it"
            )
    return checked(dotted, value, where, written)


def _scalars(node: yaml.Node | None) -> list[yaml.ScalarNode]:
    """The scalar of a node, or those of its list."""
    nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
    return [one for one in nodes if isinstance(one, yaml.ScalarNode)]


def _pairs(node: yaml.Node, file: str, what: str) -> list[tuple[yaml.Node, yaml.Node]]:
    if not isinstance(node, yaml.MappingNode):
        line = node.start_mark.line + 1
        raise ConfigError(f"{file}, line {line}: {what} must hold keys with values, such as `hidden: 256`")
    for name, _ in node.value:
        if not isinstance(name, yaml.ScalarNode):
            raise ConfigError(f"{file}, line {name.start_mark.line + 1}: a key must be a plain word")
    pairs: list[tuple[yaml.Node, yaml.Node]] = node.value
    return pairs
