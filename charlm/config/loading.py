"""Configuration files and overrides: YAML in, a checked `Config` out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from charlm.config.schema import Config, checked, nearest, resolve
from charlm.errors import ConfigError, shortened
from charlm.system.files import anchored, reason


def load(path: Path, overrides: Iterable[str] = ()) -> Config:
    """Read the configuration file `path` and apply `KEY=VALUE` overrides.

    A relative `corpus.path` is taken from the file's directory, in an override from the current
    one, and comes back whole; an empty `run.dir` becomes `runs/NAME`. Raises `ConfigError`
    naming file, key and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"configuration {path} cannot be read: {reason(error)}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"configuration {path} is not UTF-8 (byte {error.start})") from error
    values = _read(text, str(path))
    given = parse_overrides(overrides)
    for own, directory in ((values, path.parent), (given, Path.cwd())):
        paths = own.get("corpus.path", "")
        if isinstance(paths, tuple):
            own["corpus.path"] = tuple(anchored(name, directory) for name in paths)
        elif paths:
            own["corpus.path"] = anchored(paths, directory)
    values.update(given)
    return resolve(values, name=path.stem, where=str(path))


def parse_overrides(overrides: Iterable[str]) -> dict[str, Any]:
    """Turn `KEY=VALUE` texts into checked values by dotted key; raises `ConfigError`."""
    values: dict[str, Any] = {}
    for override in overrides:
        dotted, equals, text = override.partition("=")
        where = f"--set {override}"
        if not equals:
            raise ConfigError(f"{where}: expected KEY=VALUE, such as model.hidden=256")
        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
            value = None if node is None else _value(node)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise ConfigError(f"{shortened(where)}: the value is not YAML") from error
        values[dotted.strip()] = checked(dotted.strip(), value, where)
    return values


def _read(text: str, file: str) -> dict[str, Any]:
    """Checked values by dotted key from YAML text; every complaint names the file and the line."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark, place = getattr(error, "problem_mark", None), getattr(error, "position", None)
        number = mark.line + 1 if mark else text.count("\n", 0, place) + 1
        problem = getattr(error, "problem", None) or "a character that YAML does not allow"
        raise ConfigError(f"{file}, line {number}: not valid YAML: {problem}") from error
    except RecursionError as error:
        raise ConfigError(f"{file}: brackets within brackets, too many to be a configuration") from error
    if root is None:
        return {}
    values: dict[str, Any] = {}
    sections: set[str] = set()
    section_names = [field.name for field in dataclasses.fields(Config)]
    for section_node, content in _pairs(root, file, "the file"):
        section = str(section_node.value)
        where = f"{file}, line {section_node.start_mark.line + 1}"
        if section not in section_names:
            hint = nearest(section, section_names) or f"; the sections are {', '.join(section_names)}"
            raise ConfigError(f"{where}: {section}: unknown section{hint}")
        if section in sections:
            raise ConfigError(f"{where}: {section}: stands twice")
        sections.add(section)
        if isinstance(content, yaml.ScalarNode) and content.tag.endswith(":null"):
            continue  # a section with every key commented out
        for key_node, value_node in _pairs(content, file, section):
            dotted = f"{section}.{key_node.value}"
            where = f"{file}, line {key_node.start_mark.line + 1}"
            if dotted in values:
                raise ConfigError(f"{where}: {dotted}: stands twice")
            try:
                value = _value(value_node)
            except ValueError as error:
                raise ConfigError(f"{where}: {dotted}: the value cannot be read") from error
            values[dotted] = checked(dotted, value, where)
    return values


def _value(node: yaml.Node) -> Any:
    """The plain value of a YAML node; raises `ValueError` if its tag and its text disagree."""
    try:
        return yaml.SafeLoader("").construct_object(node, deep=True)
    except (yaml.YAMLError, LookupError, AttributeError, TypeError) as error:
        raise ValueError("the value cannot be read") from error


def _pairs(node: yaml.Node, file: str, what: str) -> list[tuple[yaml.Node, yaml.Node]]:
    if not isinstance(node, yaml.MappingNode):
        line = node.start_mark.line + 1
        raise ConfigError(f"{file}, line {line}: {what} must hold keys with values, such as `hidden: 256`")
    for name, _ in node.value:
        if not isinstance(name, yaml.ScalarNode):
            raise ConfigError(f"{file}, line {name.start_mark.line + 1}: a key must be a plain word")
    pairs: list[tuple[yaml.Node, yaml.Node]] = node.value
    return pairs
