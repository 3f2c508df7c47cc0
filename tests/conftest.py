"""What the tests share: small models of every form, and the real command line."""

from __future__ import annotations

import io
import json
import math
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from browser import REQUIRED, Browser, Page, find_browser
from hypothesis import settings

from charlm.arrays import Array, Ids
from charlm.cli import main
from charlm.config.build import build_pipeline
from charlm.config.reading import resolve
from charlm.data.corpus import read_corpus
from charlm.data.sources import Source
from charlm.nn.activations import sigmoid_by_exp_into, sigmoid_by_tanh_into, sigmoid_form
from charlm.nn.cells import make_cell
from charlm.nn.loss import softmax_cross_entropy
from charlm.nn.model import Model
from charlm.nn.parameters import Parameters
from charlm.nn.tuning import TUNED, Tuning
from charlm.nn.workspace import Workspace
from charlm.optim.clipping import clip_factor, clip_values
from charlm.system import blas
from charlm.system.team import ALONE, Team
from charlm.training.job import Job
from charlm.training.trainer import Trainer

# a shell's & and nohup make a process ignore signals, which its children would go on to ignore
for _number in {signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGINT)}:
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.SIG_DFL)

# one BLAS thread in each process of the suite, as in each worker of a run
blas.prepare()

# CI looks at the same examples every time; elsewhere each run looks at new ones
settings.register_profile("quick", deadline=None, max_examples=25)  # other work may share the processor
settings.register_profile("thorough", deadline=None, max_examples=500)  # --hypothesis-profile thorough
settings.register_profile("ci", settings.get_profile("quick"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "quick")


def pytest_xdist_auto_num_workers() -> int:
    """One process more than there are CPUs, because many tests wait for commands and signals."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip on Windows what tests files and processes."""
    reason = "paths, line ends, signals, terminals and pipes are those of POSIX in these tests"
    for item in items if sys.platform == "win32" else ():
        if "tmp_path" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.skip(reason=reason))


