"""Weights from files: those that charlm wrote, and those of PyTorch's models."""

from __future__ import annotations

import json
import re
import tracemalloc
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Run
from exported import KINDS, TALES, hidden_package, make, nats
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from test_export_safetensors import HELD, Tensors, pytorch_logits

from charlm.export import safetensors
from charlm.nn.parameters import Parameters
from charlm.nn.workspace import Workspace
from charlm.runs import checkpoint, importing
from charlm.runs.tensors import Tensors as Stored
from charlm.system.errors import CharlmError, CheckpointError


@pytest.mark.parametrize(("form", "kind"), list(zip(cycle(HELD), KINDS, strict=False)))
def test_what_was_exported_comes_back(form: str, kind: str, tmp_path: Path, charlm: Run) -> None:
    """Export, import, export: equal parameters, vocabulary and reading, and equal bytes."""
    loaded = make(tmp_path, form, kind, layers=2)
    safetensors.write(tmp_path / "one.safetensors", loaded)
    charlm("import", "one.safetensors", "--out", "run")
    again = checkpoint.load(tmp_path / "run/best.npz")
    assert again.parameters.flat.tobytes() == loaded.parameters.flat.tobytes()
    assert again.vocabulary == loaded.vocabulary
    assert again.config.model == loaded.config.model
    assert again.config.run.dir == "run"
    text = KINDS[kind][0][:500]
    assert nats(again, text) == nats(loaded, text)
    charlm("export", "two.safetensors", "--checkpoint", "run")
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "two.safetensors").read_bytes()


def test_an_imported_run_works(tmp_path: Path, charlm: Run) -> None:
    """It generates, scores, and begins new runs; what it cannot do is one line."""
    safetensors.write(tmp_path / "x.safetensors", make(tmp_path, "lstm"))
    out = charlm("import", "x.safetensors", "--out", "run").stdout
    assert "charlm sample --checkpoint run" in out
    (tmp_path / "short.txt").write_text(TALES[:400])
    assert len(charlm("sample", "--checkpoint", "run", "--length", "20", "--prime", "he").stdout) == 23
    scored = charlm("eval", "perplexity", "--checkpoint", "run", "--corpus", "short.txt", "--json").stdout
    assert json.loads(scored)["characters"] == 399
    charlm("train", "--corpus", "short.txt", "--init", "run", "--minutes", "0.04", "--out", "new")
    for command, message in (
        (("eval", "perplexity", "--checkpoint", "run"), "name one with --corpus FILE"),
        (("train", "--config", "run", "--corpus", "short.txt", "--resume"), "--init run begins a new run"),
        (("import", "x.safetensors", "--out", "run"), "run already holds a run"),
    ):
        done = charlm(*command, status=1)
        assert message in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_model_without_a_text_says_so(tmp_path: Path, charlm: Run) -> None:
    """Of a network of PyTorch's no text is known: what needs one says so, and a page does not count it."""
    _stored(tmp_path, _foreign("lstm", 1, 3, 2, 4, "r. o. e."), "a\nb")
    (tmp_path / "t.txt").write_text("ab\nba\nbb\n" * 9)
    charlm(*IMPORT)
    for command, message in (
        (("eval", "perplexity"), "came without the text that it was trained on: name one with --corpus FILE"),
        (("eval", "perplexity", "--corpus", "t.txt", "--dynamic"), "--dynamic needs the text"),
        (("eval", "gradient-flow"), "it was trained on: name one with --corpus FILE"),
        (("report",), "came without the text that it was trained on: name one with --text FILE"),
    ):
        run = ("run",) if command == ("report",) else ("--checkpoint", "run")
        done = charlm(*command, *run, status=1)
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
    done = charlm("train", "--config", "run", "--resume", status=1)
    assert "holds weights that were imported, and no training to continue" in done.stderr
    charlm("export", "page.html", "--checkpoint", "run")
    assert "trained on" not in (tmp_path / "page.html").read_text()
    assert charlm("info", "--checkpoint", "run").stdout.startswith("run/best.npz")


