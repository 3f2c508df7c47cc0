"""Make the frozen values that `test_torch_parity.py` compares with.

Run by hand, in an environment that has NumPy, when a cell or an optimiser is added::

    pip install torch==2.13.0
    python tests/values/make_values.py

It writes one archive for each cell and depth beside itself, in float64. Nothing of charlm is
imported: PyTorch computes every value, and what is here only arranges it under charlm's names
and in charlm's layouts.

An archive holds

- `x`, `y` `[steps, T, B]`: the ids of ten windows and their targets;
- `parameters/NAME` and `state/LAYER.ARRAY`: where everything begins;
- `logits`, `loss`, `after/LAYER.ARRAY`: what comes of the first window;
- `gradients/NAME`, `dstate/LAYER.ARRAY`: gradients of that loss;
- `settings/NAME`: the hyperparameters of all optimisers, and `lr`;
- `runs/…`: truncated BPTT over the ten windows, once with each optimiser; the first axis counts
  the runs: `names` (optimiser, and what is clipped), the limits `clip_norm` and `clip_value`
  (0: not used), `losses` and `norms` (before clipping) `[runs, steps]`, and `parameters
  [runs, all]` after the last step, flat and in the order of `parameters/NAME`.

Letters: `T` time steps, `B` streams (batch), `V` vocabulary, `H` hidden units.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

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
"""Which of PyTorch's gate blocks stands at each place in charlm: its LSTM has i f g o, not i f o g."""
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


RUNS = (
    ("sgd", "norm"),
    ("momentum", "norm"),
    ("adagrad", "norm"),
    ("rmsprop", "norm"),
    ("adam", "norm"),
    ("adamw", "norm"),
    ("sgd", "value"),
)
"""Optimiser of each run of ten steps, and what is clipped in it."""
LARGEST_VALUE = 0.05
"""Limit of single values where they are clipped."""


@dataclass(frozen=True)
class Clip:
    """Limits of the gradient's global norm and of its single values; infinity is none."""

    norm: float = math.inf
    value: float = math.inf


