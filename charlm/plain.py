"""A whole trainer on one screen: what charlm does, with one layer and nothing that makes it fast or safe.

    python -m charlm.plain data/tales.txt --cell gru

Letters: `T` time steps, `B` streams (batch), `V` vocabulary, `H` hidden units. Update by update it is
`Trainer` with one layer, one shard, no dropout and `run.kernel: textbook` (`tests/test_plain.py`).
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.nn.cells import CELL_NAMES, make_cell
from charlm.nn.cells.cell import Cell, States

Array = npt.NDArray[Any]
Named = dict[str, Array]


def initial(cell: Cell, V: int, H: int, rng: np.random.Generator, dtype: npt.DTypeLike = np.float32) -> Named:
    """Fresh parameters by name, from the cell and the output layer: `Wy [H, V]`, `by [V]`."""
    shapes = {**cell.shapes(V, H), "Wy": (H, V), "by": (V,)}
    params = {name: np.zeros(shape, dtype) for name, shape in shapes.items()}
    params["Wx"][...] = rng.uniform(-1.0, 1.0, params["Wx"].shape)
    cell.initialise(params, rng, "orthogonal")
    params["Wy"][...] = rng.uniform(-(H**-0.5), H**-0.5, (H, V))
    return params


def windows(ids: Array, B: int, T: int) -> Iterator[tuple[Array, Array, bool]]:
    """Inputs and targets `[T, B]` of each window, without end, and whether a pass over the text begins.

    The text is `B` streams, side by side. Windows of a stream follow one another, so the state that
    one window ends with is the state that the next one begins with.
    """
    starts = np.arange(B) * (len(ids) - 1) // B  # where each stream begins
    length = -(-(len(ids) - 1) // B)  # steps of a stream, rounded up
    count = -(-length // T)  # windows of a stream, rounded up
    while True:
        for number in range(count):
            steps = np.arange(length * number // count, length * (number + 1) // count)
            index = starts + steps[:, None]  # [T, B]
            yield ids[index], ids[index + 1], number == 0


def softmax(logits: Array) -> Array:
    """`exp(logits) / Σ exp(logits)` along the last axis."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))


def backpropagate(
    cell: Cell, params: Named, x: Array, y: Array, state: States
) -> tuple[float, Named, States]:
    """Loss of a window in nats per character, its gradients, and the state after it.

    Truncated backpropagation through time: the state before the window is a constant.
    """
    (T, B), Wy, by = x.shape, params["Wy"], params["by"]
    onehot = np.eye(len(by), dtype=Wy.dtype)
    # forward: h_t, ... = step(x_t, h_{t-1}, ...);  p_t = softmax(h_t Wy + by);  loss = -mean(log p_t[y_t])
    loss, h, saved, p = 0.0, [], [], []
    for t in range(T):
        state, saved_t = cell.step(params, onehot[x[t]], state)
        h.append(state[0])
        saved.append(saved_t)
        p.append(softmax(h[t] @ Wy + by))  # [B, V]
        loss -= float(np.log(p[t][np.arange(B), y[t]]).sum()) / (T * B)
    # backward, from the last step to the first
    grads = {name: np.zeros_like(array) for name, array in params.items()}
    dstate = tuple(np.zeros_like(array) for array in state)
    for t in reversed(range(T)):
        # forward: loss = -mean(log p_t[y_t]);  p_t = softmax(logits_t)
        dlogits = (p[t] - onehot[y[t]]) / (T * B)  # [B, V]
        # forward: logits_t = h_t Wy + by
        grads["Wy"] += h[t].T @ dlogits
        grads["by"] += dlogits.sum(axis=0)
        # h_t goes up to the logits and on to the next step, so its gradients add
        dstate = (dlogits @ Wy.T + dstate[0], *dstate[1:])
        _, dstate = cell.step_backward(params, grads, saved[t], dstate)
    return loss, grads, state


def clip(grads: Named, clip_norm: float) -> None:
    """Scale all gradients so that their norm together is at most `clip_norm` (Pascanu et al. 2013)."""
    norm = np.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in grads.values()))
    for name in grads:
        grads[name] *= min(1.0, clip_norm / norm)


def adam(params: Named, grads: Named, m: Named, v: Named, t: int, lr: float) -> None:
    """Update number `t`, from 1, of Adam (Kingma & Ba 2015) in place, with β1 = 0.9 and β2 = 0.999."""
    for name, g in grads.items():
        m[name] = 0.9 * m[name] + 0.1 * g
        v[name] = 0.999 * v[name] + 0.001 * g**2
        params[name] -= lr * (m[name] / (1 - 0.9**t)) / (np.sqrt(v[name] / (1 - 0.999**t)) + 1e-8)


def train(
    cell: Cell, params: Named, ids: Array, B: int = 50, T: int = 50, lr: float = 0.002, clip_norm: float = 5.0
) -> Iterator[float]:
    """Train `params` in place, without end; yields the loss of each window before its update."""
    m, v = ({name: np.zeros_like(array) for name, array in params.items()} for _ in range(2))
    state = zero = tuple(np.zeros((B, len(params["Wy"])), params["Wy"].dtype) for _ in cell.states)
    for t, (x, y, begins) in enumerate(windows(ids, B, T), start=1):
        state = zero if begins else state
        loss, grads, state = backpropagate(cell, params, x, y, state)
        clip(grads, clip_norm)
        adam(params, grads, m, v, t, lr)
        yield loss


def sample(cell: Cell, params: Named, prime: Array, length: int, rng: np.random.Generator) -> Iterator[int]:
    """Ids drawn one by one from what the network expects after `prime` and all before it."""
    Wy, by = params["Wy"], params["by"]
    state: States = tuple(np.zeros((1, len(Wy)), Wy.dtype) for _ in cell.states)
    read = [int(character) for character in prime]
    for _ in range(length):
        for character in read:
            state, _ = cell.step(params, np.eye(1, len(by), character, Wy.dtype), state)
        read = [int(rng.choice(len(by), p=softmax((state[0] @ Wy + by)[0].astype(np.float64))))]
        yield read[0]


def main() -> None:
    """Train on a text, and write what the network has learned."""
    parser = argparse.ArgumentParser("python -m charlm.plain")
    parser.add_argument("file", type=Path, help="a text of two characters or more, in UTF-8")
    parser.add_argument("--cell", choices=list(CELL_NAMES), default="lstm")
    parser.add_argument("--updates", type=int, default=500)
    options = parser.parse_args()
    text = options.file.read_text(encoding="utf-8")
    vocabulary = sorted(set(text))
    ids = np.array([vocabulary.index(character) for character in text])
    cell, rng = make_cell(options.cell), np.random.default_rng(1)
    params = initial(cell, len(vocabulary), 128, rng)
    for number, loss in zip(range(options.updates), train(cell, params, ids), strict=False):
        if number % 50 == 0:
            print(f"update {number:5}: {loss:.4f} nats per character")
    print(text[0] + "".join(vocabulary[drawn] for drawn in sample(cell, params, ids[:1], 300, rng)))


if __name__ == "__main__":
    main()
