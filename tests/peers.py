"""charlm beside PyTorch and JAX: the README's tables of speed.

Run by hand, on a machine that does nothing else::

    python tests/peers.py --torch-python TORCH/bin/python --jax-python JAX/bin/python --threads 2

Each peer is timed in a process of its own, by the Python that has it (PyTorch; JAX with optax),
in turn with `charlm bench`, round by round. The work is charlm's own: one-hot characters, stacked
recurrent layers, a softmax over the vocabulary, in float32. `train` is a whole update: forward,
truncated backpropagation, clipping of the global norm, Adam, the state carried over. `sample` is
one character after another from a batch of one.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

SHAPES = [
    f"{cell}:{shape}"
    for cell in ("rnn", "lstm", "gru")
    for shape in ("128:2:50:50", "256:1:64:64", "512:2:64:100")
]
"""CELL:HIDDEN:LAYERS:BATCH:SEQ_LEN."""

GATES = {"rnn": 1, "lstm": 4, "gru": 3}

DRAWN = 100
"""Characters between two looks at the clock."""


def rate(work: Callable[[], object], characters: int, seconds: float) -> float:
    """Median characters per second, after a warm-up.

    As in `charlm.training.benchmark`, which the peers' Pythons cannot import.
    """
    for _ in range(3):
        work()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return characters / statistics.median(times)


def pytorch(task: str, shape: str, vocab: int, threads: int, seconds: float) -> float:
    """PyTorch's own recurrent layers, which on a CPU are those of oneDNN or of ATen."""
    import torch

    torch.set_num_threads(threads)
    cell, hidden, layers, batch, steps = shape.split(":")
    H, L, B, T = int(hidden), int(layers), int(batch), int(steps)
    recurrent = getattr(torch.nn, cell.upper())(vocab, H, L)
    output = torch.nn.Linear(H, vocab)
    weights = [*recurrent.parameters(), *output.parameters()]
    onehot = torch.eye(vocab)
    state: Any = None

    if task == "train":
        adam = torch.optim.Adam(weights, lr=0.002)
        text = torch.randint(vocab, (T + 1, B))

        def update() -> None:
            nonlocal state
            h, after = recurrent(onehot[text[:-1]], state)
            state = tuple(array.detach() for array in after) if cell == "lstm" else after.detach()
            loss = torch.nn.functional.cross_entropy(output(h).flatten(0, 1), text[1:].flatten())
            adam.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 5.0)
            adam.step()

        return rate(update, T * B, seconds)

    drawn = torch.zeros(1, dtype=torch.long)

    @torch.inference_mode()
    def draw() -> None:
        nonlocal state, drawn
        for _ in range(DRAWN):
            h, state = recurrent(onehot[drawn][None], state)
            drawn = torch.multinomial(torch.softmax(output(h[0]), -1), 1)[0]

    return rate(draw, DRAWN, seconds)