class Network(nn.Module):
    """One-hot characters, PyTorch's recurrent layers, PyTorch's linear output."""

    def __init__(self, cell: str, layers: int) -> None:
        super().__init__()
        self.cell, self.layers = cell, layers
        self.recurrent = MODULES[cell](V, H, layers, dtype=torch.float64)
        self.output = nn.Linear(H, V, dtype=torch.float64)
        self.redundant = 2 * H if cell == "gru" else len(BLOCKS[cell]) * H
        for layer in range(layers):
            # zero with a gradient of zero stays zero in all six rules, weight decay included
            self.recurrent.get_parameter(f"bias_hh_l{layer}").register_hook(self._without_redundant)

    def redundant_biases(self) -> list[Tensor]:
        """Of each layer, the second bias of every gate where it is only added to the first.

        If both learned, a gate's bias would go twice as far in a step as charlm's one does: these
        are zero and stay zero. In the GRU's candidate the second bias is no repetition, since the
        reset gate multiplies it: there it learns, as `bn`.
        """
        return [
            self.recurrent.get_parameter(f"bias_hh_l{layer}")[: self.redundant]
            for layer in range(self.layers)
        ]

    def _without_redundant(self, gradient: Tensor) -> Tensor:
        """The gradient of a second bias with zeros at the redundant entries."""
        kept = gradient.clone()
        kept[: self.redundant] = 0.0
        return kept

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Logits `[T, B, V]` and the state after the window `x [T, B]`."""
        single = state if self.cell == "lstm" else state[0]
        h, after = self.recurrent(one_hot(x, V).to(torch.float64), single)
        return self.output(h), after if self.cell == "lstm" else (after,)

    def named(self, of: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        """`of` every parameter under charlm's name and in charlm's layout.

        PyTorch multiplies from the other side, so that its matrices are the transposes of
        charlm's, and its gates are blocks of their rows; charlm's have an axis of their own.
        """
        named = {}
        for layer in range(self.layers):
            for name, own in (("Wx", "weight_ih"), ("Wh", "weight_hh"), ("b", "bias_ih")):
                blocks = of(self.recurrent.get_parameter(f"{own}_l{layer}")).split(H)
                gates = torch.stack([blocks[place] for place in BLOCKS[self.cell]])
                named[f"layers.{layer}.{name}"] = gates if name == "b" else gates.mT
            if self.cell == "gru":
                second = of(self.recurrent.get_parameter(f"bias_hh_l{layer}"))
                named[f"layers.{layer}.bn"] = second[2 * H :]
        return {**named, "output.W": of(self.output.weight).T, "output.b": of(self.output.bias)}


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
    return cross_entropy(logits.reshape(-1, V), y.reshape(-1))


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


def train(
    network: Network, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, state: State, clip: Clip
) -> tuple[list[float], list[float]]:
    """Truncated BPTT over all windows: the loss and the norm before clipping of each."""
    losses, norms = [], []
    for x_window, y_window in zip(x, y, strict=True):
        optimizer.zero_grad()
        logits, after = network(x_window, state)
        loss = loss_of(logits, y_window)
        loss.backward()
        norms.append(clip_norm(network.parameters(), clip.norm))
        if clip.value < math.inf:
            nn.utils.clip_grad_value_(network.parameters(), clip.value)
        optimizer.step()
        state = tuple(array.detach() for array in after)
        losses.append(float(loss.detach()))
    return losses, norms


def run_values(network: Network, x: Tensor, y: Tensor, state: State) -> Values:
    """What comes of all `RUNS`, each from the parameters that `network` has."""
    start = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    def ten_steps(name: str, clip: Clip) -> tuple[list[float], list[float]]:
        network.load_state_dict(start)
        return train(network, make_optimizer(name, network.parameters()), x, y, state, clip)

    def limit(name: str) -> Clip:
        """A longest norm that cuts most steps but not all, so that both kinds are compared."""
        _, unclipped = ten_steps(name, Clip())
        for shorter, longer in reversed(list(pairwise(sorted(unclipped)))):
            # between two norms, since a limit that equals one leaves it to rounding whether it cuts
            clip = Clip(norm=(shorter + longer) / 2)
            _, norms = ten_steps(name, clip)
            if STEPS / 2 < sum(norm > clip.norm for norm in norms) < STEPS:
                return clip
        raise RuntimeError(f"{name}: no limit cuts most steps but not all: {unclipped}")

    clips, losses, norms, parameters = [], [], [], []
    for name, kind in RUNS:
        clip = limit(name) if kind == "norm" else Clip(value=LARGEST_VALUE)
        run_losses, run_norms = ten_steps(name, clip)
        if any(bool(bias.any()) for bias in network.redundant_biases()):
            raise RuntimeError(f"{name}: a redundant bias has moved")
        clips.append(clip)
        losses.append(run_losses)
        norms.append(run_norms)
        arrays = frozen(network.named(value_of)).values()
        parameters.append(np.concatenate([array.ravel() for array in arrays]))
    return {
        "names": np.array([f"{name}, {kind}" for name, kind in RUNS]),
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


def archive(cell: str, layers: int) -> Values:
    """All values of one cell and depth; see the top of this file."""
    # seeds of their own, so that one more cell leaves the archives of the others as they are
    rng = np.random.default_rng([SEED, layers, *cell.encode()])
    network = Network(cell, layers)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.from_numpy(rng.uniform(-1, 1, parameter.shape)))
        for bias in network.redundant_biases():
            bias.zero_()
    x, y = torch.from_numpy(rng.integers(0, V, (2, STEPS, T, B)))
    state = tuple(torch.from_numpy(rng.uniform(-1, 1, (layers, B, H))).requires_grad_() for _ in STATES[cell])
    logits, after = network(x[0], state)
    loss = loss_of(logits, y[0])
    loss.backward()
    groups = {
        "settings": {name: np.array(value) for name, value in SETTINGS.items()},
        "parameters": frozen(network.named(value_of)),
        "gradients": frozen(network.named(gradient_of)),
        "state": frozen(by_layer(cell, state)),
        "dstate": frozen(by_layer(cell, [gradient_of(array) for array in state])),
        "after": frozen(by_layer(cell, after)),
        "runs": run_values(network, x, y, tuple(array.detach() for array in state)),
    }
    return {
        **frozen({"x": x, "y": y, "logits": logits, "loss": loss}),
        **{f"{group}/{name}": array for group, arrays in groups.items() for name, array in arrays.items()},
    }


def main() -> None:
    """Write every archive."""
    torch.set_num_threads(1)  # one order of summation, hence the same bits each time
    for cell in MODULES:
        for layers in DEPTHS:
            path = Path(__file__).with_name(f"{cell}-{layers}.npz")
            np.savez_compressed(path, allow_pickle=False, **archive(cell, layers))
            print(path.name, path.stat().st_size)


if __name__ == "__main__":
    main()