def test_zeros_keep_their_signs(tmp_path: Path, charlm: Run) -> None:
    """Export, import, export gives equal bytes even where a bias is -0."""

    def negate(parameters: Parameters) -> None:
        for name, array in parameters.items():
            if name.endswith(("b", "bn")):
                array[...] = -0.0

    for form in HELD:
        loaded = make(tmp_path, form, layers=2, change=negate)
        safetensors.write(tmp_path / "one.safetensors", loaded)
        again = importing.load(tmp_path / "one.safetensors")
        assert again.parameters.flat.tobytes() == loaded.parameters.flat.tobytes()
        safetensors.write(tmp_path / "two.safetensors", again)
        assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "two.safetensors").read_bytes()


@pytest.mark.parametrize("there", [True, False])
def test_a_run_is_made_whole_or_not_at_all(
    there: bool, tmp_path: Path, charlm: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a checkpoint cannot be written, nothing of the run is left, and what was there before is."""
    safetensors.write(tmp_path / "x.safetensors", make(tmp_path, "rnn"))
    if there:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "notes").write_text("mine")
    save = checkpoint.save

    def fail(path: Path, made: checkpoint.Checkpoint) -> None:
        if path.name == "last.npz":
            raise CheckpointError(f"checkpoint {path} cannot be written: no space left on device")
        save(path, made)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", fail)
        assert "no space left" in charlm("import", "x.safetensors", "--out", "run", status=1).stderr
    assert [file.name for file in (tmp_path / "run").glob("*")] == (["notes"] if there else [])
    assert (tmp_path / "run").exists() == there
    charlm("import", "x.safetensors", "--out", "run")


def test_a_configuration_of_ones_own_is_kept(tmp_path: Path, charlm: Run) -> None:
    """A config.yaml that belongs to no run is neither replaced nor removed."""
    safetensors.write(tmp_path / "x.safetensors", make(tmp_path, "rnn"))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("model: {}")
    assert "belongs to no run" in charlm("import", "x.safetensors", "--out", "run", status=1).stderr
    assert (tmp_path / "run" / "config.yaml").read_text() == "model: {}"


def _prefixes(names: str) -> list[str]:
    """What the names of the network, of its output and of its embedding begin with; `-` is nothing."""
    return [name.replace("-", "") for name in names.split()]


def _foreign(form: str, layers: int, V: int, E: int | None, H: int, names: str) -> Tensors:
    """Weights such as PyTorch's, with names such as `names` gives."""
    G = {"rnn": 1, "gru after": 3, "lstm": 4}[form]
    rng = np.random.default_rng(2)

    def some(*shape: int) -> Any:
        return rng.standard_normal(shape).astype(np.float32) / 2

    rnn, output, embedding = _prefixes(names)
    tensors = {output + "weight": some(V, H), output + "bias": some(V)}
    if E:
        tensors[embedding + "weight"] = some(V, E)
    for layer in range(layers):
        tensors[f"{rnn}weight_ih_l{layer}"] = some(G * H, H if layer else E or V)
        tensors[f"{rnn}weight_hh_l{layer}"] = some(G * H, H)
        for bias in ("bias_ih", "bias_hh"):
            tensors[f"{rnn}{bias}_l{layer}"] = some(G * H)
    return tensors


CHARACTERS = "zab\nqé한m"

IMPORT = ("import", "x.safetensors", "--out", "run", "--vocabulary", "v.json")


def _stored(
    directory: Path, tensors: Tensors, characters: str = CHARACTERS, metadata: dict[str, str] | None = None
) -> tuple[Path, Path]:
    """The files of weights and of their vocabulary, as `IMPORT` names them."""
    weights, vocabulary = directory / "x.safetensors", directory / "v.json"
    save_file(tensors, weights, metadata)
    vocabulary.write_text(json.dumps(list(characters)))
    return weights, vocabulary


@pytest.mark.parametrize(
    ("form", "layers", "E", "names"),
    [
        ("lstm", 1, None, "rnn. fc. -"),
        ("lstm", 2, 3, "lstm. decoder. encoder."),
        ("lstm", 1, 7, "lstm. head. emb."),  # as wide as the network
        ("lstm", 1, 7, "lstm. b. a."),  # only the bias tells which is the output
        ("gru after", 3, 8, "model.gru. model.linear. model.embedding."),  # as wide as the vocabulary
        ("gru after", 1, None, "gru. out. -"),
        ("rnn", 2, 5, "rnn. fc. embed."),
        ("rnn", 1, None, "- fc. -"),
        ("gru after", 1, 3, "module.rnn. module.decoder. module.encoder."),  # ShardedUpdate
        ("lstm", 2, 3, "_orig_mod.lstm. _orig_mod.fc. _orig_mod.embed."),  # torch.compile
    ],
)
def test_networks_of_pytorch(
    form: str, layers: int, E: int | None, names: str, tmp_path: Path, charlm: Run
) -> None:
    """Any names, with an embedding and without, ids in any order: PyTorch's equations and ours agree."""
    tensors = _foreign(form, layers, len(CHARACTERS), E, 7, names)
    _stored(tmp_path, tensors)
    out = charlm(*IMPORT).stdout
    assert ("tanh" in out) == (form == "rnn")
    loaded = checkpoint.load(tmp_path / "run/last.npz")
    _check_logits(loaded, tensors, form, names, E)


def _check_logits(
    loaded: checkpoint.Checkpoint, tensors: Tensors, form: str, names: str, E: int | None
) -> None:
    """Assert that a model has the logits of PyTorch's equations; absent biases are zero."""
    rnn, output, embedding = _prefixes(names)
    V, rows = len(CHARACTERS), tensors[f"{rnn}weight_hh_l0"].shape[:1]
    plain = {f"rnn.{name.removeprefix(rnn)}": tensor for name, tensor in tensors.items() if "_l" in name}
    for layer in range(loaded.config.model.layers):
        for bias in (f"rnn.bias_ih_l{layer}", f"rnn.bias_hh_l{layer}"):
            plain.setdefault(bias, np.zeros(rows, np.float32))
    if E:
        plain["rnn.weight_ih_l0"] = plain["rnn.weight_ih_l0"] @ tensors[embedding + "weight"].T
    plain["output.weight"] = tensors[output + "weight"]
    plain["output.bias"] = tensors.get(output + "bias", np.zeros(V, np.float32))
    text = "qz한éab\nmz" * 2
    theirs = pytorch_logits(plain, form.split()[0], np.array([CHARACTERS.index(c) for c in text]))
    ids = loaded.vocabulary.encode(loaded.vocabulary.units.of_text(text), "it")
    window = loaded.model.forward(loaded.parameters, ids[:, None], loaded.model.zero_state(1), Workspace())
    ours = window.output
    order = [CHARACTERS.index(chr(code)) for code in loaded.vocabulary.codes.tolist()]
    assert np.abs(ours[:, 0] - theirs[:, order]).max() < 1e-4


@pytest.mark.parametrize(
    ("names", "left_out", "tie"),
    [
        ("lstm. decoder. encoder.", "decoder.weight", {"decoder.weight": "encoder.weight"}),
        ("lstm. decoder. encoder.", "encoder.weight", {"encoder.weight": "decoder.weight"}),
        ("lstm. decoder. encoder.", "decoder.(weight|bias)", {"decoder.weight": "encoder.weight"}),
        ("lstm. head. tok.", "head.bias", {}),
        ("lstm. lm_head. wte.", "lm_head.bias|.*bias_.*", {}),
        ("encoder.lstm. encoder.fc. encoder.embed.", "encoder.fc.bias", {}),
    ],
)
@pytest.mark.parametrize("cell", [False, True])
def test_tied_weights_and_absent_biases(
    names: str, left_out: str, tie: dict[str, str], cell: bool, tmp_path: Path
) -> None:
    """Weights that the metadata tie, layers without biases, and an nn.LSTMCell are read."""
    V = len(CHARACTERS)
    tensors = _foreign("lstm", 1, V, 7, 7, names)
    for name, kept in tie.items():
        tensors[name] = tensors[kept]
    written = {name: tensor for name, tensor in tensors.items() if not re.fullmatch(left_out, name)}
    tensors = written | {name: tensors[name] for name in tie}
    if cell:
        written = {name.removesuffix("_l0"): tensor for name, tensor in written.items()}
    loaded = importing.load(*_stored(tmp_path, written, metadata=tie))
    _check_logits(loaded, tensors, "lstm", names, 7)


def test_a_tensor_that_is_there_is_not_tied(tmp_path: Path) -> None:
    """Metadata cannot replace a tensor by another."""
    both = {"a": np.ones(2, np.float32), "b": np.zeros(2, np.float32)}
    save_file(both, tmp_path / "x", metadata={"a": "b"})
    with (tmp_path / "x").open("rb") as stream:
        assert Stored(stream).array("a").tolist() == [1, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"decoder.weight": None}, "encoder.weight cannot be both .*save_file.{k: v.clone"),
        ({"encoder.weight": None}, "decoder.weight cannot be both .*save_file.{k: v.clone"),
        ({"encoder.weight": "a.weight", "decoder.weight": "b.weight"}, "the embedding must hold 'emb'"),
    ],
)
def test_where_a_tie_is_possible_the_error_helps(
    change: dict[str, str | None], message: str, tmp_path: Path
) -> None:
    """Where the embedding and the output cannot be told apart, the error says what to write."""
    tensors = _foreign("lstm", 1, len(CHARACTERS), 7, 7, "lstm. decoder. encoder.")
    del tensors["decoder.bias"]
    for name, other in change.items():
        tensor = tensors.pop(name)
        if other:
            tensors[other] = tensor
    stored = _stored(tmp_path, tensors, metadata={"a\x1b.weight": "lstm.weight_hh_l0"})
    with pytest.raises(CheckpointError, match=message) as caught:
        importing.load(*stored)
    assert "\x1b" not in str(caught.value)


