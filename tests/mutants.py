"""Planted errors: each must be found by the tests of its module.

Run by hand. It copies the repository, plants one error at a time in the copy, and runs the tests that
must notice it::

    python tests/mutants.py                     # all of them: about an hour on two cores
    python tests/mutants.py lstm                # those whose name holds this word
    python tests/mutants.py --log found.txt     # writes down each result; a second call runs the rest
    python tests/mutants.py --list

The errors of `mutants.txt` were thought of by people. Others are generated from the syntax trees of the
modules of `GENERATED`: at most one for each line. A mutant that no test notices survives: a test is
missing, or the mutant computes the same and belongs to the section `equivalent` of the table. The exit
status is 1 if one survives. It is 1, too, if tests are skipped and the others notice nothing: an error
that only they find cannot be looked for on this machine.
"""

from __future__ import annotations

import argparse
import ast
import compileall
import itertools
import multiprocessing
import os
import py_compile
import re
import runpy
import shutil
import signal
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import hypothesis  # noqa: F401  (imported before each check is forked, which saves most of its time)
import numpy  # noqa: F401
import pytest  # noqa: F401
import yaml  # noqa: F401

ROOT = Path(__file__).parent.parent

TABLE = Path(__file__).with_name("mutants.txt")

GENERATED = {
    "nn/activations.py": "activations cells",
    "nn/cells/gru.py": "cells",
    "nn/cells/lstm.py": "cells gradient_flow",
    "nn/cells/rnn.py": "cells",
    "nn/kernels/fused.py": "cells model trace",
    "nn/kernels/gru.py": "cells",
    "nn/kernels/inputs.py": "cells model",
    "nn/kernels/lstm.py": "cells",
    "nn/kernels/rnn.py": "cells",
    "nn/kernels/textbook.py": "cells trace gradient_flow",
    "nn/layers/layer.py": "layers model cells",
    "nn/layers/linear.py": "cells model",
    "nn/loss.py": "loss score",
    "optim/averaging.py": "averaging",
    "optim/clipping.py": "clipping",
    "optim/optimizers.py": "optimizers torch_parity",
    "optim/schedules.py": "schedules",
    "inference/generate.py": "generate loop",
    "inference/score.py": "score",
    "data/batches.py": "batches",
    "data/texts.py": "lines batches counts",
}
"""The modules for which errors are generated, and the tests of which one must find each."""


@dataclass(frozen=True)
class Mutant:
    """One planted error.

    Attributes
    ----------
    name
        What the report calls it.
    module
        The file, below `charlm/`.
    scope
        The function or class that the text is in, or empty: anywhere in the module.
    right
        The text as it is, exactly once in its scope. `⏎` stands for a line break and any indentation.
    wrong
        The text in its place.
    checks
        Tests: files, or pytest's `file::test`; `GRADIENTS` is `charlm eval gradients`.
    each
        Whether each of the tests must notice it, or one.
    """

    name: str
    module: str
    scope: str
    right: str
    wrong: str
    checks: tuple[str, ...]
    each: bool = True

    def planted(self, source: str) -> str:
        """The module's source with the error in it.

        Raises
        ------
        ValueError
            The text is not there exactly once.
        """
        first, last = scopes(source)[self.scope] if self.scope else (0, len(source))
        pattern = r"\n( *)".join(re.escape(line) for line in self.right.split("⏎"))
        matches = list(re.finditer(pattern, source[first:last]))
        if len(matches) != 1:
            raise ValueError(f"{self.name}: the text is there {len(matches)} times")
        match = matches[0]
        line = source.rfind("\n", 0, first + match.start()) + 1
        wrong, *rest = self.wrong.split("⏎")
        own = " " * (len(source[line:]) - len(source[line:].lstrip(" ")))
        indents = [own] * (len(rest) - len(match.groups())) + list(match.groups())
        for text, indent in zip(rest, indents[len(indents) - len(rest) :], strict=True):
            wrong += f"\n{indent}{text}"
        return source[: first + match.start()] + wrong + source[first + match.end() :]


@cache
def source_of(module: str) -> str:
    """The text of a module of the package."""
    return (ROOT / "charlm" / module).read_text(encoding="utf-8")


