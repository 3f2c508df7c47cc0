"""The house: imports point downwards, and what users can set is documented."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from conftest import ROOT

from charlm.cli import charlm
from charlm.cli.lazy import LazyCommand
from charlm.config.keys import KEYS

LAYERS = [
    ["system.errors", "arrays", "system.version", "system.machine", "config.limits"],
    [
        "system.files",
        "system.blas",
        "system.extras",
        "system.mpi.launcher",
        "system.mpi.heartbeat",
        "system.mpi.mapping",
        "runs.npz",
    ],
    ["system.workers", "runs.tensors"],
    ["system.team"],
    ["system.mpi.team"],
    ["system.mpi"],
    ["nn.parameters", "nn.cells", "nn.activations"],
    ["nn.workspace", "nn.tuning"],
    ["nn.matmul", "nn.loss"],
    ["nn.cells.cell", "nn.passes"],
    ["nn.cells.rnn", "nn.cells.lstm", "nn.cells.gru", "plain", "nn.layers.layer"],
    ["nn.layers.linear", "nn.layers.recurrent", "nn.layers.dropout"],
    ["nn.kernels.inputs", "nn.kernels.textbook"],
    ["nn.kernels.fused"],
    ["nn.kernels.rnn", "nn.kernels.lstm", "nn.kernels.gru"],
    ["nn.kernels"],
    ["nn.model"],
    ["nn.gradcheck", "nn.ensemble", "nn.joined"],
    ["optim.clipping", "optim.optimizers", "optim.schedules", "optim.averaging"],
    ["data.units", "data.characters", "data.batches", "data.walk", "data.encodings"],
    ["data.vocabulary", "data.alignment", "data.sources", "data.texts", "data.cache"],
    ["data.reader"],
    ["data.corpus"],
    ["data.raw_size", "web.signs"],
    ["web.text"],
    ["config.keys"],
    ["config.reading"],
    ["training.request"],
    [
        "config.build",
        "inference.score",
        "inference.dynamic",
        "inference.trace",
        "inference.gradient_flow",
    ],
    ["inference.generate", "inference.rows", "inference.counts"],
    ["training.teachers"],
    ["training.sharded", "training.tally"],
    ["runs.checkpoint", "training.memory", "runs.pytorch"],
    ["runs.lock", "runs.log", "runs.ensemble"],
    ["runs.directory", "runs.description", "inference.reading", "inference.novelty"],
    ["training.job", "training.events", "runs.importing", "inference.evaluate"],
    ["inference.judge"],
    ["inference.surprisal"],
    ["training.trainer"],
    ["training.joining"],
    [
        "training.loop",
        "training.checking",
        "training.recipe",
        "training.tensorboard",
        "training.benchmark",
    ],
    ["training.advice", "web.assembly"],
    ["training.session"],
    ["export.onnx", "export.safetensors", "export.html"],
    ["export"],
    ["report.history", "report.stretch", "report.drawing"],
    ["report.curves", "report.characters", "report.activity"],
    ["report.page", "lessons.hello"],
    ["lessons.page"],
    ["interface.arguments"],
    ["interface.surprises"],
    ["interface.model", "interface.measure"],
    ["interface.run"],
    ["interface.pictures"],
    ["interface"],
    ["cli.show", "cli.streams"],
    ["cli.lazy", "cli.bar", "cli.curve"],
    ["cli.options", "cli.progress"],
    [
        "cli.train",
        "cli.init",
        "cli.sample",
        "cli.score",
        "cli.perplexity",
        "cli.gradients",
        "cli.gradient_flow",
        "cli.plot",
        "cli.report",
        "cli.lesson",
        "cli.export",
        "cli.importing",
        "cli.info",
        "cli.bench",
    ],
    ["cli"],
    ["__main__"],
]
"""Every module, from the ground up: each imports only from layers below its own."""

HEIGHT = {module: height for height, layer in enumerate(LAYERS) for module in layer}

PACKAGE = ROOT / "charlm"


def _modules() -> Iterator[tuple[str, Path]]:
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        # the other __init__ files hold a docstring and nothing else
        if name in HEIGHT or len(ast.parse(file.read_text()).body) > 1:
            yield name, file


def _imports(source: str) -> set[str]:
    """Modules of the package that `source` imports, anywhere in it but under TYPE_CHECKING."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "charlm":
            module = node.module.removeprefix("charlm").lstrip(".")
            for alias in node.names:
                whole = f"{module}.{alias.name}".lstrip(".")
                found.add(whole if whole in HEIGHT else module)
    return {module for module in found if module}


def test_every_module_has_its_place() -> None:
    """The table of layers names every module that there is, and none that there is not."""
    modules = {name for name, _ in _modules()} - {""}
    assert modules == set(HEIGHT)


