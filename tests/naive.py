"""The slow, obvious twin of the networks: the judge of the fast one.

Everything is as the textbook writes it: column vectors, one matrix and one bias a gate, one
stream and one step at a time, one-hot inputs multiplied out, a softmax without tricks. Nothing is
shared with the package but the names and the layout of its parameters.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]
Named = dict[str, npt.NDArray[np.float64]]


def sigma(a: Vector) -> Vector:
    return 1.0 / (1.0 + np.exp(-a))


class Layer(ABC):
    """One recurrent layer: `W[gate]`, `U[gate]`, `b[gate]`, and their gradients beside them."""

    gates: tuple[str, ...]

    def __init__(self, arrays: Named) -> None:
        H = arrays["Wh"].shape[-1]
        self.W = {gate: arrays["Wx"][k].T for k, gate in enumerate(self.gates)}
        self.U = {gate: arrays["Wh"][k].T for k, gate in enumerate(self.gates)}
        self.b = {gate: arrays["b"][k] for k, gate in enumerate(self.gates)}
        self.bn = arrays.get("bn", np.zeros(H))
        self.dW = {gate: np.zeros_like(self.W[gate]) for gate in self.gates}
        self.dU = {gate: np.zeros_like(self.U[gate]) for gate in self.gates}
        self.db = {gate: np.zeros_like(self.b[gate]) for gate in self.gates}
        self.dbn = np.zeros(H)

    def gradients(self) -> Named:
        """In the package's layout."""
        joined = {
            "Wx": np.stack([self.dW[gate].T for gate in self.gates]),
            "Wh": np.stack([self.dU[gate].T for gate in self.gates]),
            "b": np.stack([self.db[gate] for gate in self.gates]),
        }
        return joined | ({"bn": self.dbn} if isinstance(self, GRUAfter) else {})

    def affine(self, gate: str, x: Vector, h: Vector) -> Vector:
        return self.W[gate] @ x + self.U[gate] @ h + self.b[gate]

    def affine_backward(self, gate: str, x: Vector, h: Vector, da: Vector) -> tuple[Vector, Vector]:
        self.dW[gate] += np.outer(da, x)
        self.dU[gate] += np.outer(da, h)
        self.db[gate] += da
        return self.W[gate].T @ da, self.U[gate].T @ da

    @abstractmethod
    def step(self, x: Vector, state: list[Vector]) -> tuple[list[Vector], Any]:
        """One step of one stream: the state after it (its first vector is h), and a memo."""

    @abstractmethod
    def step_backward(self, memo: Any, dstate: list[Vector]) -> tuple[Vector, list[Vector]]:
        """Gradients with respect to x and to the state before the step."""


class RNN(Layer):
    gates = ("h",)

    def step(self, x: Vector, state: list[Vector]) -> tuple[list[Vector], Any]:
        h = np.tanh(self.affine("h", x, state[0]))
        return [h], (x, state[0], h)

    def step_backward(self, memo: Any, dstate: list[Vector]) -> tuple[Vector, list[Vector]]:
        x, before, h = memo
        dx, dbefore = self.affine_backward("h", x, before, dstate[0] * (1 - h**2))
        return dx, [dbefore]


class LSTM(Layer):
    gates = ("i", "f", "o", "g")

    def step(self, x: Vector, state: list[Vector]) -> tuple[list[Vector], Any]:
        h, c = state
        i = sigma(self.affine("i", x, h))
        f = sigma(self.affine("f", x, h))
        o = sigma(self.affine("o", x, h))
        g = np.tanh(self.affine("g", x, h))
        c_after = f * c + i * g
        h_after = o * np.tanh(c_after)
        return [h_after, c_after], (x, h, c, i, f, o, g, c_after)

    def step_backward(self, memo: Any, dstate: list[Vector]) -> tuple[Vector, list[Vector]]:
        x, h, c, i, f, o, g, c_after = memo
        dh, dc = dstate
        do = dh * np.tanh(c_after)
        dc = dc + dh * o * (1 - np.tanh(c_after) ** 2)
        di, dg, df = dc * g, dc * i, dc * c
        dx, dbefore = np.zeros_like(x), np.zeros_like(h)
        for gate, da in (
            ("i", di * i * (1 - i)),
            ("f", df * f * (1 - f)),
            ("o", do * o * (1 - o)),
            ("g", dg * (1 - g**2)),
        ):
            from_x, from_h = self.affine_backward(gate, x, h, da)
            dx, dbefore = dx + from_x, dbefore + from_h
        return dx, [dbefore, dc * f]


