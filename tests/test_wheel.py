"""The package as users get it: built, installed alone, and used far from its source."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, TEXT

BUILD = "import sys, setuptools.build_meta as backend; print(backend.build_wheel(sys.argv[1]))"


@pytest.mark.skipif(sys.platform == "win32", reason="programs have other places there")
def test_a_wheel_installed_alone_trains_and_samples(tmp_path: Path) -> None:
    """Built from the source, in an environment without the source, every command finds its files."""

    def run(*command: str | Path, directory: Path = tmp_path) -> str:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(
            command, cwd=directory, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    source, python = tmp_path / "source", tmp_path / "env" / "bin" / "python"
    shutil.copytree(ROOT / "charlm", source / "charlm", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    wheel = run(sys.executable, "-c", BUILD, tmp_path, directory=source).splitlines()[-1]
    run(sys.executable, "-m", "venv", "--without-pip", "env")
    pip = (sys.executable, "-m", "pip", "--python", python, "install")
    run(*pip, "-q", "--no-deps", "--no-index", "--no-compile", wheel)
    (site,) = (tmp_path / "env" / "lib").glob("*/site-packages")
    (site / "others.pth").write_text(str(Path(np.__file__).parents[1]))  # what the package needs

    assert _files(site / "charlm") == _files(source / "charlm")
    shutil.rmtree(source)
    (tmp_path / "text.txt").write_text(TEXT)
    assert run(python, "-c", "import charlm; print(charlm.__file__)").startswith(str(site))
    charlm = python.with_name("charlm")
    (tmp_path / "small.yaml").write_text("corpus: {path: text.txt}\nmodel: {hidden: 8}\ntrain: {batch: 4}\n")
    run(charlm, "train", "--config", "small.yaml", "--max-steps", "3")
    assert len(run(charlm, "sample", "--prime", "the ", "--length", "20")) > 4
    run(charlm, "export", "page.html")


def _files(package: Path) -> set[str]:
    names = (str(path.relative_to(package)) for path in package.rglob("*") if path.is_file())
    return {name for name in names if "__pycache__" not in name and not name.endswith(".md")}
