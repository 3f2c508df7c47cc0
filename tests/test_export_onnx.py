"""The ONNX graph: in ONNX Runtime it is what the network is here."""

from __future__ import annotations

import errno
import json
import os
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import FORMS, Run
from exported import KINDS, hidden_package, make, nats
from test_history import log_line, write_run

from charlm.arrays import Array, Ids
from charlm.config.build import build_text
from charlm.export import onnx as onnx_export
from charlm.nn import cells
from charlm.nn.parameters import Parameters
from charlm.nn.workspace import Workspace
from charlm.runs import checkpoint
from charlm.runs.checkpoint import Checkpoint
from charlm.system.errors import ConfigError


def run_graph(made: Any, ids: Ids, state: Array) -> tuple[Array, Array]:
    """Logits `[T, B, V]` and the state after `[L, S, B, H]`, by ONNX Runtime."""
    session = onnxruntime.InferenceSession(made.SerializeToString())
    names = [value.name for value in session.get_inputs()][1:]
    befores = {name: np.ascontiguousarray(state[:, s]) for s, name in enumerate(names)}
    logits, *after = session.run(None, {"ids": ids, **befores})
    return logits, np.stack(after, axis=1)


def difference(made: Any, loaded: Checkpoint, T: int, B: int) -> float:
    """The largest difference to `Model.forward`, of logits and states."""
    model, rng = loaded.model, np.random.default_rng(5)
    ids = rng.integers(0, model.vocab, (T, B))
    state = rng.standard_normal((model.layers, len(model.cell.states), B, model.hidden)).astype(np.float32)
    window = model.forward(loaded.parameters, ids, state, Workspace())
    expected, after = window.output, window.state
    logits, found = run_graph(made, ids, state)
    return float(max(np.abs(logits - expected).max(), np.abs(found - after).max()))


def _tame(parameters: Parameters) -> None:
    for name, array in parameters.items():
        if name.endswith("Wh"):
            array[...] = 0.5 * array


@pytest.mark.parametrize(("form", "layers"), list(product(FORMS, (1, 2, 3))))
def test_it_computes_what_the_network_does(form: str, layers: int, tmp_path: Path) -> None:
    """Every cell, one to three layers: single steps and sequences, one stream and several, any state."""
    # a recurrence that does not multiply the difference of two ways of rounding
    loaded = make(tmp_path, form, layers=layers, change=_tame)
    made = onnx_export.graph(loaded)
    for T, B in product((1, 40), (1, 3)):
        assert difference(made, loaded, T, B) < 1e-5


@pytest.mark.parametrize(("form", "kind"), list(zip(FORMS, ("char", "jamo", "byte", "lines"), strict=True)))
def test_perplexity(form: str, kind: str, tmp_path: Path) -> None:
    """ONNX Runtime scores 10,000 characters of a text as charlm does, to 1e-4 nats."""
    text = (KINDS[kind][0] * 3)[:10_000]
    assert len(text) == 10_000
    for layers in (1, 2, 3):
        loaded = make(tmp_path, form, kind, layers)
        encoded = build_text(loaded.config.corpus, loaded.vocabulary, text)
        losses = []
        made, model = onnx_export.graph(loaded), loaded.model
        starts = np.flatnonzero(encoded.ids == loaded.vocabulary.line_break) if kind == "lines" else [0]
        pieces = np.split(encoded.ids, starts[1:]) if kind == "lines" else [encoded.ids]
        if kind == "lines":  # from line break to line break
            pieces = [np.append(piece, piece[0]) for piece in pieces if len(piece) > 1]
        for length in {len(piece) for piece in pieces}:  # lines of one length side by side
            ids = np.stack([piece for piece in pieces if len(piece) == length], axis=1).astype(np.int64)
            logits, _ = run_graph(made, ids[:-1], model.zero_state(ids.shape[1]))
            logits = logits.astype(np.float64)
            chosen = np.take_along_axis(logits, ids[1:, :, None], axis=2)[..., 0]
            losses.append((np.log(np.exp(logits).sum(axis=2)) - chosen).ravel())
        assert np.concatenate(losses).mean() == pytest.approx(nats(loaded, text), abs=1e-4)