class GRUAfter(Layer):
    gates = ("r", "z", "n")

    def step(self, x: Vector, state: list[Vector]) -> tuple[list[Vector], Any]:
        (h,) = state
        r = sigma(self.affine("r", x, h))
        z = sigma(self.affine("z", x, h))
        inner = self.U["n"] @ h + self.bn
        n = np.tanh(self.W["n"] @ x + self.b["n"] + r * inner)
        return [(1 - z) * n + z * h], (x, h, r, z, inner, n)

    def step_backward(self, memo: Any, dstate: list[Vector]) -> tuple[Vector, list[Vector]]:
        x, h, r, z, inner, n = memo
        (dh,) = dstate
        da_n = dh * (1 - z) * (1 - n**2)
        dinner = da_n * r
        self.dW["n"] += np.outer(da_n, x)
        self.db["n"] += da_n
        self.dU["n"] += np.outer(dinner, h)
        self.dbn += dinner
        dx = self.W["n"].T @ da_n
        dbefore = dh * z + self.U["n"].T @ dinner
        for gate, da in (("r", da_n * inner * r * (1 - r)), ("z", dh * (h - n) * z * (1 - z))):
            from_x, from_h = self.affine_backward(gate, x, h, da)
            dx, dbefore = dx + from_x, dbefore + from_h
        return dx, [dbefore]


class GRUBefore(Layer):
    gates = ("r", "z", "n")

    def step(self, x: Vector, state: list[Vector]) -> tuple[list[Vector], Any]:
        (h,) = state
        r = sigma(self.affine("r", x, h))
        z = sigma(self.affine("z", x, h))
        n = np.tanh(self.affine("n", x, r * h))
        return [(1 - z) * n + z * h], (x, h, r, z, n)

    def step_backward(self, memo: Any, dstate: list[Vector]) -> tuple[Vector, list[Vector]]:
        x, h, r, z, n = memo
        (dh,) = dstate
        dx, dkept = self.affine_backward("n", x, r * h, dh * (1 - z) * (1 - n**2))
        dbefore = dh * z + dkept * r
        for gate, da in (("r", dkept * h * r * (1 - r)), ("z", dh * (h - n) * z * (1 - z))):
            from_x, from_h = self.affine_backward(gate, x, h, da)
            dx, dbefore = dx + from_x, dbefore + from_h
        return dx, [dbefore]


LAYERS: dict[str, type[Layer]] = {
    "rnn": RNN,
    "lstm": LSTM,
    "gru after": GRUAfter,
    "gru before": GRUBefore,
}


class Network:
    """A whole network and one window of it; results stand in the attributes, in the package's shapes."""

    def __init__(
        self,
        form: str,
        arrays: Named,
        x: npt.NDArray[np.integer[Any]],
        y: npt.NDArray[np.integer[Any]],
        state: list[list[Matrix]],
        masks: Sequence[npt.NDArray[np.float64]] = (),
    ) -> None:
        """Run `x [T, B]` forward from `state` (a list of `[B, H]` a layer) and back from the mean loss.

        `masks` multiply the outputs of each layer, `[T, B, H]`; none, without dropout.
        """
        T, B = x.shape
        V = arrays["output.b"].size
        depth = len(state)
        layers = [
            LAYERS[form](
                {name.split(".")[2]: a for name, a in arrays.items() if name.startswith(f"layers.{d}.")}
            )
            for d in range(depth)
        ]
        Wo, bo = arrays["output.W"].T, arrays["output.b"]
        dWo, dbo = np.zeros_like(Wo), np.zeros_like(bo)
        self.logits = np.zeros((T, B, V))
        self.loss = 0.0
        self.final = [[np.zeros_like(a) for a in layer] for layer in state]
        self.dstate = [[np.zeros_like(a) for a in layer] for layer in state]
        for b in range(B):
            current = [[a[b] for a in layer] for layer in state]
            memos: list[list[Any]] = []
            for t in range(T):
                signal = np.eye(V)[x[t, b]]
                memos.append([])
                for d, layer in enumerate(layers):
                    current[d], memo = layer.step(signal, current[d])
                    memos[t].append(memo)
                    signal = current[d][0]
                    if masks:
                        signal = signal * masks[d][t, b]
                self.logits[t, b] = Wo @ signal + bo
                memos[t].append(signal)
            for d in range(depth):
                for k, a in enumerate(current[d]):
                    self.final[d][k][b] = a
            back = [[np.zeros_like(a) for a in layer] for layer in current]
            for t in reversed(range(T)):
                p = np.exp(self.logits[t, b]) / np.exp(self.logits[t, b]).sum()
                self.loss -= np.log(p[y[t, b]]) / (T * B)
                dlogits = (p - np.eye(V)[y[t, b]]) / (T * B)
                dWo += np.outer(dlogits, memos[t][-1])
                dbo += dlogits
                dsignal = Wo.T @ dlogits
                for d in reversed(range(depth)):
                    if masks:
                        dsignal = dsignal * masks[d][t, b]
                    back[d][0] = back[d][0] + dsignal
                    dsignal, back[d] = layers[d].step_backward(memos[t][d], back[d])
            for d in range(depth):
                for k, a in enumerate(back[d]):
                    self.dstate[d][k][b] = a
        self.gradients: Named = {"output.W": dWo.T, "output.b": dbo}
        for d, layer in enumerate(layers):
            self.gradients |= {f"layers.{d}.{name}": a for name, a in layer.gradients().items()}


