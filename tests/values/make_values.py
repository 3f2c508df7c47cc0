"""Make the frozen values that `test_torch_parity.py` compares with.

Run by hand, in an environment that has NumPy, when a cell or an optimiser is added::

    pip install torch==2.13.0
    python tests/values/make_values.py

It writes archives beside itself, in float64. Nothing of charlm is imported: PyTorch computes every
value, and what is here only arranges it under charlm's names and in charlm's layouts.

`CELL-LAYERS.npz` is a small network and holds

- `x`, `y` `[steps, T, B]`: the ids of ten windows and their targets;
- `parameters/NAME` and `state/LAYER.ARRAY`: where everything begins;
- `logits`, `loss`, `after/LAYER.ARRAY`: what comes of the first window;
- `gradients/NAME`, `dstate/LAYER.ARRAY`: gradients of that loss;
- `settings/NAME`: the hyperparameters of all optimisers, and `lr`;
- `runs/…`: truncated BPTT over the ten windows, with Adam, and in one archive with each optimiser;
  the first axis counts the runs: `names` (optimiser, and what is clipped), the limits `clip_norm`
  and `clip_value` (0: not used), `losses` and `norms` (before clipping) `[runs, steps]`, and
  `parameters [runs, all]` after the last step, flat and in the order of `parameters/NAME`.

`CELL-training.npz` is the network of `drawn.py`, with dropout, at a shape that training uses. It
holds `loss` and `settings/NAME` as above. The others of the first window are under `window/…`, as
summaries (`drawn.summary`). Truncated BPTT with Adam over the windows is `steps/…` (`clip_norm`,
`losses` and `norms` as above) and `updated/NAME`, summaries of the parameters after the last step.

Letters: `T` time steps, `B` streams (batch), `V` vocabulary, `H` hidden units.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise, repeat
from pathlib import Path
from typing import Any

import drawn
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

Values = dict[str, npt.NDArray[Any]]
State = tuple[Tensor, ...]
"""PyTorch's state: one array `[layers, B, H]`, or two for the LSTM (h, c)."""

SEED = 20260101
STEPS, T, B, V, H = 10, 6, 3, 5, 4
DEPTHS = (1, 2)