@pytest.mark.parametrize("module", sorted(HEIGHT))
def test_imports_point_downwards(module: str) -> None:
    """A module imports only from layers below its own."""
    file = dict(_modules())[module]
    for imported in _imports(file.read_text()):
        assert HEIGHT[imported] < HEIGHT[module], f"{module} imports {imported}"


def test_an_upward_import_would_be_found() -> None:
    """The reader of imports sees them in functions too, in both ways of writing them."""
    source = (
        "def f():\n    from charlm.training.trainer import Trainer\n    from charlm.runs import checkpoint\n"
    )
    assert _imports(source) == {"training.trainer", "runs.checkpoint"}


@pytest.mark.parametrize("package", ["nn", "optim"])
def test_the_mathematics_stands_alone(package: str) -> None:
    """The mathematics imports neither configuration nor files nor the command line.

    Of the machine it asks one thing: which kernel multiplies.
    """
    allowed = {"nn", "optim", "arrays"}
    for name, file in _modules():
        if name.split(".")[0] == package:
            imports = _imports(file.read_text()) - ({"system.blas"} if name == "nn.tuning" else set())
            assert {imported.split(".")[0] for imported in imports} <= allowed, name


def test_only_the_command_line_knows_click_and_tqdm() -> None:
    """Nothing outside charlm/cli imports click or tqdm."""
    for name, file in _modules():
        if name.split(".")[0] != "cli":
            source = file.read_text()
            assert "import click" not in source, name
            assert "tqdm" not in source, name


def test_only_the_command_line_knows_options() -> None:
    """A message outside charlm/cli names arguments, as `resume=True`; an option only in a whole command."""
    for name, file in _modules():
        if name.split(".")[0] not in ("cli", "plain"):
            nodes = list(ast.walk(ast.parse(file.read_text())))
            docstrings = [node.value for node in nodes if isinstance(node, ast.Expr)]
            for node in nodes:
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docstrings:
                    words = re.sub(r"(charlm|srun) .*", "", node.value)
                    assert not re.search(r"(?<![\w(-])--[a-z]+", words), f"{name}: {node.value!r}"


QUICK = """
import sys
from click.testing import CliRunner
from charlm.cli import charlm

for path in sys.argv[1:]:
    for option, status in (("--help", 0), ("--nonsense", 2)):
        done = CliRunner().invoke(charlm, [*path.split()[1:], option])
        assert done.exit_code == status, (path, option, done.output)
        heavy = {"numpy", "tqdm"} & sys.modules.keys()
        assert not heavy, (path, option, heavy)
for path in ("sample", "score x", "info", "export x.html"):
    done = CliRunner().invoke(charlm, [*path.split(), "--checkpoint", "nowhere"])
    assert str(done.exception) == "checkpoint nowhere cannot be read: no such file or directory", path
    assert "numpy" not in sys.modules, path
"""


def test_neither_help_nor_a_mistake_needs_numpy() -> None:
    """Help, a wrong option and a missing checkpoint are answered before NumPy is loaded, which is slow."""
    paths = [path for path, _ in every_command(charlm, "charlm")]
    subprocess.run([sys.executable, "-c", QUICK, "charlm", "charlm eval", *paths], check=True, cwd=ROOT)


def every_command(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    """Every command of a group, by what is typed."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from every_command(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command.load() if isinstance(command, LazyCommand) else command


@pytest.mark.parametrize(("path", "command"), list(every_command(charlm, "charlm")))
def test_every_command_and_option_is_documented(path: str, command: click.Command) -> None:
    """Every command stands in the README, and its help names its arguments and explains its options."""
    assert path in (ROOT / "README.md").read_text()
    assert command.help
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, option.name
        else:  # an argument
            assert option.human_readable_name.strip("[].") in command.help, option.name


def test_every_key_is_documented() -> None:
    """`charlm train --help` names every configuration key, its default and its meaning."""
    text = " ".join(CliRunner().invoke(charlm, ["train", "--help"]).output.split())
    for dotted, known in KEYS.items():
        assert f"{dotted}=" in text
        assert " ".join(known.doc.split()) in text


@pytest.mark.parametrize(("path", "command"), [("charlm", charlm), *every_command(charlm, "charlm")])
def test_help_fits_a_terminal(path: str, command: click.Command) -> None:
    """No line of any help is longer than 80 columns, and none shows a control sequence."""
    output = CliRunner().invoke(charlm, [*path.split()[1:], "--help"], terminal_width=80).output
    assert output.startswith("Usage:")
    assert [line for line in output.split("\n") if len(line) > 80 or "\b" in line or "\\b" in line] == []


def test_the_examples_of_the_help_are_lines_of_their_own() -> None:
    """Each example of `charlm --help` is a line that can be copied."""
    lines = [line.strip() for line in CliRunner().invoke(charlm, ["--help"]).output.splitlines()]
    assert "charlm train --corpus my.txt --minutes 5" in lines
    assert 'charlm sample --prime "The "' in lines
    assert "charlm eval perplexity" in lines