@cache
def scopes(source: str) -> dict[str, tuple[int, int]]:
    """Where each function and class is, by the last parts of its dotted name that are unique."""
    if source.startswith("//"):  # a script
        return _blocks(source)
    spans: dict[str, list[tuple[int, int]]] = {}
    starts = _line_starts(source)

    def visit(node: ast.AST, path: tuple[str, ...]) -> None:
        for child in ast.iter_child_nodes(node):
            inner = path
            if isinstance(child, (ast.FunctionDef, ast.ClassDef)):
                inner = (*path, child.name)
                first = min([child.lineno, *(one.lineno for one in child.decorator_list)])
                for count in range(len(inner)):
                    span = starts[first - 1], starts[child.end_lineno or first]
                    spans.setdefault(".".join(inner[count:]), []).append(span)
            visit(child, inner)

    visit(ast.parse(source), ())
    return {name: found[0] for name, found in spans.items() if len(found) == 1}


def _blocks(source: str) -> dict[str, tuple[int, int]]:
    """Where the functions, classes and objects of a script are, by their names, where those are unique.

    A block begins with a line that ends in a brace, and ends with a line as far to the right that begins
    with one.
    """
    begins = re.finditer(r"^( *)(?:(?:const|class|function) )?\"?([\w-]+)\"?\b.*\{$", source, re.MULTILINE)
    spans: dict[str, list[tuple[int, int]]] = {}
    for begin in begins:
        end = re.compile(rf"^{begin[1]}\}}", re.MULTILINE).search(source, begin.end())
        spans.setdefault(begin[2], []).append((begin.start(), end.end() if end else len(source)))
    return {name: found[0] for name, found in spans.items() if len(found) == 1}


def _line_starts(source: str) -> list[int]:
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    return starts


def table() -> tuple[list[Mutant], list[Mutant]]:
    """The mutants of `mutants.txt`, and the generated ones that it calls equivalent."""
    planted: list[Mutant] = []
    equivalent: list[Mutant] = []
    module, usual, entries = "", "", planted
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        if line.startswith("  "):
            text, _, checks = line.strip().partition(" ← ")
            right, _, wrong = text.partition(" →")
            scope, _, right = right.rpartition(" » ")
            name = f"{module}: {text}"
            entries.append(
                Mutant(name, module, scope, right, wrong.strip(), tuple((checks or usual).split()))
            )
        elif line == "equivalent":
            entries = equivalent
        elif line and not line.startswith("#"):
            module, _, usual = line.partition(":")
    return planted, equivalent


@dataclass(frozen=True)
class Generated(Mutant):
    """An error made from the syntax tree: the text between two places is another."""

    start: int = 0
    stop: int = 0

    def planted(self, source: str) -> str:
        """The module's source with the error in it."""
        return source[: self.start] + self.wrong + source[self.stop :]

    def can_be_read(self) -> bool:
        """Whether the module is still Python: an argument may leave a comma behind."""
        try:
            ast.parse(self.planted(source_of(self.module)))
        except SyntaxError:
            return False
        return True


@cache
def generated() -> list[Generated]:
    """At most one error for each line of the modules of `GENERATED`.

    Which of the possible ones follows from the text of the line, so that a change elsewhere changes
    nothing. Named `module:line:kind`.
    """
    mutants = []
    for module, checks in GENERATED.items():
        source = source_of(module)
        lines = source.splitlines()
        choices: dict[int, list[Generated]] = {}
        for kind, start, stop, wrong in _errors(source):
            line = source.count("\n", 0, start)
            name = f"{module}:{line + 1}:{kind}"
            right, each = source[start:stop], False
            mutant = Generated(name, module, "", right, wrong, tuple(checks.split()), each, start, stop)
            choices.setdefault(line, []).append(mutant)
        for line, errors in choices.items():
            first = zlib.crc32(lines[line].strip().encode()) % len(errors)
            turned = errors[first:] + errors[:first]
            mutants += itertools.islice(filter(Generated.can_be_read, turned), 1)
    return mutants


_OPPOSITE = {"+": "-", "-": "+", "*": "/", "/": "*", "+=": "-=", "-=": "+="}

_BOUNDARY = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="}

_OF_MEMORY_AND_TIME = ("strict", "out", "same_rows")
"""Arguments that change no number."""

_FUNCTIONS = {"add": "subtract", "subtract": "add", "multiply": "divide", "maximum": "minimum"}