def _layers(number: int) -> Tensors:
    """An LSTM of many layers without biases, as `_foreign` calls its first, and 7 inputs."""
    both = ("weight_ih", "weight_hh")
    return {
        f"lstm.{name}_l{layer}": np.ones((28, 7 if layer or name == "weight_hh" else 3), np.float32)
        for name in both
        for layer in range(number)
    } | {
        f"lstm.{bias}_l{layer}": np.ones(28, np.float32)
        for bias in ("bias_ih", "bias_hh")
        for layer in range(number)
    }


def _without(name: str) -> Callable[[Tensors], object]:
    return lambda tensors: tensors.pop(name)


def _with(name: str, *shape: int, dtype: Any = np.float32) -> Callable[[Tensors], object]:
    return lambda tensors: tensors.__setitem__(name, np.ones(shape, dtype))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_with("lstm.weight_ih_l0_reverse", 28, 3), "a bidirectional network cannot generate"),
        (_with("lstm.weight_hr_l0", 4, 7), "charlm has no projections"),
        (_with("norm.weight", 7), "norm.weight: charlm does not normalise layers"),
        (_with("lstm.ln_ih.weight", 7), "lstm.ln_ih.weight: charlm does not normalise layers"),
        (_with("hidden.weight", 7, 7), "charlm has no layer for hidden.weight"),
        (_with("lstm.weight_ci", 7), "lstm.weight_ci: charlm has no peepholes"),
        (_with("lstm.weight_hh_l2", 28, 7), "rnn.weight_ih_l1 is missing"),
        (_with("lstm.weight_ih_l0"), "lstm.weight_ih_l0 is a number"),
        (lambda tensors: tensors.update(_layers(1001)), "model.layers: 1001 is above 1,000"),
        (lambda tensors: tensors["emb.weight"].fill(3e38), "beyond float32"),
        (_with("fc2.weight", 8, 7), "one output layer of 8 characters x 7 units .* fc2.weight 8 x 7"),
        (_with("other.weight_ih_l0", 28, 3), "2 recurrent networks .* of the next layer of the first"),
        (_with("lstm.weight_hh_l0_raw", 28, 7), "lstm.weight_hh_l0_raw: write the plain weight"),
        (_with("h0", 1, 1, 7), "no layer for h0: .* without what is not used"),
        (
            lambda tensors: (_without("emb.weight")(tensors), _with("lstm.weight_ih_l0", 28, 9)(tensors)),
            "takes 9 inputs; without an nn.Embedding it must take the 8 characters",
        ),
        (_without("fc.weight"), "one output layer of 8 characters x 7 units"),
        (_without("lstm.weight_ih_l0"), "no weight_ih_l0 of an nn.RNN"),
        (_without("lstm.weight_hh_l0"), "lstm.weight_hh_l0 is not the recurrent matrix"),
        (_with("lstm.weight_hh_l0", 35, 7), "not the recurrent matrix of 1 gate"),
        (_with("lstm.bias_ih_l0", 27), "bias_ih_l0 is 27, and must be 28"),
        (_with("fc.bias", 8, dtype=np.int32), "of type I32"),
        (lambda tensors: tensors["fc.bias"].fill(np.nan), "fc.bias holds numbers that are not finite"),
        (_with("lstm.weight_ih_l0", 28, 4), "weight_ih_l0|no layer for emb.weight"),
    ],
)
def test_what_cannot_be_converted_says_why(
    change: Callable[[Tensors], object], message: str, tmp_path: Path, charlm: Run
) -> None:
    """Networks that charlm does not have, and files that are none, are one line; nothing is left behind."""
    tensors = _foreign("lstm", 1, 8, 3, 7, "lstm. fc. emb.")
    change(tensors)
    _stored(tmp_path, tensors)
    done = charlm(*IMPORT, status=1)
    assert done.stderr.count("\n") == 1
    assert re.search(message, done.stderr), done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        ('["a", "bc"]', "id 1 of v.json is 'bc', not one character"),
        ('["a", "a"]', "holds 'a' twice"),
        ('{"a": 1, "b": 2}', "id 0 of v.json is None, not one character"),
        ('{"a": 0, "b": 0}', "id 1 of v.json is None, not one character"),
        ('{"0": "a", "2": "b"}', "id 1 of v.json is None, not one character"),
        ('{"0": "a", "1": "a"}', "holds 'a' twice"),
        ('{"a": 0, "<pad>": 1}', "id 1 of v.json is '<pad>', not one character"),
        ('{"a": true, "b": false}', "id 0 of v.json is None, not one character"),
        ('"ab"', "is neither a list of characters"),
        ("[", "is not JSON"),
        ("[]", "is neither a list"),
        ("{}", "is neither a list"),
        ("[1]", "id 0 of v.json is 1"),
        ('["a", "\\ud800"]', "id 1 of v.json is '\\ud800', not one character"),
        (json.dumps([*map(chr, range(0x10000, 0x2FFFF)), "z", "z"]), "holds 'z' twice"),
    ],
)
def test_vocabularies_are_checked(vocabulary: str, message: str, tmp_path: Path, charlm: Run) -> None:
    """A list or mapping that is not of single, different characters says which id is wrong."""
    _, file = _stored(tmp_path, _foreign("lstm", 1, 2, None, 3, "r. o. e."))
    file.write_text(vocabulary)
    done = charlm(*IMPORT, status=2)
    assert message in done.stderr


