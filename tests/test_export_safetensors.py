"""The weights as safetensors: PyTorch's equations with them are the network's."""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ENVIRONMENT, FORMS, Run, make_trainer
from exported import KINDS, make
from safetensors import safe_open
from safetensors.numpy import load_file

from charlm.arrays import Array, Ids
from charlm.export import safetensors
from charlm.nn import cells
from charlm.nn.workspace import Workspace
from charlm.runs import checkpoint
from charlm.runs.checkpoint import Checkpoint
from charlm.runs.description import describe, reading
from charlm.system.errors import ConfigError

HELD = [form for form in FORMS if form != "gru before"]
"""The recurrences that PyTorch has."""

Tensors = dict[str, Array]


def _sigmoid(a: Array) -> Array:
    return 1 / (1 + np.exp(-a))


def pytorch_logits(tensors: Tensors, cell: str, ids: Ids) -> Array:
    """Logits `[T, V]`, step by step as the documentation of `torch.nn.RNN`, `LSTM` and `GRU` has it."""
    tensors = {name: tensor.astype(np.float64) for name, tensor in tensors.items()}
    x = np.eye(tensors["rnn.weight_ih_l0"].shape[1])[ids]
    layer = 0
    while f"rnn.weight_ih_l{layer}" in tensors:
        W_ih, W_hh, b_ih, b_hh = (
            tensors[f"rnn.{name}_l{layer}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        h = c = np.zeros(W_hh.shape[1])
        outputs = []
        for x_t in x:
            inputs, recurrent = W_ih @ x_t + b_ih, W_hh @ h + b_hh
            if cell == "rnn":
                h = np.tanh(inputs + recurrent)
            elif cell == "lstm":
                i, f, g, o = np.split(inputs + recurrent, 4)
                c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
                h = _sigmoid(o) * np.tanh(c)
            else:
                (in_r, in_z, in_n), (h_r, h_z, h_n) = np.split(inputs, 3), np.split(recurrent, 3)
                r, z = _sigmoid(in_r + h_r), _sigmoid(in_z + h_z)
                n = np.tanh(in_n + r * h_n)
                h = (1 - z) * n + z * h
            outputs.append(h)
        x = np.stack(outputs)
        layer += 1
    return np.asarray(x @ tensors["output.weight"].T + tensors["output.bias"])


def difference(loaded: Checkpoint, tensors: Tensors) -> float:
    """The largest difference of these logits to those of `Model.forward`."""
    ids = np.random.default_rng(3).integers(0, loaded.model.vocab, 20)
    window = loaded.model.forward(loaded.parameters, ids[:, None], loaded.model.zero_state(1), Workspace())
    expected = window.output
    return float(np.abs(pytorch_logits(tensors, loaded.config.model.cell, ids) - expected[:, 0]).max())


@pytest.mark.parametrize(("form", "layers"), list(product(HELD, (1, 2, 3))))
def test_pytorch_equations_give_the_logits(form: str, layers: int, tmp_path: Path) -> None:
    """Every cell that PyTorch has, one to three layers: equal logits, from the file's own numbers."""
    loaded = make(tmp_path, form, layers=layers)
    safetensors.write(tmp_path / "x.safetensors", loaded)
    tensors = load_file(tmp_path / "x.safetensors")
    assert difference(loaded, tensors) < 2e-4
    assert all(tensor.dtype == np.float32 for tensor in tensors.values())


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_explains_itself(kind: str, tmp_path: Path, charlm: Run) -> None:
    """Names, shapes and metadata are those that were agreed on; there is no path; bytes are settled."""
    loaded = make(tmp_path, "lstm", kind, layers=2)
    checkpoint.save(tmp_path / "made.npz", loaded)
    files = [tmp_path / "one.safetensors", tmp_path / "two.safetensors"]
    charlm("export", files[0].name, "--checkpoint", "made.npz")
    for _ in range(5):  # the order of the metadata is random
        safetensors.write(files[1], loaded)
        assert files[0].read_bytes() == files[1].read_bytes()
    V, H = loaded.model.vocab, loaded.model.hidden
    with safe_open(files[0], "np") as file:
        metadata = file.metadata()
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    assert shapes == {
        **{f"rnn.weight_ih_l{layer}": [4 * H, H if layer else V] for layer in (0, 1)},
        **{f"rnn.weight_hh_l{layer}": [4 * H, H] for layer in (0, 1)},
        **{f"rnn.bias_{which}_l{layer}": [4 * H] for which in ("ih", "hh") for layer in (0, 1)},
        "output.weight": [V, H],
        "output.bias": [V],
    }
    assert metadata["format"] == "pt"
    about = json.loads(metadata["charlm"])
    assert about["vocabulary"] == loaded.vocabulary.codes.tolist()
    assert about["model"]["hidden"] == H
    assert "path" not in about["corpus"]
    assert str(tmp_path).encode() not in files[0].read_bytes()
    (length,) = struct.unpack("<Q", files[0].read_bytes()[:8])
    assert length % 8 == 0


@pytest.mark.parametrize(("form", "kind"), list(zip(HELD, ("jamo", "byte", "lines"), strict=True)))
def test_the_printed_lines_compute_logits(form: str, kind: str, tmp_path: Path, charlm: Run) -> None:
    """What `charlm export` prints is a program that loads the file into PyTorch, and is run where that is."""
    loaded = make(tmp_path, form, kind, layers=2)
    checkpoint.save(tmp_path / "made.npz", loaded)
    program = charlm("export", "it's.safetensors", "--checkpoint", "made.npz").stdout
    compile(program, "printed", "exec")
    pytest.importorskip("torch", reason="PyTorch is not installed")
    program += "\nprint(json.dumps([ids, logits.tolist()]))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=ENVIRONMENT, check=True, capture_output=True
    )
    ids, logits = json.loads(done.stdout)
    state = loaded.model.zero_state(1)
    window = loaded.model.forward(loaded.parameters, np.array(ids)[:, None], state, Workspace())
    expected = window.output
    assert np.abs(expected[:, 0] - logits).max() < 2e-4


def test_what_pytorch_lacks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The textbook GRU points to ONNX, a cell of one's own is named, and nothing is written."""
    monkeypatch.setitem(cells._REGISTRY, "own", {"": "charlm.nn.cells.rnn:RNN"})
    for form, message in (("gru before", r"export it as \.onnx"), ("own", "PyTorch has no own")):
        with pytest.raises(ConfigError, match=message):
            safetensors.write(tmp_path / "x.safetensors", make(tmp_path, form))
    assert not (tmp_path / "x.safetensors").exists()


def test_another_suffix_is_refused(tmp_path: Path, charlm: Run) -> None:
    """The suffixes that there are are named."""
    done = charlm("export", "x.bin", status=2)
    assert "the suffix must be one of .safetensors, .onnx, .html" in done.stderr


def test_a_vocabulary_of_ranges_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines that turn a text into ids do so by ranges of codes too, as of most of Unicode."""
    loaded = make_trainer(tmp_path).snapshot()
    monkeypatch.setattr("charlm.runs.checkpoint._LISTED", 3)
    names: dict[str, Any] = {"about": describe(loaded)}
    assert isinstance(names["about"]["vocabulary"][0], list)
    exec("\n".join(reading(loaded)), names)  # noqa: S102 (lines that are made to be pasted)
    assert names["ids"] == loaded.vocabulary.encode(np.array(names["codes"], np.uint32), "").tolist()
    assert list(names["known"]) == loaded.vocabulary.codes.tolist()


def test_the_lines_read_another_text_as_the_model_does(tmp_path: Path) -> None:
    """Whoever puts a text of their own into the lines gets the ids that the model would."""
    loaded = make(tmp_path, kind="mixed")
    text = "ÜBER ﬁnally"
    lines = re.sub(r"'[a-z]+'", repr(text), "\n".join(reading(loaded)))
    names: dict[str, Any] = {"about": describe(loaded)}
    exec(lines, names)  # noqa: S102 (likewise)
    assert names["ids"] == loaded.vocabulary.encode(loaded.vocabulary.units.codes(text), "").tolist()
