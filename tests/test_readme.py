"""What the README and its neighbours say is what there is: commands, files, modules, tests, examples."""

from __future__ import annotations

import csv
import inspect
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from conftest import ROOT
from exported import make
from test_structure import every_command

import charlm
import charlm.interface
from charlm.cli import charlm as command_line
from charlm.cli.lazy import LazyCommand
from charlm.config import reading
from charlm.export import onnx, safetensors

README = (ROOT / "README.md").read_text()

GUIDES = {
    name: (ROOT / name).read_text()
    for name in (
        "README.md",
        ".github/GUIDE.md",
        ".github/README.ko.md",
        "charlm/README.md",
        "charlm/system/README.md",
    )
}
"""The documents for users, by file."""

OTHERS = (
    "charlm/nn/README.md",
    "charlm/nn/README.ko.md",
    "configs/README.md",
    "configs/SCORE.md",
    "tests/README.md",
    ".github/CONTRIBUTING.md",
)
"""The documents for developers and students."""


def test_ci_installs_with_the_readmes_own_test_command() -> None:
    """CI runs the README's second command, word for word."""
    commands = re.findall(r"```sh\n(python3 -m venv .*)\n```", README)
    assert len(commands) == 2
    assert commands[1] in (ROOT / ".ci" / "run").read_text()


def test_every_configuration_is_listed() -> None:
    """The table of configurations names all of them, and no guide names one that does not exist."""
    files = {file.name for file in (ROOT / "configs").glob("*.yaml")}
    table = (ROOT / "configs" / "README.md").read_text().split("\n\n")[1]
    assert set(re.findall(r"`([\w-]+\.yaml)`", table)) == files
    for text in GUIDES.values():
        assert set(re.findall(r"configs/([\w-]+\.yaml)", text)) <= files


def test_the_readme_is_short() -> None:
    """The front door has at most 160 lines."""
    assert len(README.splitlines()) <= 160


@pytest.mark.parametrize("guide", [*GUIDES, *OTHERS])
def test_every_link_leads_somewhere(guide: str) -> None:
    """Files that a guide links to exist, and so do their headings."""
    for target in re.findall(r"\]\(([^)\s]+)\)", (ROOT / guide).read_text()):
        if target.startswith("http"):
            continue
        path, _, heading = target.partition("#")
        file = ((ROOT / guide).parent / path).resolve() if path else ROOT / guide
        assert file.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
            assert heading in slugs, target


def _commands() -> set[str]:
    """Every `charlm` command line in the shell blocks of the guides."""
    text = "\n".join(GUIDES.values())
    lines = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL)).splitlines()
    commands = (part for line in lines for part in re.split(r"\||&&|;|#", line))
    return {found[1].strip() for part in commands if (found := re.search(r"(?:^|\s)charlm (.*)", part))}


@pytest.mark.parametrize("command", sorted(_commands()))
def test_the_options_of_every_command_exist(command: str) -> None:
    """Each command line of the guides names a command and options that there are."""
    words = shlex.split(command.split(" > ")[0].split(" :::")[0].rstrip("'"))
    found: click.Command = command_line
    while isinstance(found, click.Group):
        found = found.commands[words.pop(0)]
    found = found.load() if isinstance(found, LazyCommand) else found
    known = {option for parameter in found.params for option in parameter.opts}
    assert {word.split("=")[0] for word in words if word.startswith("--")} <= known


def test_the_example_of_a_cell_is_right(capsys: pytest.CaptureFixture[str]) -> None:
    """The cell in CONTRIBUTING.md is that of `leaky.py`, and passes the gradient check below it."""
    guide = (ROOT / ".github" / "CONTRIBUTING.md").read_text()
    cell, checked, _ = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    assert (ROOT / "tests" / "leaky.py").read_text().endswith(f"\n\n{cell}")
    exec(cell + checked, {})  # noqa: S102 -- the guide's own example
    verdicts = capsys.readouterr().out.splitlines()
    assert len([line for line in verdicts if line.endswith(" right")]) == 12 == len(verdicts)