@pytest.mark.parametrize(
    "mapping", [{c: k for k, c in enumerate("z1ab0")}, {str(k): c for k, c in enumerate("z1ab0")}]
)
def test_a_vocabulary_may_be_a_mapping(mapping: dict[str, Any], tmp_path: Path) -> None:
    """Characters to ids (stoi) or ids to characters (itos), in any order, are as good as the list."""
    save_file(_foreign("lstm", 1, 5, None, 3, "r. o. e."), tmp_path / "x.safetensors")
    for name, listed in (("list", list("z1ab0")), ("map", dict(sorted(mapping.items(), reverse=True)))):
        (tmp_path / name).write_text(json.dumps(listed))
    expected, loaded = (
        importing.load(tmp_path / "x.safetensors", tmp_path / name) for name in ("list", "map")
    )
    assert loaded.vocabulary == expected.vocabulary
    assert loaded.parameters.flat.tobytes() == expected.parameters.flat.tobytes()


def test_the_right_vocabulary_is_asked_for(tmp_path: Path, charlm: Run) -> None:
    """One is needed for foreign weights, and refused for our own; pickles are never opened."""
    save_file(_foreign("lstm", 1, 2, None, 3, "r. o. e."), tmp_path / "x.safetensors")
    assert "add --vocabulary FILE" in charlm("import", "x.safetensors", "--out", "r", status=2).stderr
    safetensors.write(tmp_path / "own.safetensors", make(tmp_path, "rnn"))
    command = ("import", "own.safetensors", "--out", "r", "--vocabulary", "v.json")
    assert "has its own" in charlm(*command, status=2).stderr
    done = charlm("import", "own.npz", "--out", "r", status=2)
    assert "--checkpoint own.npz" in done.stderr
    for beginning, name in (
        (b"PK\x03\x04", "zip.safetensors"),
        (b"\x80\x02\x8a\x0a", "old"),
        (b"\x80\x04\x95\0", "x.pt"),
    ):
        (tmp_path / name).write_bytes(beginning + bytes(100))
        done = charlm("import", name, "--out", "r", status=2)
        assert "safetensors.torch.save_file({k: v.clone() for k, v in" in done.stderr