def _errors(source: str) -> Iterator[tuple[str, int, int, str]]:
    """Kind, start, stop and replacement of every error that can be made of a module."""
    starts = [len(line) for line in source.splitlines(keepends=True)]
    starts = _line_starts(source)
    lines = source.splitlines()

    def place(line: int, column: int) -> int:  # columns of the syntax tree count bytes
        return starts[line - 1] + len(lines[line - 1].encode()[:column].decode())

    def start(node: ast.expr) -> int:
        return place(node.lineno, node.col_offset)

    def stop(node: ast.expr | ast.keyword) -> int:
        return place(node.end_lineno or 0, node.end_col_offset or 0)

    def between(left: ast.expr, right: ast.expr, change: dict[str, str]) -> tuple[int, int, str] | None:
        text = source[stop(left) : start(right)]
        symbol = re.sub(r"[\s()]|#.*", "", text)
        if symbol not in change:
            return None
        return stop(left), start(right), text.replace(symbol, change[symbol], 1)

    def visit(node: ast.AST) -> Iterator[tuple[str, int, int, str]]:
        match node:
            case ast.Raise() | ast.JoinedStr():
                return  # messages
            case ast.Module(body=body) | ast.ClassDef(body=body):
                # constants and defaults are choices
                for child in body:
                    if isinstance(child, (ast.FunctionDef, ast.ClassDef)):
                        yield from visit(child)
                return
            case ast.FunctionDef(body=body):
                for child in body:
                    yield from visit(child)
                return
            case ast.BinOp(left=left, right=right) if not _is_text(left) and not _is_text(right):
                if swap := between(left, right, _OPPOSITE):
                    yield ("sign" if re.search(r"[-+]", swap[2]) else "factor"), *swap
                    if source[stop(left) : start(right)].strip() in _OPPOSITE:  # no parenthesis between
                        yield "term", stop(left), stop(right), ""
            case ast.Compare(left=left, comparators=[right]):
                if swap := between(left, right, _BOUNDARY):
                    yield "comparison", *swap
            case ast.Constant(value=int(value)) if not isinstance(value, bool):
                yield "off by one", start(node), stop(node), str(value + 1)
            case ast.AugAssign(target=target, value=augment):
                if swap := between(target, augment, _OPPOSITE):
                    yield "sign", *swap
            case ast.Call(func=ast.Attribute(value=ast.Name(id="np"), attr=name) as function):
                if name in _FUNCTIONS:
                    yield "function", start(function), stop(function), f"np.{_FUNCTIONS[name]}"
            case ast.Call(func=ast.Attribute(attr="reshape", value=value)):
                yield from visit(value)  # -1 and -2 are the same there
                return
            case ast.keyword(arg=str(name)) if name not in _OF_MEMORY_AND_TIME:
                yield "argument", place(node.lineno, node.col_offset), stop(node), ""
        for child in ast.iter_child_nodes(node):
            yield from visit(child)

    return visit(ast.parse(source))


def _is_text(node: ast.expr) -> bool:
    """Whether a summand is no number."""
    return isinstance(node, (ast.List, ast.Tuple)) or (
        isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes))
    )


TIMEOUT = 300
"""Seconds after which a check that has not ended counts as one that noticed: the error makes it hang."""


def arguments_of(check: str) -> list[str]:
    """The command line of a check, without the interpreter."""
    if check == "GRADIENTS":
        return ["charlm", "eval", "gradients", "--config", "configs/tales.yaml"]
    file, colons, test = check.partition("::")
    target = f"tests/test_{file}.py{colons}{test and 'test_' + test}"
    return ["pytest", "-x", "-n", "0", "-p", "no:cacheprovider", "--no-header", target]


def run(check: str, copy: Path) -> str:
    """Run one check in a copy of the repository: `yes`, `no`, `timeout`, `skipped`, or `cannot run`.

    A child is forked, which has pytest and NumPy, and nothing of the copy.
    """
    output = copy / "output.txt"
    child = os.fork()
    if not child:
        os.setsid()  # so that what the check starts ends with it
        log = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(log, stream)
        os.chdir(copy)
        sys.path[0] = str(copy)
        sys.argv = arguments_of(check)
        os.environ |= {"PYTHONPATH": str(copy), "CI": "1"}
        status = 1
        try:
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        except SystemExit as end:
            status = int(end.code or 0)
        finally:
            sys.stdout.flush()
            os._exit(status)
    end = time.monotonic() + TIMEOUT
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return outcome(os.waitstatus_to_exitcode(status), output.read_bytes())
        if time.monotonic() > end:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "timeout"
        time.sleep(0.02)


def outcome(status: int, output: bytes) -> str:
    """What the status of a check and its last line say; see `run`."""
    if status == 0 and re.search(rb"\d+ skipped.*\n\Z", output):
        return "skipped"  # the test that notices may be among those
    # 2: the tests cannot be collected; pytest has other statuses for tests that are not there
    return {0: "no", 1: "yes", 2: "yes"}.get(status, "cannot run")


