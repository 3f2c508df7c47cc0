"""What `charlm/nn/README.md` names exists, and its examples print what they show."""

from __future__ import annotations

import ast
import contextlib
import io
import re
from pathlib import Path

from conftest import ROOT

PACKAGE = ROOT / "charlm"

README = (PACKAGE / "nn" / "README.md").read_text()


def _defined(file: Path) -> set[str]:
    """Functions, classes and methods (`C.f`) of a module."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    found = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, kinds):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, kinds)}
    return found


def test_every_file_and_function_exists() -> None:
    """A file is relative to `nn/` or to the package, and defines the function named with it."""
    references = re.findall(r"`([\w./]+\.py)(?::\s+([\w.]+))?`", README)
    assert len(references) > 40
    for path, name in references:
        file = next((base / path for base in (PACKAGE / "nn", PACKAGE) if (base / path).is_file()), None)
        assert file, path
        assert not name or name in _defined(file), f"{path}: {name}"


def test_every_method_exists() -> None:
    """A method that is named without its file is in a file that is named elsewhere."""
    defined = set().union(*(_defined(file) for file in PACKAGE.rglob("*.py")))
    methods = set(re.findall(r"`([A-Z]\w*\.\w+)`", README))
    assert methods
    assert methods <= defined


def test_the_examples_print_what_is_shown() -> None:
    """Every Python block runs, and its output is the block after it."""
    examples = re.findall(r"```python\n(.*?)```\n\n```\n(.*?)```", README, re.DOTALL)
    assert len(examples) == 2
    for program, shown in examples:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(program, {})  # noqa: S102 -- the README's own example
        assert printed.getvalue() == shown
