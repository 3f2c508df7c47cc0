"""The network as an ONNX graph: `ids` and the states before them in, logits and the states after out.

One graph serves for a single step and for whole sequences, of any number of streams::

    ids [T, B], h0 [L, B, H] (and c0) -> logits [T, B, V], hn [L, B, H] (and cn)

    ids -> OneHot -> (RNN | LSTM | GRU -> Squeeze) for each layer -> MatMul -> Add -> logits

The operators RNN, LSTM and GRU are those of https://onnx.ai/onnx/operators. Their matrices are
transposed, one beside the other for all gates, and each has a second bias, beside the recurrent
product. The order of gates is i o f c for the LSTM, and z r h for the GRU.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from charlm.arrays import Array
from charlm.errors import ConfigError
from charlm.runs.checkpoint import Checkpoint
from charlm.runs.description import KEY, described, reading
from charlm.system.extras import extra
from charlm.system.files import write_file
from charlm.system.version import __version__

OPSET, IR = 17, 8
"""Versions of the operators and of the file format: older runtimes refuse newer ones."""

_GATES = {"rnn": ("h",), "lstm": ("i", "o", "f", "g"), "gru": ("z", "r", "n")}
"""The gates of each cell in the order of ONNX, by our names."""

_LARGEST = 2_000_000_000
"""Most bytes of a file: a message of Protocol Buffers has less than 2 GiB."""


def write(path: Path, loaded: Checkpoint) -> list[str]:
    """Write the file; returns the lines of Python that load it and compute logits.

    Raises `ConfigError` for a network that ONNX cannot hold, `ExtraError` without the package, and
    `CharlmError` if the file cannot be written.
    """
    data = graph(loaded).SerializeToString(deterministic=True)
    write_file(path, lambda stream: stream.write(data))
    return _loading(path, loaded)


def graph(loaded: Checkpoint) -> Any:
    """The `onnx.ModelProto` of a model; raises what `write` does but for `CharlmError`."""
    model, cell, params = loaded.model, loaded.config.model.cell, loaded.parameters
    if cell not in _GATES:
        raise ConfigError(f"model.cell: ONNX has no {cell}: .onnx holds {', '.join(_GATES)}")
    if params.flat.nbytes > _LARGEST:
        raise ConfigError(
            f"{params.flat.nbytes:,} bytes of parameters: an .onnx file holds {_LARGEST:,} at most"
        )
    onnx = extra("onnx", "export")
    from onnx import TensorProto, helper, numpy_helper

    V, H, L, states = model.vocab, model.hidden, model.layers, model.cell.states
    constants: dict[str, Any] = {
        "V": np.array(V, np.int64),
        "off_on": np.array([0, 1], np.float32),
        "direction": np.array([1], np.int64),
        "output.W": params["output.W"],
        "output.b": params["output.b"],
    }
    nodes = [helper.make_node("OneHot", ["ids", "V", "off_on"], ["x"], axis=-1)]
    for state in states:
        # each layer's [1, B, H]
        befores = [f"layers.{layer}.{state}0" for layer in range(L)]
        nodes.append(helper.make_node("Split", [f"{state}0"], befores, axis=0))
    options: dict[str, Any] = (
        {"linear_before_reset": int(loaded.config.model.gru_reset == "after")} if cell == "gru" else {}
    )
    signal = "x"
    for layer in range(L):
        own = f"layers.{layer}."
        constants |= {own + name: array for name, array in _matrices(loaded, layer).items()}
        # the empty name: all sequences have the same length
        inputs = [signal, own + "W", own + "R", own + "B", "", *(f"{own}{state}0" for state in states)]
        outputs = [own + "y", *(f"{own}{state}n" for state in states)]
        nodes.append(helper.make_node(cell.upper(), inputs, outputs, hidden_size=H, **options))
        signal = own + "h"
        nodes.append(helper.make_node("Squeeze", [own + "y", "direction"], [signal]))
    nodes.append(helper.make_node("MatMul", [signal, "output.W"], ["product"]))
    nodes.append(helper.make_node("Add", ["product", "output.b"], ["logits"]))
    for state in states:
        afters = [f"layers.{layer}.{state}n" for layer in range(L)]
        nodes.append(helper.make_node("Concat", afters, [f"{state}n"], axis=0))

    def value(name: str, kind: int, shape: list[str | int]) -> Any:
        return helper.make_tensor_value_info(name, kind, shape)

    number, whole = TensorProto.FLOAT, TensorProto.INT64
    made = helper.make_model(
        helper.make_graph(
            nodes,
            "charlm",
            [value("ids", whole, ["T", "B"]), *(value(f"{s}0", number, [L, "B", H]) for s in states)],
            [value("logits", number, ["T", "B", V]), *(value(f"{s}n", number, [L, "B", H]) for s in states)],
            [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR,
        producer_name="charlm",
        producer_version=__version__,
    )
    helper.set_model_props(made, {KEY: described(loaded)})
    onnx.checker.check_model(made, full_check=True)
    return made


def _matrices(loaded: Checkpoint, layer: int) -> dict[str, Array]:
    """`W [1, G·H, in]`, `R [1, G·H, H]` and `B [1, 2·G·H]` of a layer, in the order of ONNX."""
    cell, gates, params = loaded.config.model.cell, loaded.model.cell.gates, loaded.parameters
    order, own = [gates.index(gate) for gate in _GATES[cell]], f"layers.{layer}."
    inner = np.zeros_like(params[own + "b"])
    if own + "bn" in params:
        inner[gates.index("n")] = params[own + "bn"]
    return {
        "W": np.concatenate(params[own + "Wx"].swapaxes(1, 2)[order])[None],
        "R": np.concatenate(params[own + "Wh"].swapaxes(1, 2)[order])[None],
        "B": np.concatenate([*params[own + "b"][order], *inner[order]])[None],
    }


def _loading(path: Path, loaded: Checkpoint) -> list[str]:
    """Lines of Python that load the file into ONNX Runtime and compute logits."""
    model = loaded.model
    befores = "".join(f', "{state}0": zero' for state in model.cell.states)
    return [
        "import json, numpy, onnxruntime",
        f"session = onnxruntime.InferenceSession({str(path)!r})",
        f'about = json.loads(session.get_modelmeta().custom_metadata_map["{KEY}"])',
        *reading(loaded),
        "x = numpy.array(ids, numpy.int64)[:, None]  # [T, B], here of one stream",
        f"zero = numpy.zeros(({model.layers}, 1, {model.hidden}), numpy.float32)  # [L, B, H]",
        f'logits, *states = session.run(None, {{"ids": x{befores}}})  # [T, B, V], and what to continue from',
    ]