MODULES: dict[str, Callable[..., nn.RNNBase]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
BLOCKS = {"rnn": (0,), "lstm": (0, 1, 3, 2), "gru": (0, 1, 2)}
"""Which of PyTorch's gate blocks is at each position in charlm: its LSTM has i f g o, not i f o g."""
STATES = {"rnn": ("h",), "lstm": ("h", "c"), "gru": ("h",)}

SETTINGS = {
    "lr": 0.05,
    "momentum": 0.9,
    "beta1": 0.9,
    "beta2": 0.999,
    "rms_decay": 0.95,
    "epsilon": 1e-8,
    "weight_decay": 0.01,
}


def make_optimizer(name: str, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """PyTorch's optimiser for what charlm calls `name`, with all of `SETTINGS` that it reads."""
    lr, epsilon = SETTINGS["lr"], SETTINGS["epsilon"]
    betas = SETTINGS["beta1"], SETTINGS["beta2"]
    makers: dict[str, Callable[[], torch.optim.Optimizer]] = {
        "sgd": lambda: torch.optim.SGD(parameters, lr),
        "momentum": lambda: torch.optim.SGD(parameters, lr, momentum=SETTINGS["momentum"]),
        "adagrad": lambda: torch.optim.Adagrad(parameters, lr, eps=epsilon),
        "rmsprop": lambda: torch.optim.RMSprop(parameters, lr, alpha=SETTINGS["rms_decay"], eps=epsilon),
        "adam": lambda: torch.optim.Adam(parameters, lr, betas, epsilon),
        "adamw": lambda: torch.optim.AdamW(
            parameters, lr, betas, epsilon, weight_decay=SETTINGS["weight_decay"]
        ),
    }
    return makers[name]()


RUNS: tuple[tuple[str, str], ...] = (
    ("sgd", "norm"),
    ("momentum", "norm"),
    ("adagrad", "norm"),
    ("rmsprop", "norm"),
    ("adam", "norm"),
    ("adamw", "norm"),
    ("sgd", "value"),
)
"""Optimiser of each run of ten steps, and what is clipped in it."""
ALL_RUNS = ("lstm", 2)
"""The archive with all of `RUNS`: an optimiser does not know what it updates. The others have `ADAM`."""
ADAM = (("adam", "norm"),)
LARGEST_VALUE = 0.05
"""Limit of single values where they are clipped."""


@dataclass(frozen=True)
class Clip:
    """Limits of the gradient's global norm and of its single values; infinity is none."""

    norm: float = math.inf
    value: float = math.inf


class Network(nn.Module):
    """One-hot characters, PyTorch's recurrent layers, PyTorch's linear output."""

    def __init__(self, cell: str, layers: int, vocab: int, hidden: int) -> None:
        super().__init__()
        self.cell, self.vocab, self.hidden = cell, vocab, hidden
        # a module for each layer, since PyTorch lets no mask be given between those of one module
        self.recurrent = nn.ModuleList(
            MODULES[cell](hidden if layer else vocab, hidden, dtype=torch.float64) for layer in range(layers)
        )
        self.output = nn.Linear(hidden, vocab, dtype=torch.float64)
        self.redundant = 2 * hidden if cell == "gru" else len(BLOCKS[cell]) * hidden
        for module in self.recurrent:
            # zero with a gradient of zero stays zero in all six rules, weight decay included
            module.get_parameter("bias_hh_l0").register_hook(self._without_redundant)

    def redundant_biases(self) -> list[Tensor]:
        """Of each layer, the second bias of every gate where it is only added to the first.

        If both learned, a gate's bias would go twice as far in a step as charlm's one does: these
        are zero and stay zero. In the GRU's candidate the second bias is no repetition, since the
        reset gate multiplies it: there it learns, as `bn`.
        """
        return [module.get_parameter("bias_hh_l0")[: self.redundant] for module in self.recurrent]

    def _without_redundant(self, gradient: Tensor) -> Tensor:
        """The gradient of a second bias with zeros at the redundant entries."""
        kept = gradient.clone()
        kept[: self.redundant] = 0.0
        return kept

    def forward(self, x: Tensor, state: State, masks: Sequence[Tensor] | None = None) -> tuple[Tensor, State]:
        """Logits `[T, B, V]` and the state after the window `x [T, B]`.

        `masks`, one for each layer, are multiplied with what the layers give.
        """
        h, after = one_hot(x, self.vocab).to(torch.float64), []
        for layer, module in enumerate(self.recurrent):
            own = tuple(array[layer : layer + 1] for array in state)
            h, own_after = module(h, own if self.cell == "lstm" else own[0])
            after.append(own_after if self.cell == "lstm" else (own_after,))
            if masks is not None:
                h = h * masks[layer]
        return self.output(h), tuple(torch.cat(arrays) for arrays in zip(*after, strict=True))

    def named(self, of: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        """`of` every parameter under charlm's name and in charlm's layout.

        PyTorch multiplies from the other side, so that its matrices are the transposes of
        charlm's, and its gates are blocks of their rows; charlm's have an axis of their own.
        """
        named = {}
        for layer, module in enumerate(self.recurrent):
            for name, own in (("Wx", "weight_ih"), ("Wh", "weight_hh"), ("b", "bias_ih")):
                blocks = of(module.get_parameter(f"{own}_l0")).split(self.hidden)
                gates = torch.stack([blocks[block] for block in BLOCKS[self.cell]])
                named[f"layers.{layer}.{name}"] = gates if name == "b" else gates.mT
            if self.cell == "gru":
                second = of(module.get_parameter("bias_hh_l0"))
                named[f"layers.{layer}.bn"] = second[2 * self.hidden :]
        return {**named, "output.W": of(self.output.weight).T, "output.b": of(self.output.bias)}

    def fill(self, values: Values) -> None:
        """Copy parameters in, which have charlm's names and layouts; the inverse of `named`."""
        with torch.no_grad():
            for layer, module in enumerate(self.recurrent):
                for name, own in (("Wx", "weight_ih"), ("Wh", "weight_hh"), ("b", "bias_ih")):
                    blocks = module.get_parameter(f"{own}_l0").split(self.hidden)
                    for gate, block in zip(values[f"layers.{layer}.{name}"], BLOCKS[self.cell], strict=True):
                        blocks[block].copy_(torch.from_numpy(gate.T))
                second = module.get_parameter("bias_hh_l0")
                second.zero_()
                if self.cell == "gru":
                    second[2 * self.hidden :] = torch.from_numpy(values[f"layers.{layer}.bn"])
            self.output.weight.copy_(torch.from_numpy(values["output.W"].T))
            self.output.bias.copy_(torch.from_numpy(values["output.b"]))


def frozen(tensors: dict[str, Tensor]) -> Values:
    """The tensors as arrays of their own, which no later step changes."""
    return {name: np.array(tensor.detach().numpy(), order="C") for name, tensor in tensors.items()}


def by_layer(cell: str, state: Iterable[Tensor]) -> dict[str, Tensor]:
    """The arrays of a state by layer and name, as in `1.h`."""
    return {
        f"{layer}.{name}": array
        for name, stacked in zip(STATES[cell], state, strict=True)
        for layer, array in enumerate(stacked)
    }


def loss_of(logits: Tensor, y: Tensor) -> Tensor:
    """Mean nats a character."""
    return cross_entropy(logits.flatten(0, 1), y.flatten())


def clip_norm(parameters: Iterable[nn.Parameter], longest: float) -> float:
    """Scale the gradients down to the global norm `longest`, and return the norm before.

    As `torch.nn.utils.clip_grad_norm_`, but for the 1e-6 that it adds to the norm before it
    divides: with it, the values would be off by a part in a million and could be compared no
    more closely than that.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = float(torch.linalg.vector_norm(torch.cat([gradient.flatten() for gradient in gradients])))
    if norm > longest:
        for gradient in gradients:
            gradient.mul_(longest / norm)
    return norm


@dataclass(frozen=True)
class Windows:
    """What truncated BPTT runs over: ids and targets `[steps, T, B]`, and where it begins."""

    x: Tensor
    y: Tensor
    state: State
    masks: Iterable[Sequence[Tensor] | None] = repeat(None)
    """Of each window; none means no dropout."""


def train(
    network: Network, optimizer: torch.optim.Optimizer, windows: Windows, clip: Clip
) -> tuple[list[float], list[float]]:
    """Truncated BPTT over all windows: the loss and the norm before clipping of each."""
    losses, norms, state = [], [], windows.state
    for x, y, masks in zip(windows.x, windows.y, windows.masks, strict=False):
        optimizer.zero_grad()
        logits, after = network(x, state, masks)
        loss = loss_of(logits, y)
        loss.backward()
        norms.append(clip_norm(network.parameters(), clip.norm))
        if clip.value < math.inf:
            nn.utils.clip_grad_value_(network.parameters(), clip.value)
        optimizer.step()
        state = tuple(array.detach() for array in after)
        losses.append(float(loss.detach()))
    return losses, norms


def run_values(network: Network, windows: Windows, runs: Sequence[tuple[str, str]]) -> Values:
    """What comes of all `runs`, each from the parameters that `network` has."""
    start = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    def all_steps(name: str, clip: Clip) -> tuple[list[float], list[float]]:
        network.load_state_dict(start)
        return train(network, make_optimizer(name, network.parameters()), windows, clip)

    def limit(name: str) -> Clip:
        """A longest norm that cuts most steps but not all, so that both kinds are compared."""
        _, unclipped = all_steps(name, Clip())
        for shorter, longer in reversed(list(pairwise(sorted(unclipped)))):
            # between two norms, since a limit that equals one leaves it to rounding whether it cuts
            clip = Clip(norm=(shorter + longer) / 2)
            _, norms = all_steps(name, clip)
            if len(norms) / 2 < sum(norm > clip.norm for norm in norms) < len(norms):
                return clip
        raise RuntimeError(f"{name}: no limit cuts most steps but not all: {unclipped}")

    clips, losses, norms, parameters = [], [], [], []
    for name, kind in runs:
        clip = limit(name) if kind == "norm" else Clip(value=LARGEST_VALUE)
        run_losses, run_norms = all_steps(name, clip)
        if any(bool(bias.any()) for bias in network.redundant_biases()):
            raise RuntimeError(f"{name}: a redundant bias has moved")
        clips.append(clip)
        losses.append(run_losses)
        norms.append(run_norms)
        arrays = frozen(network.named(value_of)).values()
        parameters.append(np.concatenate([array.ravel() for array in arrays]))
    return {
        "names": np.array([f"{name}, {kind}" for name, kind in runs]),
        "clip_norm": np.array([clip.norm if clip.norm < math.inf else 0.0 for clip in clips]),
        "clip_value": np.array([clip.value if clip.value < math.inf else 0.0 for clip in clips]),
        "losses": np.array(losses),
        "norms": np.array(norms),
        "parameters": np.array(parameters),
    }


def value_of(tensor: Tensor) -> Tensor:
    """The tensor itself."""
    return tensor


def gradient_of(tensor: Tensor) -> Tensor:
    """Its gradient, left by the last backward pass."""
    if tensor.grad is None:
        raise RuntimeError("a tensor without a gradient")
    return tensor.grad


def grouped(groups: dict[str, Values]) -> Values:
    """The arrays of each group as `GROUP/NAME`."""
    return {f"{group}/{name}": array for group, arrays in groups.items() for name, array in arrays.items()}


def hyperparameters() -> Values:
    """`SETTINGS` as arrays."""
    return {name: np.array(value) for name, value in SETTINGS.items()}


def first_window(network: Network, windows: Windows, masks: Sequence[Tensor] | None) -> tuple[Values, Values]:
    """What comes of the first window: `logits` and `loss`, and everything that has groups."""
    state = tuple(array.clone().requires_grad_() for array in windows.state)
    logits, after = network(windows.x[0], state, masks)
    loss = loss_of(logits, windows.y[0])
    loss.backward()
    groups = {
        "gradients": frozen(network.named(gradient_of)),
        "dstate": frozen(by_layer(network.cell, [gradient_of(array) for array in state])),
        "after": frozen(by_layer(network.cell, after)),
    }
    return frozen({"logits": logits, "loss": loss}), grouped(groups)


def small(cell: str, layers: int) -> Values:
    """All values of one small network; see the top of this file."""
    # seeds of their own, so that one more cell leaves the archives of the others as they are
    rng = np.random.default_rng([SEED, layers, *cell.encode()])
    network = Network(cell, layers, V, H)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.from_numpy(rng.uniform(-1, 1, parameter.shape)))
        for bias in network.redundant_biases():
            bias.zero_()
    x, y = torch.from_numpy(rng.integers(0, V, (2, STEPS, T, B)))
    state = tuple(torch.from_numpy(rng.uniform(-1, 1, (layers, B, H))) for _ in STATES[cell])
    windows = Windows(x, y, state)
    given = {
        "settings": hyperparameters(),
        "parameters": frozen(network.named(value_of)),
        "state": frozen(by_layer(cell, state)),
    }
    single, groups = first_window(network, windows, None)
    runs = run_values(network, windows, RUNS if (cell, layers) == ALL_RUNS else ADAM)
    return {**frozen({"x": x, "y": y}), **single, **grouped(given), **groups, **grouped({"runs": runs})}


def training(cell: str) -> Values:
    """All values of one network of `drawn.py`; see the top of this file."""
    network = Network(cell, drawn.LAYERS, drawn.V, drawn.H)
    shapes = {name: tuple(tensor.shape) for name, tensor in network.named(value_of).items()}
    values = drawn.parameters(shapes)
    network.fill(values)
    if any((array != values[name]).any() for name, array in frozen(network.named(value_of)).items()):
        raise RuntimeError(f"{cell}: `fill` is not the inverse of `named`")
    x, y = torch.from_numpy(np.array([drawn.ids(window) for window in range(drawn.WINDOWS)]).swapaxes(0, 1))
    state = tuple(torch.from_numpy(drawn.state(STATES[cell])).unbind(1))
    masks = [[torch.from_numpy(mask) for mask in drawn.masks(window)] for window in range(drawn.WINDOWS)]
    windows = Windows(x, y, state, masks)
    single, groups = first_window(network, windows, masks[0])
    runs = run_values(network, windows, ADAM)
    steps = {name: runs[name][0] for name in ("clip_norm", "losses", "norms")}
    summaries = {
        "window": {
            "logits": drawn.summary("logits", single["logits"], drawn.LOGIT_ENTRIES),
            **{name: drawn.summary(name, array) for name, array in groups.items()},
        },
        # the network has taken the steps of the last run
        "updated": {
            name: drawn.summary(name, array) for name, array in frozen(network.named(value_of)).items()
        },
    }
    return {
        "loss": single["loss"],
        **grouped({"settings": hyperparameters(), "steps": steps}),
        **grouped(summaries),
    }


def main() -> None:
    """Write every archive."""
    torch.set_num_threads(1)  # one order of summation, hence the same bits each time
    for cell in MODULES:
        archives = {f"{cell}-{layers}": small(cell, layers) for layers in DEPTHS}
        archives[f"{cell}-training"] = training(cell)
        for name, values in archives.items():
            path = Path(__file__).with_name(f"{name}.npz")
            np.savez_compressed(path, allow_pickle=False, **values)
            print(path.name, path.stat().st_size)


if __name__ == "__main__":
    main()