NOTICED = ("yes", "timeout")
"""Answers of checks that notice an error."""


def verdict_on(mutant: Mutant, copies: Path) -> str:
    """Plant one error in this process's copy and run its checks: `found`, or what is wrong."""
    copy = copy_of_this_process(copies)
    file = copy / "charlm" / mutant.module
    try:
        source = file.read_text(encoding="utf-8")
        planted = mutant.planted(source)
    except (OSError, ValueError, KeyError) as error:
        return f"CANNOT BE PLANTED: {error}"
    missed = []
    try:
        file.write_text(planted, encoding="utf-8")
        for check in mutant.checks:
            answer = run(check, copy)
            if answer in NOTICED and not mutant.each:
                return "found"
            if answer not in NOTICED:
                missed.append(f"{_MISSED[answer]} {check}")
    finally:
        file.write_text(source, encoding="utf-8")
    return ", ".join(missed) or "found"


_MISSED = {"no": "SURVIVED", "skipped": "CANNOT RUN HERE, as tests are skipped:", "cannot run": "CANNOT RUN"}


def copy_of_this_process(copies: Path) -> Path:
    """A copy of the repository, made by the first call."""
    copy = copies / str(os.getpid())
    if not copy.exists():
        shutil.copytree(ROOT, copy, ignore=_not_copied)
        checked = py_compile.PycInvalidationMode.CHECKED_HASH  # two errors may have the same size and second
        compileall.compile_dir(copy / "charlm", quiet=1, invalidation_mode=checked)
    return copy


def unmutated(check: str, copies: Path) -> str:
    """Run one check without any error planted."""
    return run(check, copy_of_this_process(copies))


def _not_copied(directory: str, names: list[str]) -> set[str]:
    """What is no part of the repository: at its top whatever training and tools left there."""
    kept = {"charlm", "configs", "data", "tests", "pyproject.toml", "README.md", ".ci", ".github"}
    return set(names) - kept if Path(directory) == ROOT else {"__pycache__"}


def everything() -> list[Mutant]:
    """The mutants of the table, and the generated ones that are not equivalent."""
    planted, equivalent = table()
    same = {(one.module, one.planted(source_of(one.module))) for one in equivalent}
    return planted + [
        one for one in generated() if (one.module, one.planted(source_of(one.module))) not in same
    ]


def main() -> int:
    """Plant, run, print; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", help="only mutants whose name holds one of these")
    parser.add_argument("--list", action="store_true", help="print the mutants and run nothing")
    parser.add_argument("--jobs", type=int, default=2, help="copies of the repository that work side by side")
    parser.add_argument("--log", type=Path, help="a file of results; what it holds is not run again")
    arguments = parser.parse_args()
    chosen = [
        mutant
        for mutant in everything()
        if not arguments.words or any(word in mutant.name for word in arguments.words)
    ]
    if arguments.list:
        print(*(mutant.name for mutant in chosen), sep="\n")
        return 0
    known = {}
    if arguments.log and arguments.log.exists():
        known = dict(line.rsplit("\t", 1) for line in arguments.log.read_text().splitlines())
    chosen = [mutant for mutant in chosen if mutant.name not in known]
    verdicts = Counter(verdict == "found" for verdict in known.values())
    fork = multiprocessing.get_context("fork")
    with (
        tempfile.TemporaryDirectory() as copies,
        ProcessPoolExecutor(arguments.jobs, mp_context=fork) as pool,
        (arguments.log or Path(os.devnull)).open("a") as log,
    ):
        checks = sorted({check for mutant in chosen for check in mutant.checks})
        # in a copy, so that nothing that a copy lacks passes for a planted error
        answers = pool.map(unmutated, checks, [Path(copies)] * len(checks))
        wrong = [
            check for check, answer in zip(checks, answers, strict=True) if answer not in ("no", "skipped")
        ]
        if wrong:
            print(f"without any planted error these fail: {', '.join(wrong)}")
            return 1
        found = pool.map(verdict_on, chosen, [Path(copies)] * len(chosen))
        for mutant, verdict in zip(chosen, found, strict=True):
            verdicts[verdict == "found"] += 1
            print(f"{mutant.name}: {verdict}", flush=True)
            print(f"{mutant.name}\t{verdict}", file=log, flush=True)
    print(f"{verdicts[True]} of {verdicts.total()} found")
    return int(verdicts[False] > 0)


if __name__ == "__main__":
    sys.exit(main())