def test_import_needs_no_extra(tmp_path: Path) -> None:
    """Weights are read by charlm itself, which checks them first."""
    safetensors.write(tmp_path / "x.safetensors", make(tmp_path, "rnn"))
    done = hidden_package("safetensors", tmp_path, "import", "x.safetensors", "--out", "run")
    assert done.returncode == 0, done.stderr


def test_half_precision(tmp_path: Path) -> None:
    """Numbers of 16 bits, in both forms, and of 64 become float32."""
    made = make(tmp_path, "rnn")
    safetensors.write(tmp_path / "x.safetensors", made)
    data = (tmp_path / "x.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    header, numbers = json.loads(data[8 : 8 + length]), np.frombuffer(data[8 + length :], "<f4")
    halves = (numbers.view("<u4") >> 16).astype("<u2")
    for kind, size, stored, near in (
        ("F16", 2, numbers.astype("<f2"), numbers.astype("<f2").astype("<f4")),
        ("BF16", 2, halves, (halves.astype("<u4") << 16).view("<f4")),
        ("F64", 8, numbers.astype("<f8"), numbers),
    ):
        for name, about in header.items():
            if name != "__metadata__":
                about["dtype"] = kind
        scaled = json.loads(json.dumps(header))
        for name, about in scaled.items():
            if name != "__metadata__":
                about["data_offsets"] = [place * size // 4 for place in about["data_offsets"]]
        _write(tmp_path / "y.safetensors", scaled, stored.tobytes())
        found = importing.load(tmp_path / "y.safetensors").parameters.flat
        assert sorted(found.tolist()) == sorted(_without_inner(near, header))


def _without_inner(numbers: Any, header: dict[str, Any]) -> list[float]:
    """The numbers without those of the second bias, which are zero in an RNN of ours."""
    first, after = (place // 4 for place in header["rnn.bias_hh_l0"]["data_offsets"])
    return np.delete(numbers, np.arange(first, after)).tolist()


def _write(file: Path, header: Any, numbers: bytes = b"") -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + numbers)


def _tensor(first: int, after: int, *shape: int, dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [first, after]}


def _described(**changed: Any) -> tuple[Any, bytes]:
    """A network of one unit whose description is right but for what is changed."""
    about = {
        "format": 1,
        "model": {"cell": "rnn", "layers": 1, "hidden": 1},
        "corpus": {},
        "vocabulary": [97],
        "text": {"digest": "", "characters": 1},
    }
    names = ("rnn.weight_ih_l0", "rnn.weight_hh_l0", "output.weight")
    biases = ("rnn.bias_ih_l0", "rnn.bias_hh_l0", "output.bias")
    shapes = {**dict.fromkeys(names, (1, 1)), **dict.fromkeys(biases, (1,))}
    tensors = {
        name: _tensor(4 * place, 4 * place + 4, *shape) for place, (name, shape) in enumerate(shapes.items())
    }
    return {"__metadata__": {"charlm": json.dumps(about | changed)}, **tensors}, bytes(24)


_HEADER = "is not a safetensors file: "

_SAID = "its description of a model is invalid: "

HOSTILE: dict[str, tuple[tuple[Any, bytes], str]] = {
    "a header longer than the file": ((b"{}", b""), "or is truncated"),
    "a huge tensor": (({"a": _tensor(0, 2**62, 2**60)}, b""), "its header says 4,611"),
    "sizes that overflow": (({"a": _tensor(0, 0, 2**62, 2**62, 0)}, b"1234"), "its header says 0"),
    "a shape of another size": (({"a": _tensor(0, 8, 3)}, bytes(8)), "which its shape contradicts"),
    "a shape of many sizes": (({"a": _tensor(0, 4, *[1] * 99)}, bytes(4)), "the shape of a has 99 sizes"),
    "an overlap": (
        ({"a": _tensor(0, 8, 2), "b": _tensor(4, 12, 2)}, bytes(12)),
        "b does not begin where the tensor before it ends",
    ),
    "a hole": (
        ({"a": _tensor(0, 4, 1), "b": _tensor(8, 12, 1)}, bytes(12)),
        "b does not begin where the tensor before it ends",
    ),
    "more than the header says": (({"a": _tensor(0, 4, 1)}, bytes(8)), "its header says 4"),
    "offsets below zero": (({"a": _tensor(-4, 0, 1)}, b""), "not of whole numbers"),
    "offsets that are not numbers": (
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": ["0", 4]}}, bytes(4)),
        "not of whole numbers",
    ),
    "three offsets": (
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4, 8]}}, bytes(4)),
        "is not dtype, shape and data_offsets",
    ),
    "true for a size": (({"a": _tensor(0, 4, True)}, bytes(4)), "not of whole numbers"),
    "another type": (({"a": _tensor(0, 4, 1, dtype="I32")}, bytes(4)), "is of type I32"),
    "a type that is none": (({"a": _tensor(0, 4, 1, dtype=["F32"])}, bytes(4)), "is not dtype, shape and"),
    "a tensor that is a number": (({"a": 5}, b""), "is not dtype, shape and data_offsets"),
    "a name that occurs twice": ((b'{"a": {}, "a": {}}', b""), "a name occurs twice"),
    "metadata that occur twice": ((b'{"__metadata__": {"x": "", "x": ""}}', b""), "a name occurs twice"),
    "a list": (([], b""), _HEADER + "its header is not an object"),
    "deep JSON": ((b"[" * 1_000_000, b""), _HEADER + "maximum recursion depth"),
    "a number of many digits": ((b'{"a": ' + b"9" * 100_000 + b"}", b""), _HEADER + "Exceeds the limit"),
    "a header too long": ((b" " * 1_500_001, b""), "its header of 1,500,001 bytes"),
    "no text": ((b"\xff\xfe", b""), _HEADER),
    "metadata that are no texts": (({"__metadata__": {"charlm": 1}}, b""), "its metadata are not texts"),
    "wide JSON": ((b'{"a":[' + b"{}," * 499_000 + b"{}]}", b""), "is not dtype, shape and"),
    "wide JSON with names": (
        ('{"\U0001f600":['.encode() + b'{"":0},' * 214_000 + b"{}]}", b""),
        "is not dtype, shape and",
    ),
    "a name that steers a terminal": (({"\x1b[2J": _tensor(0, 4, 1)}, bytes(4)), "no tensor can be called"),
    "a name without end": (({"a" * 100_000: _tensor(0, 4, 1)}, bytes(4)), "no tensor can be called"),
    "a wide description": (
        ({"__metadata__": {"charlm": "[" + "[]," * 499_000 + "[]]"}}, b""),
        "it is not an object",
    ),
    "a description that is a list": (({"__metadata__": {"charlm": "[]"}}, b""), "it is not an object"),
    "a description that is deep": (
        ({"__metadata__": {"charlm": "[" * 100_000}}, b""),
        _SAID + "maximum recursion depth",
    ),
    "a description of nothing": (({"__metadata__": {"charlm": '{"format": 1}'}}, b""), "lacks 'corpus'"),
    "a description from the future": (_described(format=2), "format 2; this charlm reads 1"),
    "a description of many layers": (
        _described(model={"layers": 1000, "hidden": 10_000_000}),
        "asks for 1000 layers",
    ),
    "a description of another network": (_described(model={"layers": 1}), "is 1 x 1, and must be"),
    "an unknown key": (_described(model={"depth": 1}), "model.depth: unknown key"),
    "a cell that PyTorch lacks": (
        _described(model={"cell": "gru", "gru_reset": "before"}),
        "its cell cannot be gru, reset before",
    ),
    "a vocabulary of strings": (_described(vocabulary=["a"]), _SAID + "holds a vocabulary that is not one"),
    "a vocabulary out of order": (_described(vocabulary=[98, 97]), _SAID + "holds a vocabulary"),
    "a vocabulary of four billion": (_described(vocabulary=[[0, 2**32]]), _SAID + "holds a vocabulary"),
    "a vocabulary of all that there is": (
        _described(vocabulary=[[0, 0x10FFFF]]),
        "is 1 x 1, and must be 1 x 1114112",
    ),
    "an empty vocabulary": (_described(vocabulary=[]), "the vocabulary is empty"),
    "a text of this machine": (
        _described(corpus={"path": "/etc/passwd"}),
        "corpus.path names a text of another machine",
    ),
    "a text that is waited for": (_described(corpus={"validation": "-"}), "corpus.validation names a text"),
    "a text of fewer than no characters": (
        _described(text={"digest": "", "characters": -1}),
        "the length of its text",
    ),
    "a text of no number of characters": (
        _described(text={"digest": "", "characters": 1e300}),
        "the length of its text",
    ),
    "a digest that is a list": (_described(text={"digest": [], "characters": 1}), "digest is []"),
    "a training split that is a text": (
        _described(text={"digest": "", "characters": 1, "train": "all"}),
        "train is 'all'",
    ),
    "weights that are not numbers": (
        (_described()[0], np.full(6, np.nan, "<f4").tobytes()),
        "holds numbers that are not finite",
    ),
}