def jax(task: str, shape: str, vocab: int, threads: int, seconds: float) -> float:
    """A scan over the steps, compiled as a whole."""
    os.environ["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'}"
    import jax
    import jax.numpy as jnp
    import optax

    cell, hidden, layers, batch, steps = shape.split(":")
    H, L, B, T, G = int(hidden), int(layers), int(batch), int(steps), GATES[cell]
    keys = iter(jax.random.split(jax.random.PRNGKey(0), 3 * L + 4))

    def matrix(*size: int) -> Any:
        return jax.random.uniform(next(keys), size, minval=-(H**-0.5), maxval=H**-0.5)

    weights = {
        "layers": [
            {"Wx": matrix(vocab if layer == 0 else H, G * H), "Wh": matrix(H, G * H), "b": jnp.zeros(G * H)}
            for layer in range(L)
        ],
        "W": matrix(H, vocab),
        "b": jnp.zeros(vocab),
    }

    def step(Wh: Any, state: Any, projected: Any) -> Any:
        h, c = state
        u = h @ Wh
        if cell == "rnn":
            h = jnp.tanh(projected + u)
        elif cell == "lstm":
            i, f, o, g = jnp.split(projected + u, 4, axis=-1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
        else:
            r, z = jnp.split(jax.nn.sigmoid((projected + u)[..., : 2 * H]), 2, axis=-1)
            n = jnp.tanh(projected[..., 2 * H :] + r * u[..., 2 * H :])
            h = (1 - z) * n + z * h
        return (h, c), h

    def forward(weights: Any, x: Any, states: Any) -> Any:
        after = []
        h: Any = None
        for number, layer in enumerate(weights["layers"]):
            projected = (layer["Wx"][x] if number == 0 else h @ layer["Wx"]) + layer["b"]
            state, h = jax.lax.scan(lambda s, p, Wh=layer["Wh"]: step(Wh, s, p), states[number], projected)
            after.append(state)
        return h @ weights["W"] + weights["b"], after

    def zero(streams: int) -> Any:
        return [(jnp.zeros((streams, H)), jnp.zeros((streams, H))) for _ in range(L)]

    if task == "train":
        adam = optax.chain(optax.clip_by_global_norm(5.0), optax.adam(0.002))

        def loss(weights: Any, text: Any, states: Any) -> Any:
            logits, after = forward(weights, text[:-1], states)
            nats = optax.softmax_cross_entropy_with_integer_labels(logits, text[1:])
            return nats.mean(), after

        @jax.jit
        def updated(weights: Any, slots: Any, text: Any, states: Any) -> Any:
            (_, after), gradients = jax.value_and_grad(loss, has_aux=True)(weights, text, states)
            change, slots = adam.update(gradients, slots)
            return optax.apply_updates(weights, change), slots, after

        text = jax.random.randint(next(keys), (T + 1, B), 0, vocab)
        all_state: Any = (weights, adam.init(weights), zero(B))

        def update() -> None:
            nonlocal all_state
            before, slots, states = all_state
            all_state = jax.block_until_ready(updated(before, slots, text, states))

        return rate(update, T * B, seconds)

    @jax.jit
    def drawn(character: Any, states: Any, key: Any) -> Any:
        logits, after = forward(weights, character[None], states)
        key, now = jax.random.split(key)
        return jax.random.categorical(now, logits[0]), after, key

    position: Any = (jnp.zeros(1, jnp.int32), zero(1), next(keys))

    def draw() -> None:
        nonlocal position
        for _ in range(DRAWN):
            position = drawn(*position)
            int(position[0][0])

    return rate(draw, DRAWN, seconds)


def measured(command: list[str], threads: int) -> dict[str, Any]:
    """What a command prints as JSON on its last line."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
    values: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return values


def bench(shape: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """`charlm bench` on a shape."""
    names = ("model.cell", "model.hidden", "model.layers", "train.batch", "train.seq_len")
    command = [sys.executable, "-m", "charlm", "bench", "--json", "--vocab", str(arguments.vocab)]
    command += ["--threads", str(arguments.threads), "--seconds", str(arguments.seconds)]
    for name, value in zip(names, shape.split(":"), strict=True):
        command += ["--set", f"{name}={value}"]
    return measured(command, arguments.threads)


def main() -> None:
    """Measure in turn, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shapes", nargs="*", default=SHAPES, metavar="CELL:H:L:B:T")
    parser.add_argument("--task", choices=["train", "sample"], default="train")
    parser.add_argument("--torch-python", help="a Python that has PyTorch")
    parser.add_argument("--jax-python", help="a Python that has JAX and optax")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--vocab", type=int, default=65)
    parser.add_argument("--only", choices=["pytorch", "jax"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        peer = {"pytorch": pytorch, "jax": jax}[arguments.only]
        (shape,) = arguments.shapes
        speed = peer(arguments.task, shape, arguments.vocab, arguments.threads, arguments.seconds)
        print(json.dumps({"chars_per_s": speed}))
        return

    peers = {"pytorch": arguments.torch_python, "jax": arguments.jax_python}
    peers = {name: python for name, python in peers.items() if python}
    print(
        "| shape | charlm |", *(f"{name} |" for name in peers), "ratio to the best | of the matrix product |"
    )
    print("|---" * (4 + len(peers)) + "|")
    ratios = []
    for shape in arguments.shapes:
        speeds: dict[str, list[float]] = {"charlm": [], **{name: [] for name in peers}}
        fractions = []
        for _ in range(arguments.rounds):
            own = bench(shape, arguments)
            speeds["charlm"].append(own[f"{arguments.task}_chars_per_s"])
            fractions.append(own["fraction_of_matmul"])
            for name, python in peers.items():
                command = [python, __file__, shape, "--only", name, "--task", arguments.task]
                for option in ("threads", "seconds", "vocab"):
                    command += [f"--{option}", str(getattr(arguments, option))]
                speeds[name].append(measured(command, arguments.threads)["chars_per_s"])
        medians = {name: statistics.median(values) for name, values in speeds.items()}
        ratios.append(medians["charlm"] / max(medians[name] for name in peers) if peers else math.nan)
        row = [shape, *(f"{value:,.0f}" for value in medians.values()), f"{ratios[-1]:.2f}"]
        print("|", " | ".join([*row, f"{statistics.median(fractions):.2f}"]), "|", flush=True)
    print(f"geometric mean {math.exp(statistics.fmean(map(math.log, ratios))):.3f}, worst {min(ratios):.3f}")


if __name__ == "__main__":
    main()
