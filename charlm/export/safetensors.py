"""The weights as safetensors, with PyTorch's names and layout."""

import json
from pathlib import Path

from charlm.runs.checkpoint import Checkpoint
from charlm.runs.description import KEY, described, reading
from charlm.runs.pytorch import CLASSES, to_pytorch
from charlm.system.errors import ConfigError
from charlm.system.extras import extra
from charlm.system.files import write_file


def write(path: Path, loaded: Checkpoint) -> list[str]:
    """Write the file; returns the lines of Python that load it and compute logits.

    Raises `ConfigError` for a network that PyTorch does not have, `ExtraError` without the package,
    and `CharlmError` if the file cannot be written.
    """
    model, cell = loaded.model, loaded.config.model.cell
    if cell not in CLASSES:
        raise ConfigError(f"model.cell: PyTorch has no {cell}: .safetensors holds {', '.join(CLASSES)}")
    if cell == "gru" and loaded.config.model.gru_reset == "before":
        raise ConfigError(
            "model.gru_reset: PyTorch's GRU has its reset gate after the recurrent product, and this model "
            "before it: export it as .onnx, which has both"
        )
    library = extra("safetensors.numpy", "export")
    tensors = to_pytorch(loaded.parameters, cell, model.cell.gates, model.layers)
    data = _settled(library.save(tensors, {"format": "pt", KEY: described(loaded)}))
    write_file(path, lambda stream: stream.write(data))
    V, H, L = model.vocab, model.hidden, model.layers
    layers = f"rnn=torch.nn.{CLASSES[cell]}({V}, {H}, {L}), output=torch.nn.Linear({H}, {V})"
    return [
        "import json, torch",
        "from safetensors import safe_open",
        f'with safe_open({str(path)!r}, "pt") as file:',
        f'    about = json.loads(file.metadata()["{KEY}"])',
        "    weights = {name: file.get_tensor(name) for name in file.keys()}",
        f"network = torch.nn.ModuleDict(dict({layers}))",
        "network.load_state_dict(weights)",
        *reading(loaded),
        f"x = torch.nn.functional.one_hot(torch.tensor(ids), {V}).float()  # [T, V]",
        'h, state = network["rnn"](x)  # [T, H], and the state to continue from',
        'logits = network["output"](h)  # [T, V], of the unit after each',
    ]


def _settled(data: bytes) -> bytes:
    """The same file with its header in alphabetical order: the library writes it in any order."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + length :]
