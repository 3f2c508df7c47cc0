"""What a walk through a directory, or a pattern, leaves out."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import ROOT, TEXT, Run
from test_history import log_line, write_run

from charlm.config.keys import Config
from charlm.data.cache import Cache
from charlm.data.walk import walked
from charlm.runs import checkpoint

GENERATOR = '<!doctype html>\n<meta name="generator" content="charlm 1">\n'

SMALL = """\
# an experiment
corpus: {path: ., split: [0.8, 0.1, 0.1]}
model: {hidden: 4, layers: 1}
train: {batch: 4, seq_len: 8, epochs: 1}
run: {sample_every: 0}
"""


def _run(directory: Path) -> None:
    directory.mkdir(parents=True)
    for name in ("config.yaml", "metrics.jsonl", "best.npz", "notes.txt"):
        (directory / name).write_text("")


def _walked(path: str) -> tuple[list[str], str]:
    walk = walked(path)
    assert walk is not None
    root, files, left_out = walk
    return [Path(file).relative_to(root).as_posix() for file in files], left_out


@pytest.mark.parametrize("pattern", ["", "/**", "/*.txt"])
def test_a_file_with_several_names_is_read_once(tmp_path: Path, pattern: str) -> None:
    """A link to a file that is read, and a link that leads back to its directory, add nothing."""
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "b.txt").symlink_to("a.txt")
    (tmp_path / "again").symlink_to(".")
    files, left_out = _walked(f"{tmp_path}{pattern}")
    assert files == ["a.txt"]
    assert left_out.startswith("other names of a file that is read: ")


@pytest.mark.parametrize("pattern", ["", "/**", "/[a-z]*"])
def test_runs_are_left_out(tmp_path: Path, pattern: str) -> None:
    """Run directories and what is below them are left out, at any depth, and counted with their names."""
    (tmp_path / "texts").mkdir()
    for name in ("a.txt", "texts/b.txt"):
        (tmp_path / name).write_text(name)
    for name in ("runs/one", "runs/two", "texts/three"):
        _run(tmp_path / name)
    _run(tmp_path / "runs/two/below")
    files, left_out = _walked(f"{tmp_path}{pattern}")
    if pattern == "/[a-z]*":
        assert (files, left_out) == (["a.txt"], "")
        assert _walked(f"{tmp_path}/*/*/*.txt") == (
            [],
            "run directories: 3 (runs/one, runs/two, …)",
        )
    else:
        assert files == ["a.txt", "texts/b.txt"]
        assert left_out == "run directories: 3 (runs/one, runs/two, …)"


@pytest.mark.parametrize("pattern", ["", "/*", "/**"])
@pytest.mark.parametrize("folder", ["run", "[r]un"])
def test_a_run_directory_that_is_walked_itself(tmp_path: Path, pattern: str, folder: str) -> None:
    """Texts in a directory that became that of a run are read, and what charlm wrote there is not."""
    _run(tmp_path / folder)
    (tmp_path / folder / "config.yaml").write_text(Config().to_commented_yaml())
    (tmp_path / folder / "metrics.jsonl").write_text('{"step": 1, "epoch": 0.1}\n')
    path = str(tmp_path / folder) + pattern
    files, left_out = _walked(path if not pattern else path.replace("[r]", "[[]r]"))
    assert files == ["notes.txt"]
    assert left_out == "written by charlm: 3 (best.npz, config.yaml, …)"


def test_what_is_hidden_is_left_out(tmp_path: Path) -> None:
    """Hidden files and directories are left out of a directory, each counted once."""
    for name in (".git/a", ".git/b/c", "texts/.swp", "texts/a.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    assert _walked(str(tmp_path)) == (["texts/a.txt"], "hidden: 2 (.git, texts/.swp)")
    assert _walked(f"{tmp_path}/**") == (["texts/a.txt"], "")
    assert _walked(f"{tmp_path}/*/.s*") == (["texts/.swp"], ""), "a pattern can name them"


def test_what_a_pattern_finds_twice_is_read_once(tmp_path: Path) -> None:
    """That is no other name of a file, and nothing is left out."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c.txt").write_text("c")
    assert _walked(f"{tmp_path}/**/**/*.txt") == (["a/b/c.txt"], "")