FORMS = ("rnn", "lstm", "gru after", "gru before")
"""Every recurrence: the cells, and both forms of the GRU."""

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Encoded texts of the tests are kept apart from the user's own; matplotlib's list of fonts is not."""
    own = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    os.environ["MPLCONFIGDIR"] = ENVIRONMENT["MPLCONFIGDIR"] = os.path.join(own, "matplotlib")
    home = tmp_path_factory.mktemp("cache")
    os.environ["XDG_CACHE_HOME"] = ENVIRONMENT["XDG_CACHE_HOME"] = str(home)
    return home / "charlm"


def clip(gradients: Array, clip_norm: float, clip_value: float) -> float:
    """Clip all gradients in one piece, as workers do in spans; returns the norm before."""
    before, after = clip_values(gradients, clip_value)
    if math.isfinite(before):
        np.multiply(gradients, clip_factor(math.sqrt(after), clip_norm), gradients)
    return math.sqrt(before)


def make_model(form: str, layers: int = 1, vocab: int = 7, hidden: int = 5, **rest: Any) -> Model:
    """A small model of one of `FORMS`."""
    name, _, reset = form.partition(" ")
    return Model(make_cell(name, reset or "after"), vocab, hidden, layers, **rest)


def make_window(model: Model, T: int = 6, B: int = 3, seed: int = 0) -> tuple[Parameters, Ids, Ids, Array]:
    """Random float64 parameters (biases too), inputs and targets `[T, B]`, and a carried state."""
    rng = np.random.default_rng(seed)
    parameters = model.initialise(rng, "uniform", np.float64)
    parameters.flat += 0.3 * rng.standard_normal(parameters.flat.size)
    x, y = rng.integers(0, model.vocab, (2, T, B))
    return parameters, x, y, rng.standard_normal(model.zero_state(B).shape)


def draw_masks(model: Model, T: int, B: int, seed: int = 4) -> dict[str, Array]:
    """The noise of one window in float64."""
    rng = np.random.default_rng(seed)
    return {name: noise.draw(rng, np.empty(noise.shape)) for name, noise in model.noise(T, B).items()}


class Ran(NamedTuple):
    """What comes of a window."""

    logits: Array
    loss: float
    state: Array
    grads: Parameters
    dstate: Array


def run_window(
    model: Model,
    parameters: Parameters,
    x: Ids,
    y: Ids,
    state: Array,
    masks: Mapping[str, Array] | None = None,
    before: float = 0.0,
) -> Ran:
    """Forward and backward through one window; the gradients hold `before` when the backward pass begins."""
    grads = parameters.zeros_like()
    grads.flat[...] = before
    window = model.forward(parameters, x, state, Workspace(), masks)
    logits = window.output.copy()  # the loss writes its gradient into the memory of the logits
    loss, dlogits = softmax_cross_entropy(window.output.reshape(-1, model.vocab), y.reshape(-1))
    _, dstate = window.backward(grads, dlogits.reshape(logits.shape))
    return Ran(logits, loss, window.state, grads, dstate)


NARROW = Tuning(
    small=250,
    vector=2,
    widest=4,
    fewest_rows=2,
    worth_copying=2,
    block=3 * 4 * 6 * 12,  # 3 steps of the LSTM, 4 of the GRU
    few=0,
    sigmoid={"exp": sigmoid_by_tanh_into, "tanh": sigmoid_by_exp_into}[sigmoid_form()],
)
"""Blocks and tiles so small that small networks cross the limits of all; the sigmoid is the other one."""


@dataclass(frozen=True)
class Geometry:
    """The sizes of a window and of the network that runs it."""

    T: int
    B: int
    H: int
    layers: int
    vocab: int
    tuning: Tuning = TUNED

    def model(self, form: str, **rest: Any) -> Model:
        """A model of this size."""
        return make_model(form, self.layers, self.vocab, self.H, tuning=self.tuning, **rest)


GEOMETRIES = {
    # one block, no tiles
    "small": Geometry(T=6, B=3, H=5, layers=3, vocab=7),
    # what training uses: several blocks, of which the last is shorter, and tiles
    "training": Geometry(T=18, B=20, H=96, layers=2, vocab=40),
    # every limit crossed many times
    "narrow": Geometry(T=17, B=6, H=12, layers=2, vocab=9, tuning=NARROW),
    # a size that nothing divides
    "prime": Geometry(T=17, B=5, H=13, layers=2, vocab=9, tuning=NARROW),
}


@pytest.fixture(params=list(GEOMETRIES))
def geometry(request: pytest.FixtureRequest) -> Geometry:
    """Each of `GEOMETRIES`."""
    return GEOMETRIES[request.param]


@pytest.fixture
def host() -> Iterator[tuple[int | None, float]]:
    """The arithmetic of a program that uses charlm: three BLAS threads, and a switch interval."""
    (library,), interval = blas._openblas(), sys.getswitchinterval()
    blas._call(library, "set_num_threads", 3)
    sys.setswitchinterval(0.002)
    yield arithmetic_state()
    sys.setswitchinterval(interval)
    blas._call(library, "set_num_threads", 1)


def arithmetic_state() -> tuple[int | None, float]:
    """BLAS threads, and the interpreter's switch interval in seconds."""
    return blas.blas_threads(), round(sys.getswitchinterval(), 6)


Run = Callable[..., subprocess.CompletedProcess[str]]

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
"""For processes of the tests' own."""

ENVIRONMENT.pop("COLUMNS", None)  # the terminals of the tests say how wide they are


def on_terminal(arguments: list[str], directory: Path, shrink_to: int = 0) -> bytes:
    """What a command shows on a terminal, which may become that narrow once a bar is seen."""
    pty, termios = (
        pytest.importorskip(name, reason="the system has no terminals") for name in ("pty", "termios")
    )
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 100))
    with subprocess.Popen(
        [sys.executable, "-m", "charlm", *arguments],
        cwd=directory,
        env=ENVIRONMENT,
        stdin=slave,
        stdout=slave,
        stderr=slave,
    ) as process:
        os.close(slave)
        shown = b""
        while process.poll() is None or select.select([master], [], [], 0)[0]:
            if select.select([master], [], [], 0.1)[0]:
                try:
                    shown += os.read(master, 65536)
                    if shrink_to and b"nats, " in shown:
                        termios.tcsetwinsize(master, (24, shrink_to))
                except OSError:  # Linux reports the end of a terminal's other side as an error
                    break
    os.close(master)
    return shown


@pytest.fixture
def process(tmp_path: Path) -> Run:
    """The real command, as a process of its own in an empty directory."""

    def run(*arguments: str, status: int = 0, **options: Any) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "charlm", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            **options,
        )
        assert done.returncode == status, f"status {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return run


