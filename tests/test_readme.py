"""The README's commands are those that are run, and its figures are kept true by them."""

from __future__ import annotations

import re

import pytest
from conftest import ROOT

README = (ROOT / "README.md").read_text()


def test_ci_installs_with_the_readmes_own_test_command() -> None:
    """The README's second command stands, word for word, in what CI runs."""
    commands = re.findall(r"```sh\n(python3 -m venv .*)\n```", README)
    assert len(commands) == 2
    assert commands[1] in (ROOT / ".ci" / "run").read_text()


def test_every_configuration_is_listed() -> None:
    """The README names every configuration that there is, and none that there is not."""
    named = set(re.findall(r"configs/[\w-]+\.yaml", README))
    assert named == {f"configs/{file.name}" for file in (ROOT / "configs").glob("*.yaml")}


def test_the_example_of_a_cell_is_right(capsys: pytest.CaptureFixture[str]) -> None:
    """The cell in CONTRIBUTING.md passes the gradient check that is printed below it."""
    guide = (ROOT / ".github" / "CONTRIBUTING.md").read_text()
    cell, checked, _ = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    exec(cell + checked, {})  # noqa: S102 -- the guide's own example
    verdicts = capsys.readouterr().out.splitlines()
    assert len([line for line in verdicts if line.endswith(" right")]) == 12 == len(verdicts)


def test_every_module_is_in_the_layout() -> None:
    """The README's picture of the package names every module and directory in it."""
    layout = README.split("## How it is laid out")[1].split("```")[1]
    for file in (ROOT / "charlm").rglob("*.py"):
        name = file.parent.name if file.name == "__init__.py" else file.stem
        if name not in ("charlm", "__main__") and file.parent.name != "cli":
            assert re.search(rf"\b{name}\b", layout), name
