"""The network as an ONNX graph: `ids` and the states before them in, logits and the states after out.

One graph serves for a single step and for whole sequences, of any number of streams::

    ids [T, B], h0 [L, B, H] (and c0) -> logits [T, B, V], hn [L, B, H] (and cn)

    ids -> OneHot -> (RNN | LSTM | GRU -> Squeeze) for each layer -> MatMul -> Add -> logits

https://onnx.ai/onnx/operators defines the operators RNN, LSTM and GRU. Their matrices are transposed,
one beside the other for all gates, and the recurrent product has a second bias. The order of gates is
i o f c for the LSTM, and z r h for the GRU.
"""

from pathlib import Path
from typing import Any

import numpy as np

from charlm.runs.checkpoint import Checkpoint
from charlm.runs.description import KEY, described, reading
from charlm.runs.pytorch import transposed
from charlm.system.errors import ConfigError
from charlm.system.extras import extra
from charlm.system.files import write_file
from charlm.system.version import __version__

OPSET, IR = 17, 8
"""Versions of the operators and of the file format: older runtimes refuse newer ones."""

_GATES = {"rnn": ("h",), "lstm": ("i", "o", "f", "g"), "gru": ("z", "r", "n")}
"""The gates of each cell in the order of ONNX, by our names."""

_LARGEST = 2_000_000_000
"""Most bytes of parameters: a message of Protocol Buffers has less than 2 GiB."""


def write(path: Path, loaded: Checkpoint) -> list[str]:
    """Write the file; returns the lines of Python that load it and compute logits.

    Raises `ConfigError` for a network that ONNX cannot hold, `ExtraError` without the package, and
    `CharlmError` if the file cannot be written.
    """
    model, data = loaded.model, graph(loaded).SerializeToString(deterministic=True)
    write_file(path, lambda stream: stream.write(data))
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
    options: dict[str, Any] = {"hidden_size": H}
    if cell == "gru":
        options["linear_before_reset"] = int(loaded.config.model.gru_reset == "after")
    constants: dict[str, Any] = {
        "V": np.array(V, np.int64),
        "off_on": np.array([0, 1], np.float32),
        "direction": np.array([1], np.int64),
        "output.W": params["output.W"],
        "output.b": params["output.b"],
    }
    layers = [f"layers.{layer}." for layer in range(L)]
    nodes = [helper.make_node("OneHot", ["ids", "V", "off_on"], ["x"], axis=-1)]
    for state in states:  # of all layers into one array for each layer, [1, B, H]
        nodes.append(helper.make_node("Split", [f"{state}0"], [f"{own}{state}0" for own in layers], axis=0))
    signal = "x"
    for layer, own in enumerate(layers):
        W, R, *biases = transposed(params, layer, model.cell.gates, _GATES[cell])
        constants |= {own + "W": np.concatenate(W)[None], own + "R": np.concatenate(R)[None]}
        constants[own + "B"] = np.concatenate([bias.ravel() for bias in biases])[None]
        # the empty name: all sequences have the same length
        inputs = [signal, own + "W", own + "R", own + "B", "", *(f"{own}{state}0" for state in states)]
        outputs = [own + "y", *(f"{own}{state}n" for state in states)]
        nodes.append(helper.make_node(cell.upper(), inputs, outputs, **options))
        signal = own + "h"
        nodes.append(helper.make_node("Squeeze", [own + "y", "direction"], [signal]))
    nodes.append(helper.make_node("MatMul", [signal, "output.W"], ["product"]))
    nodes.append(helper.make_node("Add", ["product", "output.b"], ["logits"]))
    for state in states:
        nodes.append(helper.make_node("Concat", [f"{own}{state}n" for own in layers], [f"{state}n"], axis=0))

    def values(shapes: dict[str, list[Any]]) -> list[Any]:
        kinds = {name: TensorProto.INT64 if name == "ids" else TensorProto.FLOAT for name in shapes}
        return [helper.make_tensor_value_info(name, kinds[name], shape) for name, shape in shapes.items()]

    onnx_model = helper.make_model(
        helper.make_graph(
            nodes,
            "charlm",
            values({"ids": ["T", "B"]} | {f"{state}0": [L, "B", H] for state in states}),
            values({"logits": ["T", "B", V]} | {f"{state}n": [L, "B", H] for state in states}),
            [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR,
        producer_name="charlm",
        producer_version=__version__,
    )
    helper.set_model_props(onnx_model, {KEY: described(loaded)})
    onnx.checker.check_model(onnx_model, full_check=True)
    return onnx_model