@pytest.mark.parametrize("about", HOSTILE)
def test_hostile_files_are_refused(about: str, tmp_path: Path) -> None:
    """Each is refused for its own reason, in one line that names the file, within 64 MB."""
    (header, numbers), why = HOSTILE[about]
    file = tmp_path / "x.safetensors"
    _write(file, header, numbers)
    if about.startswith("a header longer"):
        file.write_bytes((2**63).to_bytes(8, "little") + b"{}")
    said = _refused(file)
    assert "\n" not in said
    assert str(file) in said
    assert len(said) < len(str(file)) + 400
    assert "\x1b" not in said
    assert why in said


def _refused(file: Path, vocabulary: Path | None = None) -> str:
    """The message with which a file is refused, within 64 MB."""
    tracemalloc.start()
    with pytest.raises(CharlmError) as caught:
        importing.load(file, vocabulary)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64e6
    return str(caught.value)


def test_what_the_hostile_files_are_made_of_is_read(tmp_path: Path) -> None:
    """The description that they change is valid as it is."""
    _write(tmp_path / "x.safetensors", *_described())
    assert importing.load(tmp_path / "x.safetensors").parameters.flat.size == 5


@pytest.mark.parametrize("about", [{}, {"charlm": "{}"}])
def test_a_large_file_that_is_no_network_takes_no_memory(about: dict[str, str], tmp_path: Path) -> None:
    """Names and shapes are looked at before numbers are read."""
    file = tmp_path / "x.safetensors"
    _write(file, {"__metadata__": about, "a": _tensor(0, 2**28, 2**26)})
    with file.open("ab") as stream:
        stream.truncate(stream.tell() + 2**28)  # zeros that take no space
    (tmp_path / "v.json").write_text('["a"]')
    _refused(file, None if about else tmp_path / "v.json")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edits=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 8), st.binary(max_size=8)),
        min_size=1,
        max_size=4,
    )
)
def test_edited_files_are_refused_or_read(edits: list[tuple[float, int, bytes]], tmp_path: Path) -> None:
    """Whatever hypothesis writes into the header of a file is an error in one line, or a model."""
    file = tmp_path / "x.safetensors"
    if not file.exists():
        safetensors.write(file, make(tmp_path, "rnn"))
        file.with_suffix(".good").write_bytes(file.read_bytes())
    data = bytearray(file.with_suffix(".good").read_bytes())
    for position, length, piece in edits:
        place = int(position * min(len(data), 3000))
        data[place : place + length] = piece
    file.write_bytes(data)
    message = ""
    try:
        importing.load(file)
    except CharlmError as error:
        message = str(error)
    assert "\n" not in message


_PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")

_NAMES = st.sampled_from(
    [f"{prefix}{name}_l{layer}" for prefix in ("", "r.") for name in _PARTS for layer in ("0", "1", "01")]
    + [f"{prefix}{part}" for prefix in ("", "o.", "e.", "r.") for part in ("weight", "bias", "norm.weight")]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shapes=st.dictionaries(_NAMES, st.lists(st.integers(0, 4), max_size=3), max_size=8),
    regular=st.integers(0, 2),
    V=st.integers(1, 3),
)
def test_tensors_of_any_shape_are_refused_or_read(
    shapes: dict[str, list[int]], regular: int, V: int, tmp_path: Path
) -> None:
    """Whatever tensors a file holds beside those of a network, or instead, is an error or a model."""
    tensors = _foreign("rnn", regular, V, None, 2, "r. o. e.") if regular else {}
    tensors |= {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    stored, message = _stored(tmp_path, tensors, "abc"[:V]), ""
    try:
        assert np.isfinite(importing.load(*stored).parameters.flat).all()
    except CharlmError as error:
        message = str(error)
    assert "\n" not in message