def surprise(form: str, arrays: Named, ids: Sequence[int], depth: int) -> list[tuple[float, int]]:
    """The bits and the rank of each id but the first, read from a zero state, one at a time."""
    H = arrays["layers.0.Wh"].shape[-1]
    states = 2 if form == "lstm" else 1
    zero = [[np.zeros((1, H)) for _ in range(states)] for _ in range(depth)]
    x, y = np.array(ids[:-1])[:, None], np.array(ids[1:])[:, None]
    network, surprises = Network(form, arrays, x, y, zero), []
    for t in range(len(ids) - 1):
        p = np.exp(network.logits[t, 0]) / np.exp(network.logits[t, 0]).sum()
        own = p[ids[t + 1]]
        surprises.append((-math.log2(own), 1 + sum(1 for one in p if one > own)))
    return surprises


def table(
    characters: Sequence[str],
    ids_of: Callable[[str], list[int]],
    predict: Callable[[list[int]], list[tuple[float, int]]],
    by: str,
    by_line: bool = False,
) -> list[dict[str, Any]]:
    """The rows of `charlm score` of a text that is given character by character, as a reader sees them.

    `ids_of` gives the ids of a text that stands alone, and `predict` the bits and ranks of a text but its
    first id. Nothing that the rows are made of is longer than a character.
    """
    surprises: list[list[tuple[float, int]]] = []
    missing: list[tuple[float, int]] = []
    if by_line:
        lines: list[list[str]] = [[]]
        for character in characters:
            lines[-1].append(character)
            if character.endswith("\n"):
                lines.append([])
        for line in lines:
            ids = [ids_of("\n")[0], *(one for character in line for one in ids_of(character))]
            if line and not line[-1].endswith("\n"):
                ids += ids_of("\n")
            left = predict(ids) if len(line) > 1 or (line and not line[0].endswith("\n")) else []
            for character in line:
                size = len(ids_of(character))
                surprises.append(left[:size])
                left = left[size:]
            missing = left  # of a line break that is not there
    else:
        left = [(math.nan, 0), *predict([one for character in characters for one in ids_of(character)])]
        for character in characters:
            size = len(ids_of(character))
            surprises.append([one for one in left[:size] if not math.isnan(one[0])])
            left = left[size:]
    rows: list[dict[str, Any]] = []
    line, column, space, begins = 1, 1, True, True
    for character, own in zip(characters, surprises, strict=True):
        blank = character.isspace()
        new = {
            "unit": True,
            "word": begins or (space and not blank) or (by_line and column == 1),
            "line": begins or column == 1,
            "text": begins,
        }[by]
        if new:
            rows.append({"line": line, "column": column, "text": "", "bits": [], "after": [], "rank": 0})
        row = rows[-1]
        ends = character.endswith("\n")
        if by == "unit" or (by == "word" and not blank) or (by == "line" and not ends):
            row["text"] += character
        row["after" if by == "word" and blank else "bits"] += [bits for bits, _ in own]
        row["rank"] = max([row["rank"], *(rank for _, rank in own)])
        line, column = (line + 1, 1) if ends else (line, column + len(character))
        space, begins = blank, False
    if by != "unit":
        rows[-1]["after" if by == "word" else "bits"] += [bits for bits, _ in missing]
    return rows
