"""What the derivation names exists, its examples print what they show, and both languages agree."""

from __future__ import annotations

import ast
import contextlib
import io
import re
from collections import Counter
from pathlib import Path

import pytest
from conftest import ROOT

PACKAGE = ROOT / "charlm"

README, KOREAN = ((PACKAGE / "nn" / name).read_text() for name in ("README.md", "README.ko.md"))

in_both_languages = pytest.mark.parametrize("readme", [README, KOREAN], ids=["en", "ko"])

PARAGRAPHS = re.compile(r"\n\n|\n(?=- |\||\d\. )")
"""Between two paragraphs, items of a list, or rows of a table."""

FORMULA = re.compile(r"\$\$.*?\$\$|\$.*?\$|`.*?`|\d[\d.,]*\d", re.DOTALL)
"""A formula, a code span, or a number of two digits or more."""

SIGN, WORD = r"\w+|[^\w\s]", re.compile("[a-z]+|[,:]")
"""What stands in a picture or in code, and what a translated label or comment replaces."""


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


@in_both_languages
def test_every_file_and_function_exists(readme: str) -> None:
    """A file is relative to `nn/` or to the package, and defines the function named with it."""
    references = re.findall(r"`([\w./]+\.py)(?::\s+([\w.]+))?`", readme)
    assert len(references) > 40
    for path, name in references:
        file = next((base / path for base in (PACKAGE / "nn", PACKAGE) if (base / path).is_file()), None)
        assert file, path
        assert not name or name in _defined(file), f"{path}: {name}"


@in_both_languages
def test_every_method_exists(readme: str) -> None:
    """A method that is named without its file is in a file that is named elsewhere."""
    defined = set().union(*(_defined(file) for file in PACKAGE.rglob("*.py")))
    methods = set(re.findall(r"`([A-Z]\w*\.\w+)`", readme))
    assert methods
    assert methods <= defined


@in_both_languages
def test_the_examples_print_what_is_shown(readme: str) -> None:
    """Every Python block runs, and its output is the block after it."""
    examples = re.findall(r"```python\n(.*?)```\n\n```\n(.*?)```", readme, re.DOTALL)
    assert len(examples) == 2
    for program, shown in examples:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(program, {})  # noqa: S102 -- the README's own example
        assert printed.getvalue() == shown


def test_both_languages_have_the_same_formulas() -> None:
    """Each paragraph, item and row has the same formulas, code and numbers; in pictures only words differ."""
    parts, translated = (
        re.split(r"^(```.*\n[^`]*)^```$", text, flags=re.MULTILINE) for text in (README, KOREAN)
    )
    assert len(parts) == len(translated) > 20
    for english, korean in zip(parts[::2], translated[::2], strict=True):
        for one, other in zip(PARAGRAPHS.split(english), PARAGRAPHS.split(korean), strict=True):
            assert Counter(FORMULA.findall(one)) == Counter(FORMULA.findall(other)), other
    for english, korean in zip(parts[1::2], translated[1::2], strict=True):
        for one, other in zip(english.splitlines(), korean.splitlines(), strict=True):
            signs = re.findall(SIGN, re.sub("[가-힣]+", " ", other))
            kept = [sign for sign in re.findall(SIGN, one) if sign in signs or not WORD.fullmatch(sign)]
            assert one == other or (re.search("[가-힣]", other) and kept == signs), other