def command(
    directory: Path, *arguments: str, status: int = 0, input: str = ""
) -> subprocess.CompletedProcess[str]:
    """What `process` gives, from within this process: no interpreter is started, NumPy is there.

    Only the streams are not those of the operating system; tests of pipes, terminals and signals
    start a process.
    """
    streams = [
        io.TextIOWrapper(io.BytesIO(contents), encoding="utf-8", write_through=True)
        for contents in (input.encode(), b"", b"")
    ]
    found: object = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        patch.setattr(sys, "argv", ["charlm", *arguments])
        for name, stream in zip(("stdin", "stdout", "stderr"), streams, strict=True):
            patch.setattr(sys, name, stream)
        try:
            main()
        except SystemExit as end:
            found = end.code or 0
    _, shown, told = (stream.buffer.getvalue().decode() for stream in streams)  # type: ignore[attr-defined]
    assert found == status, f"status {found}\n{shown}\n{told}"
    return subprocess.CompletedProcess(arguments, status, shown, told)


@pytest.fixture
def charlm(tmp_path: Path) -> Run:
    """A function that runs a command in an empty directory; see `command`."""
    return partial(command, tmp_path)


@pytest.fixture
def small(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A directory with a small corpus, `text.txt`, and `small.yaml`, the module's `SMALL`, to train on it."""
    (tmp_path / "text.txt").write_text(TEXT)
    (tmp_path / "small.yaml").write_text(request.module.SMALL)
    return tmp_path


@pytest.fixture(scope="module")
def _trained(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    directory = tmp_path_factory.mktemp("trained")
    (directory / "text.txt").write_text(TEXT)
    (directory / "small.yaml").write_text(request.module.SMALL)
    command(directory, "train", "--config", "small.yaml")
    return directory


@pytest.fixture
def trained(_trained: Path, tmp_path: Path) -> Path:
    """What `small` holds, with the run of `small.yaml`, whose text is that of another directory."""
    return shutil.copytree(_trained, tmp_path, dirs_exist_ok=True)


MEASURED = ("chars_per_s", "seconds")
"""Keys of a log line that two equal runs do not have in common."""

TEXT = "the quick brown fox jumps over the lazy dog. " * 6 + "pack my box with five dozen jugs! " * 4


def make_trainer(
    directory: Path,
    threads: int = 1,
    dtype: npt.DTypeLike = np.float32,
    team: Team = ALONE,
    **values: Any,
) -> Trainer:
    """A small trainer on `TEXT`; `values` are keys with `__` for the dot, such as model__cell."""
    text = directory / "text.txt"
    if not text.exists():
        text.write_text(TEXT)
    settings = {
        "corpus.path": str(text),
        "corpus.split": (0.8, 0.2, 0.0),
        "model.hidden": 6,
        "model.layers": 2,
        "train.batch": 4,
        "train.seq_len": 7,
        "train.epochs": 5.0,
    }
    settings |= {name.replace("__", "."): value for name, value in values.items()}
    config = resolve(settings, name="small")
    corpus = read_corpus([Source(str(text))], build_pipeline(config.corpus), config.corpus.split)
    return Trainer(Job(config, corpus), team.of(workers=threads), dtype)


def _without_times(value: Any) -> Any:
    """JSON without what is measured, and without the number of workers and the directory."""
    measured = ("seconds", "chars_per_s", "log_bytes", "threads", "dir", "sha256")
    if isinstance(value, dict):
        return {name: _without_times(item) for name, item in value.items() if name not in measured}
    return value


def contents(run: Path) -> dict[str, Any]:
    """Both checkpoints and the log, to the last bit, times apart."""
    found: dict[str, Any] = {
        "log": [_without_times(json.loads(line)) for line in (run / "metrics.jsonl").read_text().splitlines()]
    }
    for name in ("best.npz", "last.npz"):
        with np.load(run / name, allow_pickle=False) as arrays:
            for key, array in arrays.items():
                value = array.tobytes()
                found[f"{name} {key}"] = _without_times(json.loads(value)) if key == "metadata" else value
    return found


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, started once; where it is missing tests are skipped, unless `REQUIRED` forbids it."""
    program = find_browser() if hasattr(os, "posix_spawn") else None
    if program is None:
        if os.environ.get(REQUIRED) == "required":
            pytest.fail(f"no Chromium was found, and {REQUIRED} is required")
        pytest.skip("no Chromium was found")
    with Browser(program) as started:
        yield started


@pytest.fixture(scope="session")
def tab(browser: Browser) -> Page:
    """A page that tests use one after the other: a new one takes longer than all of a test."""
    return browser.page()


@pytest.fixture
def page(tab: Page) -> Iterator[Page]:
    """A page; at the end of the test it must have reported no error, and loaded nothing but files."""
    tab.begin()
    yield tab
    assert tab.errors == []
    assert [url for url in tab.requests if not url.startswith(("file:", "data:", "about:"))] == []