EXAMPLES = re.findall(r"```python\n(.*?)```", "\n".join(GUIDES.values()), re.DOTALL)


def test_the_guides_show_the_python_interface() -> None:
    """The examples use all that `charlm` offers: train, load, and what a model can do."""
    shown = "".join(EXAMPLES)
    for name in ("charlm.train(", "charlm.load(", ".metrics", ".sample(", ".score(", ".predict(", ".trace("):
        assert name in shown


def test_the_guide_lists_the_function_of_every_command() -> None:
    """The table names every command, and every function and method with arguments that it has."""
    table = GUIDES["charlm/README.md"]
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    commands = {
        path for row in rows for path in re.findall(r"`(charlm [a-z -]+?)(?: --novelty)?`", row.split("|")[1])
    }
    assert commands == {path for path, _ in every_command(command_line, "charlm")}
    assert commands == set(
        re.findall(r"^`(charlm [a-z -]+?)`", charlm.interface.__doc__ or "", re.MULTILINE)
    ) - {"charlm sample --novelty"}
    for owner, name, arguments in re.findall(r"\b(charlm|model)\.(\w+)\(([^)]*)\)", "".join(rows)):
        function = getattr(charlm if owner == "charlm" else charlm.LanguageModel, name)
        named = {argument.split("=")[0].strip() for argument in arguments.split(",")} - {"…", ""}
        assert named <= set(inspect.signature(function).parameters), name


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_of_the_python_interface_run(example: str, tmp_path: Path) -> None:
    """Every Python example of the guides runs, beside `configs/`, `data/` and a model, without a warning."""
    for file in ("configs/tales.yaml", "data/tales.txt"):  # of the text the beginning, which takes less time
        (tmp_path / file).parent.mkdir()
        text = (ROOT / file).read_text().replace("warmup: 100", "warmup: 10")
        (tmp_path / file).write_text(text[:40_000])
    model = reading.load(ROOT / "configs/tales.yaml").model
    if "torch" in example:
        pytest.importorskip("torch", reason="PyTorch is not installed")
    made = make(tmp_path, model.cell, layers=model.layers, hidden=model.hidden)
    onnx.write(tmp_path / "tales.onnx", made)
    safetensors.write(tmp_path / "tales.safetensors", made)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", example],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") >= example.count("print(")


def test_every_test_that_is_named_exists() -> None:
    """The table of promises names files and functions of the suite that there are."""
    tests = ROOT / "tests"
    sources = {file.name: file.read_text() for file in tests.glob("*.py")}
    table = (tests / "README.md").read_text()
    files, functions = re.findall(r"`(\w+\.py)`", table), re.findall(r"`(test_\w+)`", table)
    assert set(files) <= set(sources)
    for function in functions:
        assert any(f"def {function}(" in source for source in sources.values()), function
    assert len(files) > 30
    assert len(functions) > 15


def test_the_experiments_are_whole() -> None:
    """Each row of the experiments names its text, commit and loss, and the guide beside it stays short."""
    configs = ROOT / "configs"
    with (configs / "experiments.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 303
    for row in rows:
        assert all(row[column] for column in ("study", "text", "configuration", "seed", "scored")), row
        assert re.fullmatch("[0-9a-f]{7}", row["commit"]), row
        assert row["loss"] == "diverges" or 0.5 < float(row["loss"]) < 5, row
    assert len((configs / "README.md").read_text().splitlines()) <= 200


def test_every_module_is_in_the_layout() -> None:
    """The picture of the package names every module and directory in it."""
    layout = GUIDES["charlm/README.md"].split("## How it is laid out")[1].split("```")[1]
    for file in (ROOT / "charlm").rglob("*.py"):
        name = file.parent.name if file.name == "__init__.py" else file.stem
        if name not in ("charlm", "__main__") and file.parent.name != "cli":
            assert re.search(rf"\b{name}\b", layout), name