@pytest.mark.parametrize(
    ("name", "contents", "kept"),
    [
        ("page.html", GENERATOR, False),
        ("page.HTM", GENERATOR, False),
        ("page.html", GENERATOR.replace("charlm", "pandoc"), True),
        ("page.txt", GENERATOR, True),
        ("page.html", GENERATOR + 10_000 * " ", False),
        ("curves.pdf", f"%PDF{10_000 * ' '}/Creator (charlm){1_000 * ' '}", False),
        ("my.yaml", SMALL, False),
        ("my.yml", Config().to_commented_yaml(), False),
        ("my.yaml", "", False),
        ("my.yaml", "title: the corpus: a study\n", True),
        ("previews.jsonl", '{"step": 3, "epoch": 1.0, "text": "a"}\n', False),
        ("posts.jsonl", '{"text": "a {\\"step\\": 3"}\n', True),
        ("weights.safetensors", "", False),
        ("weights.onnx", "", False),
        ("last.npz", "", False),
        ("events.out.tfevents.1.host.2.charlm", "", False),
        ("story.txt", "charlm", True),
        ("index.ids", "1 2 3\n", True),
    ],
)
def test_what_charlm_writes_is_known_by_name_and_contents(
    tmp_path: Path, name: str, contents: str, kept: bool
) -> None:
    """Exports, pictures, logs and configurations are left out; files of others with such names are read."""
    (tmp_path / name).write_text(contents)
    assert walked(str(tmp_path / name)) is None, "the path of a single file is no walk"
    assert _walked(str(tmp_path)) == (([name], "") if kept else ([], f"written by charlm: 1 ({name})"))


def test_what_charlm_writes_has_its_signature(tmp_path: Path) -> None:
    """The templates of the pages, a real log and a cached text are among what is left out."""
    write_run(tmp_path / "run", [log_line(10), log_line(20)])
    Cache(tmp_path).store("key", ["a.txt"], {}, [97], [])
    pages = [page for page in (ROOT / "charlm").rglob("*.html") if "<html" in page.read_text()]
    assert pages
    for page in pages:
        (tmp_path / page.name).write_bytes(page.read_bytes())
    assert _walked(str(tmp_path))[0] == []


@pytest.mark.parametrize(
    ("settings", "out"),
    [
        ([], "runs/small"),
        (["corpus.path='**'"], "runs/small"),
        (["corpus.path=books", "corpus.validation=books/two", "corpus.test='books/**'"], "books/two/run"),
        (["corpus.path=books/one"], "books/one"),
    ],
    ids=["directory", "pattern", "splits", "itself"],
)
def test_what_charlm_writes_is_not_read(charlm: Run, tmp_path: Path, settings: list[str], out: str) -> None:
    """A run below its own text can be scored, resumed and repeated: the text stays what it was."""
    (tmp_path / "small.yaml").write_text(SMALL)
    for name in ("one", "two"):
        (tmp_path / "books" / name).mkdir(parents=True)
        (tmp_path / "books" / name / "text.txt").write_text(TEXT)
    sets = [part for setting in settings for part in ("--set", setting)]
    train = ("train", "--config", "small.yaml", *sets)
    charlm(*train, "--out", out, "--max-steps", "2")
    shown = charlm("train", "--config", out, "--resume").stderr
    assert "Warning: left out of " in shown
    charlm("eval", "perplexity", "--checkpoint", out)
    charlm("export", "--checkpoint", out, "books/one/page.html")
    charlm("sample", "--checkpoint", out, "--length", "30", "--novelty")
    charlm(*train, "--out", "books/one/again")
    first, second = (checkpoint.load(tmp_path / run / "last.npz").corpus for run in (out, "books/one/again"))
    assert first == second
    (tmp_path / "books/one/again/sample.txt").write_text("saved from the terminal")
    assert "left out of" in charlm("eval", "perplexity", "--checkpoint", out).stderr


def test_a_run_does_not_hide_its_text(charlm: Run, tmp_path: Path) -> None:
    """A run directory that holds texts found by a walk is refused: the next walk would leave them out."""
    (tmp_path / "small.yaml").write_text(SMALL)
    (tmp_path / "books").mkdir()
    (tmp_path / "books/text.txt").write_text(TEXT)
    refused = charlm("train", "--config", "small.yaml", "--out", "books", status=1).stderr
    assert "books/text.txt is within the directory of the run, books" in refused
    assert "--out DIR" in refused
    assert [file.name for file in (tmp_path / "books").iterdir()] == ["text.txt"]
    charlm("train", "--config", "small.yaml", "--corpus", "books/text.txt", "--out", "books")
    charlm("eval", "perplexity", "--checkpoint", "books")