@pytest.mark.parametrize(
    ("form", "kind"), [*zip(FORMS, ("char", "jamo", "byte", "lines"), strict=True), ("lstm", "mixed")]
)
@pytest.mark.filterwarnings("error")
def test_the_printed_lines_compute_logits(
    form: str, kind: str, tmp_path: Path, charlm: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `charlm export` prints is a program that loads the file and gives the network's logits."""
    loaded = make(tmp_path, form, kind, layers=2)
    checkpoint.save(tmp_path / "made.npz", loaded)
    program = charlm("export", "it's.onnx", "--checkpoint", "made.npz").stdout
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(program, names)  # noqa: S102 -- what is printed is what is tested
    ids, logits = names["ids"], names["logits"][:, 0]
    assert len(ids) > 3
    state = loaded.model.zero_state(1)
    window = loaded.model.forward(loaded.parameters, np.array(ids)[:, None], state, Workspace())
    expected = window.output
    assert np.abs(expected[:, 0] - logits).max() < 1e-5


def test_the_file_is_settled(tmp_path: Path, charlm: Run) -> None:
    """Versions, names and symbolic sizes are those that were agreed on; equal input gives equal bytes."""
    loaded = make(tmp_path, "lstm", layers=2)
    checkpoint.save(tmp_path / "made.npz", loaded)
    files = [tmp_path / "one.onnx", tmp_path / "two.onnx"]
    for file in files:
        charlm("export", file.name, "--checkpoint", "made.npz")
    assert files[0].read_bytes() == files[1].read_bytes()
    made = onnx.load(files[0])
    assert (made.opset_import[0].version, made.ir_version) == (17, 8)
    values = [*made.graph.input, *made.graph.output]
    sizes = {
        value.name: [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in values
    }
    V, H = loaded.model.vocab, loaded.model.hidden
    states = {name: [2, "B", H] for name in ("h0", "c0", "hn", "cn")}
    assert sizes == {"ids": ["T", "B"], "logits": ["T", "B", V], **states}
    about = json.loads(made.metadata_props[0].value)
    assert made.metadata_props[0].key == "charlm"
    assert about["vocabulary"] == loaded.vocabulary.codes.tolist()
    assert str(tmp_path) not in made.metadata_props[0].value


@pytest.mark.parametrize(
    ("file", "arguments"),
    [
        ("made.onnx", ("export", "made.onnx", "--checkpoint", "made.npz")),
        ("made.html", ("export", "made.html", "--checkpoint", "made.npz")),
        ("made.png", ("plot", "run", "--out", "made.png")),
    ],
)
def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, charlm: Run, monkeypatch: pytest.MonkeyPatch, file: str, arguments: tuple[str, ...]
) -> None:
    """A full disk is one line that names the file; what was there before is there, and nothing else."""
    checkpoint.save(tmp_path / "made.npz", make(tmp_path, "rnn"))
    write_run(tmp_path / "run", [log_line(1)])
    (tmp_path / file).write_bytes(b"old")
    before = sorted(tmp_path.iterdir())

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    done = charlm(*arguments, status=1)
    assert (done.stdout, done.stderr) == ("", f"Error: {file} cannot be written: no space left on device\n")
    assert (tmp_path / file).read_bytes() == b"old"
    assert sorted(tmp_path.iterdir()) == before


def test_a_cell_that_onnx_lacks_is_refused(
    tmp_path: Path, charlm: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cell of one's own is one line that names it and those that there are; no file is written."""
    monkeypatch.setitem(cells._REGISTRY, "leaky", {"": "leaky:LeakyRNN"})
    checkpoint.save(tmp_path / "made.npz", make(tmp_path, "leaky"))
    done = charlm("export", "made.onnx", "--checkpoint", "made.npz", status=2)
    refusal = "Error: model.cell: ONNX has no leaky: .onnx holds rnn, lstm, gru\n"
    assert (done.stdout, done.stderr) == ("", refusal)
    assert not (tmp_path / "made.onnx").exists()


def test_too_many_parameters_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a file can hold is an error in one line."""
    monkeypatch.setattr(onnx_export, "_LARGEST", 1000)
    with pytest.raises(ConfigError, match=r"an \.onnx file holds 1,000 at most"):
        onnx_export.graph(make(tmp_path, "rnn"))


@pytest.mark.parametrize(
    ("package", "extra", "arguments"),
    [
        ("onnx", "export", ("export", "made.onnx", "--checkpoint", "made.npz")),
        ("safetensors", "export", ("export", "made.safetensors", "--checkpoint", "made.npz")),
        ("matplotlib", "plot", ("plot", "run", "--out", "made.png")),
    ],
)
def test_a_missing_package_is_named(
    package: str, extra: str, arguments: tuple[str, ...], tmp_path: Path
) -> None:
    """Without the extra the error is one line with the command that installs it, and no file is there."""
    checkpoint.save(tmp_path / "made.npz", make(tmp_path, "rnn"))
    write_run(tmp_path / "run", [log_line(1)])
    before = sorted(tmp_path.rglob("*"))
    done = hidden_package(package, tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"Error: the package {package} is missing: pip install 'charlm[{extra}]'\n"
    assert sorted(tmp_path.rglob("*")) == before
