"""Planted errors: each must be found by the tests that are named with it.

Run by hand. It copies the repository, plants one error at a time in the
copy, and runs the tests that must notice it::

    python tests/mutants.py            # all of them: some 20 minutes on two cores
    python tests/mutants.py lstm       # those whose description or file holds this word
    python tests/mutants.py --list

A mutant that no test notices survives: a test is missing. The exit status is 1 if one does, or if
the text that an error replaces is not in its file exactly once.
"""

from __future__ import annotations

import argparse
import os
import queue
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent

GRADIENTS = "eval gradients --config configs/tales.yaml"
"""A command in place of a test: it must fail, too."""


@dataclass(frozen=True)
class Mutant:
    """One planted error."""

    about: str
    """What is wrong, in a few words."""
    file: str
    """Below `charlm/`."""
    right: str
    """The text as it is; exactly once in the file."""
    wrong: str
    """The text in its place."""
    found_by: tuple[str, ...]
    """Each of these fails: test files, pytest's `file::test`, or `GRADIENTS`."""


MUTANTS = (
    Mutant(
        "slopes of the first step in every block but the last",
        "nn/kernels/lstm.py",
        "n = t - block.start",
        "n = t - block.start if block.stop == T else 0",
        (
            "test_cells.py",
            "test_gradcheck.py",
            GRADIENTS,
        ),
    ),
    Mutant(
        "the gradient of the steps after t is not added to dh",
        "nn/kernels/lstm.py",
        "np.add(dh_t, dh_at[t], dh_t)",
        "np.copyto(dh_t, dh_at[t])",
        (
            "test_cells.py",
            GRADIENTS,
        ),
    ),
    Mutant(
        "dc does not get its part of dh",
        "nn/kernels/lstm.py",
        "np.add(dc_t, product, dc_t)",
        "np.add(dc_t, 0.0, dc_t)",
        (
            "test_cells.py",
            GRADIENTS,
        ),
    ),
    Mutant(
        "the forget gate's gradient replaces f too early",
        "nn/kernels/lstm.py",
        "np.multiply(dc_t, f_at[t], product)",
        "np.multiply(dc_t, da_if_at[t][0], product)",
        (
            "test_cells.py",
            GRADIENTS,
        ),
    ),
    Mutant(
        "the slope of tanh without its square",
        "nn/kernels/lstm.py",
        "np.multiply(g, g, slope_g)",
        "np.copyto(slope_g, g)",
        (
            "test_cells.py",
            GRADIENTS,
        ),
    ),
    Mutant(
        "o is reached through c",
        "nn/kernels/lstm.py",
        "np.multiply(slope_o[n], dh_t, da_o_at[t])",
        "np.multiply(slope_o[n], dc_t, da_o_at[t])",
        (
            "test_cells.py",
            GRADIENTS,
        ),
    ),
    Mutant(
        "c of the step itself instead of the one before",
        "nn/kernels/lstm.py",
        "np.multiply(slope_f, c[block], slope_f)",
        "np.multiply(slope_f, c[1:][block], slope_f)",
        (
            "test_cells.py",
            GRADIENTS,
        ),
    ),
    Mutant(
        "the carried gradient of c is forgotten",
        "nn/kernels/lstm.py",
        "dstate[0].copy(), dstate[1].copy()",
        "dstate[0].copy(), np.zeros_like(dstate[1])",
        (
            "test_gradcheck.py",
            GRADIENTS,
        ),
    ),
    Mutant(
        "the state before the window is not the first",
        "nn/kernels/lstm.py",
        "np.matmul(h_at[t], Wh, products)",
        "np.matmul(h_at[max(t, 1)], Wh, products)",
        ("test_cells.py",),
    ),
    Mutant(
        "tanh(c) of the step before",
        "nn/kernels/lstm.py",
        "np.multiply(o, tanh_c_t, h_at[t + 1])",
        "np.multiply(o, tanh_c_at[t - 1], h_at[t + 1])",
        ("test_cells.py",),
    ),
    Mutant(
        "slope 1 - h instead of 1 - h²",
        "nn/kernels/rnn.py",
        "np.multiply(h[1:], h[1:], da)",
        "np.copyto(da, h[1:])",
        (
            "test_cells.py",
            "test_gradcheck.py",
        ),
    ),
    Mutant(
        "h before the step in place of h after it",
        "nn/kernels/rnn.py",
        "np.multiply(h[1:], h[1:], da)",
        "np.multiply(h[:-1], h[:-1], da)",
        (
            "test_cells.py",
            "test_gradcheck.py",
        ),
    ),
    Mutant(
        "Wh where its transpose belongs",
        "nn/kernels/rnn.py",
        'params["Wh"].swapaxes(1, 2), B',
        'params["Wh"], B',
        (
            "test_cells.py",
            "test_gradcheck.py",
        ),
    ),
    Mutant(
        "the first step is left out",
        "nn/kernels/rnn.py",
        "for t in reversed(range(T)):",
        "for t in reversed(range(1, T)):",
        (
            "test_cells.py",
            "test_gradcheck.py",
        ),
    ),
    Mutant(
        "after: another block's reset in every block but the last",
        "nn/kernels/gru.py",
        "np.multiply(slopes[0], tape.reset[block], slopes[0])",
        "np.multiply(slopes[0], tape.reset[: len(slopes[0])], slopes[0])",
        (
            "test_cells.py",
            "test_gradcheck.py",
        ),
    ),
    Mutant(
        "before: h of another block in every block but the last",
        "nn/kernels/gru.py",
        "np.multiply(slopes[0], tape.h[block], slopes[0])",
        "np.multiply(slopes[0], tape.h[: len(slopes[0])], slopes[0])",
        (
            "test_cells.py",
            "test_gradcheck.py",
        ),
    ),
    Mutant(
        "after: the candidate's recurrent gradient without r",
        "nn/kernels/gru.py",
        "np.multiply(r, da_n, du_n[t])",
        "np.copyto(du_n[t], da_n)",
        (
            "test_cells.py",
            "test_gradcheck.py",
        ),
    ),
    Mutant(
        "after: bn is summed over the gate's gradient",
        "nn/kernels/gru.py",
        'column_sums(du_n.reshape(T * B, H), grads["bn"])',
        'column_sums(gates[2].reshape(T * B, H), grads["bn"])',
        (
            "test_cells.py",
            "test_gradcheck.py",
        ),
    ),
    Mutant(
        "z forgets its own slope",
        "nn/kernels/gru.py",
        "np.multiply(slope_z, z, slope_z)",
        "np.multiply(slope_z, 1.0, slope_z)",
        (
            "test_cells.py",
            "test_gradcheck.py",
        ),
    ),
    Mutant(
        "before: the candidate's weights see h without r",
        "nn/kernels/gru.py",
        'np.matmul(tape.reset.reshape(T * B, H).T, gates[2].reshape(T * B, H), grads["Wh"][2])',
        'np.matmul(tape.h[:-1].reshape(T * B, H).T, gates[2].reshape(T * B, H), grads["Wh"][2])',
        (
            "test_cells.py",
            "test_gradcheck.py",
        ),
    ),
    Mutant(
        "before: dh of r times dkept is lost",
        "nn/kernels/gru.py",
        "np.add(dh_direct, product, dh_direct)",
        "np.add(dh_direct, 0.0, dh_direct)",
        (
            "test_cells.py",
            "test_gradcheck.py",
        ),
    ),
    Mutant(
        "the first block of a window is left out",
        "nn/kernels/kernel.py",
        "for stop in range(T, 0, -size):",
        "for stop in range(T, size, -size):",
        (
            "test_cells.py",
            "test_gradcheck.py",
        ),
    ),
    Mutant(
        "a block is one step short",
        "nn/kernels/kernel.py",
        "yield slice(max(0, stop - size), stop)",
        "yield slice(max(0, stop - size + 1), stop)",
        (
            "test_cells.py",
            "test_gradcheck.py",
        ),
    ),
    Mutant(
        "recurrent weights see h after the step",
        "nn/kernels/kernel.py",
        "before = h[:-1].reshape(-1, H)",
        "before = h[1:].reshape(-1, H)",
        (
            "test_cells.py",
            "test_gradcheck.py",
            GRADIENTS,
        ),
    ),
    Mutant(
        "the window ends one step early",
        "nn/kernels/kernel.py",
        "for t in range(T):\n                step(t)",
        "for t in range(T - 1):\n                step(t)",
        (
            "test_cells.py",
            "test_model.py",
        ),
    ),
    Mutant(
        "the state after the window is that before its last step",
        "nn/kernels/kernel.py",
        "states[0, 1:], states[:, -1], tape",
        "states[0, 1:], states[:, -2], tape",
        ("test_cells.py",),
    ),
    Mutant(
        "the state after the window is not handed on",
        "nn/model.py",
        "after[depth] = layer_after",
        "after[depth] = before",
        ("test_cells.py", "test_trainer.py"),
    ),
    Mutant(
        "gradients are not set to zero",
        "nn/kernels/textbook.py",
        "grads[name][...] = 0.0",
        "grads[name][...] *= 1.0",
        ("test_cells.py",),
    ),
    Mutant(
        "only h is handed back in time",
        "nn/kernels/textbook.py",
        "back = (back[0] + dh[t], *back[1:])",
        "back = (back[0] + dh[t], *(0 * one for one in back[1:]))",
        ("test_cells.py",),
    ),
    Mutant(
        "dc without the slope of tanh(c)",
        "nn/cells/lstm.py",
        "dc = dc + dh * o * (1 - tanh_c**2)",
        "dc = dc + dh * o",
        ("test_cells.py",),
    ),
    Mutant(
        "i and g exchanged in their gradients",
        "nn/cells/lstm.py",
        "di, df, dg, dc_before = dc * g, dc * c_before, dc * i, dc * f",
        "di, df, dg, dc_before = dc * i, dc * c_before, dc * g, dc * f",
        ("test_cells.py",),
    ),
    Mutant(
        "the forget gate's bias is not 1",
        "nn/cells/lstm.py",
        'self.gates.index("f")',
        'self.gates.index("i")',
        ("test_cells.py",),
    ),
    Mutant(
        "after: bn outside the reset",
        "nn/cells/gru.py",
        "n = np.tanh(a_n + r * inner)",
        'n = np.tanh(a_n + r * u_n + params["bn"])',
        ("test_cells.py",),
    ),
    Mutant(
        "before: dr without h",
        "nn/cells/gru.py",
        "dr, dh_before = dkept * h_before, dh_before + dkept * r",
        "dr, dh_before = dkept, dh_before + dkept * r",
        ("test_cells.py",),
    ),
    Mutant(
        "rnn: slope of the wrong array",
        "nn/cells/rnn.py",
        "da = dh * (1 - h**2)",
        "da = dh * (1 - h_before**2)",
        ("test_cells.py",),
    ),
    Mutant(
        "init: uniform whatever was asked",
        "nn/cells/cell.py",
        'if init == "orthogonal":',
        'if init == "never":',
        ("test_cells.py",),
    ),
    Mutant(
        "the bias is not added",
        "nn/layers/linear.py",
        "np.add(y_g, b_g, y_g)",
        "np.add(y_g, 0.0, y_g)",
        (
            "test_cells.py",
            "test_layers.py",
            GRADIENTS,
        ),
    ),
    Mutant(
        "dx of the first gate alone",
        "nn/layers/linear.py",
        "np.add(dx_rows, summand, dx_rows)",
        "np.add(dx_rows, 0.0, dx_rows)",
        (
            "test_cells.py",
            "test_layers.py",
        ),
    ),
    Mutant(
        "W where its transpose belongs",
        "nn/layers/linear.py",
        "multiply(dy_g, W[g].T, summand, workspace)",
        "multiply(dy_g, W[0].T, summand, workspace)",
        (
            "test_cells.py",
            "test_layers.py",
        ),
    ),
    Mutant(
        "db of one gate in all",
        "nn/layers/linear.py",
        "column_sums(dy_g, db[g])",
        "column_sums(dy_g, db[0])",
        (
            "test_cells.py",
            "test_layers.py",
        ),
    ),
    Mutant(
        "a step without its bias",
        "nn/layers/linear.py",
        "return np.add(y, b, y)",
        "return np.add(y, 0 * b, y)",
        ("test_model.py",),
    ),
    Mutant(
        "rows of unused ids keep what was there",
        "nn/layers/one_hot_linear.py",
        "dW[...] = 0.0",
        "dW[...] += 0.0",
        (
            "test_cells.py",
            "test_layers.py",
        ),
    ),
    Mutant(
        "the last row of each id is left out",
        "nn/layers/one_hot_linear.py",
        "np.matmul(ones[start:stop], sorted_rows[start:stop], total)",
        "np.matmul(ones[start : stop - 1], sorted_rows[start : stop - 1], total)",
        (
            "test_gradcheck.py",
            "test_layers.py",
            GRADIENTS,
        ),
    ),
    Mutant(
        "sums begin at the second id",
        "nn/layers/one_hot_linear.py",
        "np.add.reduceat(sorted_rows, edges[:-1], axis=0, out=sums)",
        "np.add.reduceat(sorted_rows, [0, *edges[2:]], axis=0, out=sums)",
        ("test_layers.py",),
    ),
    Mutant(
        "the bias's gradient is that of one id",
        "nn/layers/one_hot_linear.py",
        "column_sums(sums, db)",
        "column_sums(sums[:1], db)",
        (
            "test_cells.py",
            "test_layers.py",
            GRADIENTS,
        ),
    ),
    Mutant(
        "rows are sorted by their position",
        "nn/layers/one_hot_linear.py",
        'np.argsort(tape.ids, kind="stable")',
        "np.arange(N)",
        (
            "test_cells.py",
            "test_layers.py",
            GRADIENTS,
        ),
    ),
    Mutant(
        "backward of dropout without the mask",
        "nn/layers/dropout.py",
        "np.multiply(dy, tape.mask, dy)",
        "np.multiply(dy, 1.0, dy)",
        (
            "test_cells.py",
            "test_gradcheck.py",
        ),
    ),
    Mutant(
        "kept units are not scaled",
        "nn/layers/layer.py",
        "np.multiply(kept, out.dtype.type(1.0 / (1.0 - rate)), out)",
        "np.multiply(kept, out.dtype.type(1.0), out)",
        (
            "test_layers.py",
            "test_model.py",
        ),
    ),
    Mutant(
        "each stream gets the first streams' noise",
        "nn/layers/layer.py",
        "self.streams + (streams,)",
        "self.streams + (slice(0, streams.stop - streams.start),)",
        (
            "test_layers.py",
            "test_trainer.py",
        ),
    ),
    Mutant(
        "noise on weights is cut by stream",
        "nn/layers/layer.py",
        "        if self.streams is None:\n            return mask\n        view: Array = mask[(slice(None),) * self.streams + (streams,)]",
        "        view: Array = mask[(slice(None),) * (self.streams or 0) + (streams,)]",
        (
            "test_layers.py",
            "test_trainer.py",
        ),
    ),
    Mutant(
        "a step of the decoder forgets to advance the state",
        "nn/layers/recurrent.py",
        "before[...] = after",
        "before[...] = before",
        ("test_model.py",),
    ),
    Mutant(
        "all layers begin from the first layer's state",
        "nn/model.py",
        "before = state[depth] if layer.states",
        "before = state[0] if layer.states",
        ("test_cells.py",),
    ),
    Mutant(
        "the gradient of the state belongs to another layer",
        "nn/model.py",
        "dbefore[depth] = layer_dbefore",
        "dbefore[self.layers - 1 - depth] = layer_dbefore",
        (
            "test_cells.py",
            "test_gradcheck.py",
        ),
    ),
    Mutant(
        "the gradient after the window is forgotten",
        "nn/model.py",
        "layer_dafter = dafter[depth] if",
        "layer_dafter = 0 * dafter[depth] if",
        ("test_gradcheck.py",),
    ),
    Mutant(
        "the decoder begins from zero",
        "nn/model.py",
        "layer.stepper(params.under(name), state[depth] if",
        "layer.stepper(params.under(name), 0 * state[depth] if",
        (
            "test_model.py",
            "test_generate.py",
        ),
    ),
    Mutant(
        "tiles of the last outputs are not copied",
        "nn/matmul.py",
        "tiles[...] = in_tiles(matrices, w)",
        "tiles[:, :-1] = in_tiles(matrices, w)[:, :-1]",
        (
            "test_cells.py",
            "test_matmul.py",
        ),
    ),
    Mutant(
        "chunks are multiplied by the first tile alone",
        "nn/matmul.py",
        "np.matmul(rows.reshape(-1, 1, chunk, inputs), tiles,",
        "np.matmul(rows.reshape(-1, 1, chunk, inputs), tiles[:1],",
        (
            "test_cells.py",
            "test_matmul.py",
        ),
    ),
    Mutant(
        "the last chunk is left out",
        "nn/matmul.py",
        "np.matmul(rows.reshape(-1, 1, chunk, inputs), tiles, in_tiles(out.reshape(-1, chunk, outputs), w))",
        "np.matmul(rows.reshape(-1, 1, chunk, inputs)[:-1], tiles, in_tiles(out.reshape(-1, chunk, outputs), w)[:-1])",
        (
            "test_cells.py",
            "test_matmul.py",
        ),
    ),
    Mutant(
        "column sums without the last row",
        "nn/matmul.py",
        "return np.matmul(np.ones(len(rows), rows.dtype), rows, out)",
        "return np.matmul(np.ones(len(rows) - 1, rows.dtype), rows[:-1], out)",
        (
            "test_cells.py",
            GRADIENTS,
        ),
    ),
    Mutant(
        "the gradient is not divided by the scored characters",
        "nn/loss.py",
        "p[np.arange(len(targets)), targets] -= p.dtype.type(1.0 / N)",
        "p[np.arange(len(targets)), targets] -= p.dtype.type(1.0 / len(targets))",
        (
            "test_loss.py",
            "test_trainer.py",
        ),
    ),
    Mutant(
        "padding has a gradient",
        "nn/loss.py",
        "        p[~mask] = 0.0\n",
        "        p[~mask] *= 1.0\n",
        (
            "test_loss.py",
            "test_trainer.py",
        ),
    ),
    Mutant(
        "padding has a loss",
        "nn/loss.py",
        "        nll[~mask] = 0.0\n",
        "        nll[~mask] *= 1.0\n",
        (
            "test_loss.py",
            "test_trainer.py",
        ),
    ),
    Mutant(
        "the largest of all where rows are far apart",
        "nn/loss.py",
        "rows: Array = logits.max(axis=1)",
        "rows: Array = np.broadcast_to(logits.max(), len(logits))",
        ("test_loss.py",),
    ),
    Mutant(
        "the loss without its normaliser",
        "nn/loss.py",
        "return below + np.log(normaliser), normaliser",
        "return below, normaliser",
        (
            "test_cells.py",
            "test_loss.py",
            GRADIENTS,
        ),
    ),
    Mutant(
        "scratch is lent twice",
        "nn/workspace.py",
        "        if name in self._taken:",
        "        if name in self._own and False:",
        ("test_workspace.py",),
    ),
    Mutant(
        "an array is claimed twice",
        "nn/workspace.py",
        "        if name in self._claimed:",
        "        if not self._claimed:",
        ("test_workspace.py",),
    ),
    Mutant(
        "the check accepts anything",
        "nn/gradcheck.py",
        "return self.worst <= TOLERANCE",
        "return self.worst <= 1.0",
        ("test_gradcheck.py",),
    ),
    Mutant(
        "the check does not look along directions",
        "nn/gradcheck.py",
        "            for _ in range(directions):",
        "            for _ in range(0):",
        ("test_gradcheck.py",),
    ),
    Mutant(
        "the check compares the claimed with itself",
        "nn/gradcheck.py",
        "measured = slope(loss, array, direction.reshape(array.shape))",
        "measured = float(claimed.flat[place])",
        ("test_gradcheck.py",),
    ),
    Mutant(
        "Adam's second moment without bias correction",
        "optim/optimizers.py",
        "1 / (1 - h.beta2**t)",
        "1.0",
        (
            "test_optimizers.py",
            "test_torch_parity.py",
        ),
    ),
    Mutant(
        "Adam counts from 0",
        "optim/optimizers.py",
        "self.updates + 1",
        "max(1, self.updates)",
        (
            "test_optimizers.py",
            "test_torch_parity.py",
        ),
    ),
    Mutant(
        "blocks after the first are not updated",
        "optim/optimizers.py",
        "for first in range(start, stop, _BLOCK):",
        "for first in range(start, min(stop, start + _BLOCK), _BLOCK):",
        ("test_optimizers.py",),
    ),
    Mutant(
        "decay is not scaled by lr",
        "optim/optimizers.py",
        "p *= 1 - lr * self.hyperparameters",
        "p *= 1 - self.hyperparameters",
        (
            "test_optimizers.py",
            "test_torch_parity.py",
        ),
    ),
    Mutant(
        "the norm is not a limit but a length",
        "optim/clipping.py",
        "if 0 < clip_norm < norm else 1.0",
        "if 0 < clip_norm else 1.0",
        (
            "test_clipping.py",
            "test_torch_parity.py",
        ),
    ),
    Mutant(
        "only the first block's squares",
        "optim/clipping.py",
        "total += float(block @ block)",
        "total = float(block @ block)",
        ("test_clipping.py",),
    ),
    Mutant(
        "only large positive values are clipped",
        "optim/clipping.py",
        "np.clip(gradients, -clip_value, clip_value, gradients)",
        "np.minimum(gradients, clip_value, gradients)",
        (
            "test_clipping.py",
            "test_torch_parity.py",
        ),
    ),
    Mutant(
        "the warm-up begins at zero",
        "optim/schedules.py",
        "(step + 1) / self.warmup",
        "step / self.warmup",
        ("test_schedules.py",),
    ),
    Mutant(
        "plateau waits one validation too long",
        "optim/schedules.py",
        "if plateau.waited + 1 > self.patience:",
        "if plateau.waited > self.patience:",
        ("test_schedules.py",),
    ),
    Mutant(
        "the way to the end counts the warm-up",
        "optim/schedules.py",
        "max(1, self.steps - self.warmup)",
        "max(1, self.steps)",
        ("test_schedules.py",),
    ),
    Mutant(
        "targets are the inputs",
        "data/batches.py",
        "Window(self.ids[index], self.ids[index + 1], None)",
        "Window(self.ids[index], self.ids[index], None)",
        ("test_batches.py",),
    ),
    Mutant(
        "streams begin one character late",
        "data/batches.py",
        "np.arange(self.batch) * (len(self.ids) - 1) // self.batch",
        "(np.arange(self.batch) * (len(self.ids) - 1) + 1) // self.batch",
        ("test_batches.py",),
    ),
    Mutant(
        "the state is reset with every window",
        "data/batches.py",
        "return step % self.windows == 0",
        "return True",
        (
            "test_batches.py",
            "test_trainer.py",
        ),
    ),
    Mutant(
        "a line's last target is padding",
        "data/batches.py",
        "mask = steps < lengths",
        "mask = steps < lengths - 1",
        (
            "test_batches.py",
            "test_trainer.py",
        ),
    ),
    Mutant(
        "the order of lines is the same in every epoch",
        "data/batches.py",
        "spawn_key=(2, epoch)",
        "spawn_key=(2, 0)",
        ("test_batches.py",),
    ),
    Mutant(
        "windows lose the remainder",
        "data/batches.py",
        "(number + 1) * length // windows",
        "(number * length + length - 1) // windows",
        ("test_batches.py",),
    ),
    Mutant(
        "the last shard is left out of the sum",
        "training/data_parallel.py",
        "for shard in grads[1:]:",
        "for shard in grads[1:-1]:",
        (
            "test_data_parallel.py",
            "test_trainer.py",
        ),
    ),
    Mutant(
        "shards are summed backwards",
        "training/data_parallel.py",
        "for shard in grads[1:]:",
        "for shard in reversed(grads[1:]):",
        ("test_data_parallel.py",),
    ),
    Mutant(
        "gradients are not scaled by the clipping factor",
        "training/data_parallel.py",
        "        if factor < 1:",
        "        if factor > 1:",
        ("test_data_parallel.py",),
    ),
    Mutant(
        "the state of a shard is not carried on",
        "training/data_parallel.py",
        "self.state[:, :, shard] = after",
        "self.state[:, :, shard] *= 1.0",
        ("test_trainer.py",),
    ),
    Mutant(
        "each shard's loss is a mean of its own",
        "training/data_parallel.py",
        "y, scored, mask)",
        "y, None, mask)",
        ("test_trainer.py",),
    ),
    Mutant(
        "the spans do not cover the parameters",
        "training/data_parallel.py",
        "self._spans = slices(size, len(self._shards))",
        "self._spans = slices(size - 1, len(self._shards))",
        ("test_trainer.py",),
    ),
    Mutant(
        "one shard for each worker, whatever was asked",
        "training/data_parallel.py",
        "self._shards = slices(B, shards)",
        "self._shards = slices(B, workers)",
        (
            "test_data_parallel.py",
            "test_trainer.py",
        ),
    ),
    Mutant(
        "the state is not reset at an epoch",
        "training/trainer.py",
        "            self.state[...] = 0.0",
        "            self.state[...] *= 1.0",
        ("test_trainer.py",),
    ),
    Mutant(
        "an update that is not finite is made",
        "training/trainer.py",
        "if is_finite and math.isfinite(norm):",
        "if True:",
        ("test_trainer.py",),
    ),
    Mutant(
        "the worst model is the best",
        "training/trainer.py",
        "if progress.best is None or loss < progress.best:",
        "if progress.best is None or loss > progress.best:",
        (
            "test_trainer.py",
            "test_loop.py",
        ),
    ),
    Mutant(
        "a resume forgets the random state",
        "training/trainer.py",
        'self.rng.bit_generator.state = values.pop("random")',
        'values.pop("random")',
        ("test_trainer.py",),
    ),
    Mutant(
        "a resume forgets the optimiser's count",
        "training/trainer.py",
        "self.optimizer.updates = updates",
        "self.optimizer.updates = 0",
        ("test_trainer.py",),
    ),
    Mutant(
        "a resume forgets the carried state",
        "training/trainer.py",
        '_fill(array, checkpoint.training[f"carried/{name}"])',
        'checkpoint.training[f"carried/{name}"]',
        ("test_trainer.py",),
    ),
    Mutant(
        "the last slice is cut short",
        "system/workers.py",
        "edges = [size * number // count for number in range(count + 1)]",
        "edges = [size * number // count for number in range(count)] + [size - 1]",
        ("test_workers.py",),
    ),
    Mutant(
        "results come in the workers' reverse order",
        "system/workers.py",
        "        for answer in answers:",
        "        for answer in reversed(answers):",
        ("test_workers.py",),
    ),
    Mutant(
        "a dead worker's items are left out",
        "system/workers.py",
        "            if answer is None:",
        "            if answer is ...:",
        ("test_workers.py",),
    ),
    Mutant(
        "the target is the input",
        "inference/score.py",
        "self.ids[index + 1].reshape(-1)",
        "self.ids[index].reshape(-1)",
        ("test_score.py",),
    ),
    Mutant(
        "the characters left over are not scored",
        "inference/score.py",
        "return float(nll.sum() + rest[0] + correction)",
        "return float(nll.sum() + correction)",
        ("test_score.py",),
    ),
    Mutant(
        "seams are not corrected",
        "inference/score.py",
        "return float(nll.sum() + rest[0] + correction)",
        "return float(nll.sum() + rest[0])",
        ("test_score.py",),
    ),
    Mutant(
        "a stream that never forgets is taken as it is",
        "inference/score.py",
        "        if correction is None:\n            return self.single()",
        "        if correction is None:\n            correction = 0.0",
        ("test_score.py",),
    ),
    Mutant(
        "the last window is not scored",
        "inference/score.py",
        "        if rest:",
        "        if rest < 0:",
        ("test_score.py",),
    ),
    Mutant(
        "padding of lines is scored",
        "inference/score.py",
        "nll += float(rows.sum(where=mask))",
        "nll += float(rows.sum())",
        ("test_score.py",),
    ),
    Mutant(
        "windows begin from another state than zero",
        "inference/score.py",
        "self.run(starts, window, self.zero_state(len(starts)))",
        "self.run(starts, window, self.zero_state(len(starts)) + 0.1)",
        ("test_score.py",),
    ),
    Mutant(
        "temperature multiplies",
        "inference/generate.py",
        "np.divide(p, self.temperature, p)",
        "np.multiply(p, self.temperature, p)",
        ("test_generate.py",),
    ),
    Mutant(
        "top-k keeps one more",
        "inference/generate.py",
        "kept = self.top_k or p.size",
        "kept = self.top_k + 1 or p.size",
        ("test_generate.py",),
    ),
    Mutant(
        "top-p stops before it is reached",
        "inference/generate.py",
        "self.top_p * reached[-1])) + 1",
        "self.top_p * reached[-1]))",
        ("test_generate.py",),
    ),
    Mutant(
        "<unk> is drawn",
        "inference/generate.py",
        "barred = [] if unknown is None else [unknown]",
        "barred = []",
        ("test_generate.py",),
    ),
    Mutant(
        "the prime's first window is lost",
        "inference/generate.py",
        "_, state, _ = model.forward(parameters, part[:, None], state, workspace)",
        "_, _, _ = model.forward(parameters, part[:, None], state, workspace)",
        ("test_generate.py",),
    ),
    Mutant(
        "the digest is not compared",
        "runs/checkpoint.py",
        "if stored != _digest(signed, arrays):",
        "if stored is None:",
        ("test_checkpoint.py",),
    ),
    Mutant(
        "numbers that are not finite are accepted",
        "runs/checkpoint.py",
        "if not np.isfinite(array).all():",
        "if np.isnan(array).all() and not array.size:",
        ("test_hostile.py",),
    ),
    Mutant(
        "an old format is not migrated",
        "runs/checkpoint.py",
        "for older in range(version, FORMAT):",
        "for older in range(version, FORMAT - 1):",
        ("test_checkpoint.py",),
    ),
    Mutant(
        "shapes are not compared",
        "runs/checkpoint.py",
        "if found != shape:",
        "if found is None:",
        (
            "test_checkpoint.py",
            "test_hostile.py",
        ),
    ),
    Mutant(
        "the log is not cut to its checkpoint",
        "runs/directory.py",
        "if self.metrics.stat().st_size > log_bytes:",
        "if self.metrics.stat().st_size < log_bytes:",
        ("test_crashes.py",),
    ),
    Mutant(
        "what could not be logged is forgotten",
        "runs/directory.py",
        "            raise _failure(error, self.metrics) from error\n        self._unlogged.clear()\n        return length",
        "            self._unlogged.clear()\n            raise _failure(error, self.metrics) from error\n        self._unlogged.clear()\n        return length",
        ("test_crashes.py",),
    ),
    Mutant(
        "dh of three gates in place of four",
        "nn/kernels/lstm.py",
        "np.add.reduce(back, axis=0, out=dh_t)",
        "np.add.reduce(back[:3], axis=0, out=dh_t)",
        ("test_cells.py", GRADIENTS),
    ),
    Mutant(
        "dc of the step after is kept",
        "nn/kernels/lstm.py",
        "dc_t, product = product, dc_t",
        "product = product.copy()",
        ("test_cells.py", GRADIENTS),
    ),
    Mutant(
        "o in place of i lets g in",
        "nn/kernels/lstm.py",
        "np.multiply(i, g, ig)",
        "np.multiply(o, g, ig)",
        ("test_cells.py", GRADIENTS),
    ),
    Mutant(
        "dc from dh through i in place of o",
        "nn/kernels/lstm.py",
        "np.multiply(dc_from_dh, o, dc_from_dh)",
        "np.multiply(dc_from_dh, i, dc_from_dh)",
        ("test_cells.py", GRADIENTS),
    ),
    Mutant(
        "the gradient after the window is forgotten",
        "nn/kernels/rnn.py",
        "dh_t = dstate[0].copy()",
        "dh_t = np.zeros_like(dstate[0])",
        ("test_gradcheck.py",),
    ),
    Mutant(
        "the candidate's slope with z in place of 1 - z",
        "nn/kernels/gru.py",
        "np.multiply(slope_n, slope_z, slope_n)",
        "np.multiply(slope_n, z, slope_n)",
        ("test_cells.py", "test_gradcheck.py"),
    ),
    Mutant(
        "the slope of r from z",
        "nn/kernels/gru.py",
        "np.multiply(slope_r, r, slope_r)",
        "np.multiply(slope_r, z, slope_r)",
        ("test_cells.py", "test_gradcheck.py"),
    ),
    Mutant(
        "z's slope takes h after the step",
        "nn/kernels/gru.py",
        "np.subtract(tape.h[block], n, slope_r)",
        "np.subtract(tape.h[1:][block], n, slope_r)",
        ("test_cells.py", "test_gradcheck.py"),
    ),
    Mutant(
        "after: r is reached from dh, past the candidate",
        "nn/kernels/gru.py",
        "np.multiply(slope_r, da_n, da_r)",
        "np.multiply(slope_r, dh_t, da_r)",
        ("test_cells.py", "test_gradcheck.py"),
    ),
    Mutant(
        "after: recurrent weights of n without the reset",
        "nn/kernels/gru.py",
        "[*gates[:2], du_n]",
        "gates",
        ("test_cells.py", "test_gradcheck.py"),
    ),
    Mutant(
        "before: r's product counted twice, z's not at all",
        "nn/kernels/gru.py",
        "np.add(back[0], back[1], dh_t)",
        "np.add(back[0], back[0], dh_t)",
        ("test_cells.py", "test_gradcheck.py"),
    ),
    Mutant(
        "before: z in place of r resets",
        "nn/kernels/gru.py",
        "np.multiply(r, h[t], kept[t])",
        "np.multiply(z, h[t], kept[t])",
        ("test_cells.py", "test_gradcheck.py"),
    ),
    Mutant(
        "a step larger than a block has no block",
        "nn/kernels/kernel.py",
        "min(T, max(1, _BLOCK // step))",
        "min(T, _BLOCK // step)",
        ("test_cells.py",),
    ),
    Mutant(
        "backward runs forward",
        "nn/kernels/textbook.py",
        "for t in reversed(range(len(dh))):",
        "for t in range(len(dh)):",
        ("test_cells.py",),
    ),
    Mutant(
        "the gates of writing and keeping are coupled",
        "nn/cells/lstm.py",
        "c = f * c_before + i * g",
        "c = f * c_before + (1 - f) * g",
        ("test_cells.py",),
    ),
    Mutant(
        "Wh where its transpose belongs",
        "nn/cells/lstm.py",
        '(da @ params["Wh"].swapaxes(1, 2)).sum(axis=0)',
        '(da @ params["Wh"]).sum(axis=0)',
        ("test_cells.py",),
    ),
    Mutant(
        "after: the candidate's recurrent gradient without r",
        "nn/cells/gru.py",
        "dr, dinner = da_n * inner, da_n * r",
        "dr, dinner = da_n * inner, da_n",
        ("test_cells.py",),
    ),
    Mutant(
        "after: bn's gradient of the first step alone",
        "nn/cells/gru.py",
        'grads["bn"][...] += dinner.sum(axis=0)',
        'grads["bn"][...] = dinner.sum(axis=0)',
        ("test_cells.py",),
    ),
    Mutant(
        "before: the candidate's weights see h without r",
        "nn/cells/gru.py",
        "dWh_n += kept.T @ da_n",
        "dWh_n += h_before.T @ da_n",
        ("test_cells.py",),
    ),
    Mutant(
        "rnn: Wh where its transpose belongs",
        "nn/cells/rnn.py",
        "(da @ Wh.T,)",
        "(da @ Wh,)",
        ("test_cells.py",),
    ),
    Mutant(
        "rnn: recurrent weights see h after the step",
        "nn/cells/rnn.py",
        "dWh += h_before.T @ da",
        "dWh += h.T @ da",
        ("test_cells.py",),
    ),
    Mutant(
        "units are kept at the rate of dropping",
        "nn/layers/layer.py",
        ">= rate\n        np",
        "< rate\n        np",
        ("test_layers.py",),
    ),
    Mutant(
        "window and step masks exchanged",
        "nn/layers/dropout.py",
        '1 if self.mask == "window" else T',
        'T if self.mask == "window" else 1',
        ("test_layers.py", "test_model.py"),
    ),
    Mutant(
        "the output's bound from its outputs",
        "nn/layers/linear.py",
        "(self.outputs if self._leading else self.inputs) ** -0.5",
        "self.outputs**-0.5",
        ("test_cells.py",),
    ),
    Mutant(
        "each id gets the row of the next one",
        "nn/layers/one_hot_linear.py",
        "(np.cumsum(counts > 0) - 1)[ids]",
        "np.cumsum(counts > 0)[ids]",
        ("test_layers.py", GRADIENTS),
    ),
    Mutant(
        "a step without its bias",
        "nn/layers/one_hot_linear.py",
        "np.add(W[:, x, None], b, y)",
        "np.add(W[:, x, None], 0 * b, y)",
        ("test_model.py",),
    ),
    Mutant(
        "a step hands on c in place of h",
        "nn/layers/recurrent.py",
        "h: Array = states[0, 0]",
        "h: Array = states[-1, 0]",
        ("test_model.py",),
    ),
    Mutant(
        "tiles are chosen for one row",
        "nn/matmul.py",
        "if rows * inputs * w <= _SMALL",
        "if inputs * w <= _SMALL",
        ("test_matmul.py",),
    ),
    Mutant(
        "the mean counts padding",
        "nn/loss.py",
        "scored or (len(targets) if mask is None else np.count_nonzero(mask))",
        "scored or len(targets)",
        ("test_loss.py",),
    ),
    Mutant(
        "the gradient's softmax is not divided by N",
        "nn/loss.py",
        "(1.0 / (normaliser * N))",
        "(1.0 / normaliser)",
        ("test_loss.py", GRADIENTS),
    ),
    Mutant(
        "one reference where logits are far apart",
        "nn/loss.py",
        "float(logits.min()) < _CLOSE",
        "float(logits.min()) > _CLOSE",
        ("test_loss.py",),
    ),
    Mutant(
        "an array of another type is handed out",
        "nn/workspace.py",
        "array is None or array.shape != shape or array.dtype != dtype",
        "array is None or array.shape != shape",
        ("test_workspace.py",),
    ),
    Mutant(
        "scratch is not given back",
        "nn/workspace.py",
        "self._taken -= self._own",
        "self._taken -= set()",
        ("test_workspace.py",),
    ),
    Mutant(
        "small gradients are hardly compared",
        "nn/gradcheck.py",
        "FLOOR = 3e-6",
        "FLOOR = 3e-2",
        ("test_gradcheck.py",),
    ),
    Mutant(
        "the carried state is not checked",
        "nn/gradcheck.py",
        "arrays = {**params, **_named(model, state)}",
        "arrays = {**params}",
        ("test_gradcheck.py",),
    ),
    Mutant(
        "the check runs without noise",
        "nn/gradcheck.py",
        "state[:, :, shard], workspace, own)",
        "state[:, :, shard], workspace)",
        ("test_gradcheck.py",),
    ),
    Mutant(
        "sgd goes up the gradient",
        "optim/optimizers.py",
        "p -= np.multiply(g, lr, out=scratch[0])",
        "p += np.multiply(g, lr, out=scratch[0])",
        ("test_optimizers.py",),
    ),
    Mutant(
        "momentum has no memory",
        "optim/optimizers.py",
        "v += g",
        "v[...] = g",
        ("test_optimizers.py",),
    ),
    Mutant(
        "momentum moves by g",
        "optim/optimizers.py",
        "np.multiply(v, lr, out=scratch[0])",
        "np.multiply(g, lr, out=scratch[0])",
        ("test_optimizers.py",),
    ),
    Mutant(
        "Adagrad forgets earlier squares",
        "optim/optimizers.py",
        "s += np.multiply(g, g, out=step)",
        "np.multiply(g, g, out=s)",
        ("test_optimizers.py",),
    ),
    Mutant(
        "RMSprop decays by Adam's factor",
        "optim/optimizers.py",
        "s *= h.rms_decay",
        "s *= h.beta2",
        ("test_optimizers.py",),
    ),
    Mutant(
        "Adam's means exchange their decays",
        "optim/optimizers.py",
        "m *= h.beta1",
        "m *= h.beta2",
        ("test_optimizers.py",),
    ),
    Mutant(
        "epsilon inside the root",
        "optim/optimizers.py",
        "np.sqrt(root, out=root)\n        root += h.epsilon",
        "root += h.epsilon\n        np.sqrt(root, out=root)",
        ("test_optimizers.py",),
    ),
    Mutant(
        "every block uses the first block's slots",
        "optim/optimizers.py",
        "self.slots[name][block] for",
        "self.slots[name][: block.stop - block.start] for",
        ("test_optimizers.py",),
    ),
    Mutant(
        "squares before clipping in place of after",
        "optim/clipping.py",
        "return before, square_sum(gradients)",
        "return before, before",
        ("test_clipping.py",),
    ),
    Mutant(
        "the factor upside down",
        "optim/clipping.py",
        "clip_norm / norm if",
        "norm / clip_norm if",
        ("test_clipping.py",),
    ),
    Mutant(
        "cosine rises",
        "optim/schedules.py",
        "(1.0 + math.cos(math.pi * position))",
        "(1.0 - math.cos(math.pi * position))",
        ("test_schedules.py",),
    ),
    Mutant(
        "exponential decay begins an epoch late",
        "optim/schedules.py",
        "epoch - self.decay_after + 1",
        "epoch - self.decay_after",
        ("test_schedules.py",),
    ),
    Mutant(
        "steps an epoch early",
        "optim/schedules.py",
        "epoch // self.decay_every",
        "(epoch + 1) // self.decay_every",
        ("test_schedules.py",),
    ),
    Mutant(
        "plateau: an equal loss is an improvement",
        "optim/schedules.py",
        "if loss < plateau.best:",
        "if loss <= plateau.best:",
        ("test_schedules.py",),
    ),
    Mutant(
        "plateau: patience is not begun anew",
        "optim/schedules.py",
        "replace(plateau, waited=0, factor=",
        "replace(plateau, factor=",
        ("test_schedules.py",),
    ),
    Mutant(
        "the way to the end begins before the warm-up ends",
        "optim/schedules.py",
        "(step - self.warmup) /",
        "step /",
        ("test_schedules.py",),
    ),
    Mutant(
        "streams lose the rest of the text",
        "data/batches.py",
        "math.ceil((len(self.ids) - 1) / self.batch)",
        "(len(self.ids) - 1) // self.batch",
        ("test_batches.py",),
    ),
    Mutant(
        "lines of one length always meet",
        "data/batches.py",
        "rng.permutation(len(self.lengths)), rng",
        "np.arange(len(self.lengths)), rng",
        ("test_batches.py",),
    ),
    Mutant(
        "characters of a line are counted in every window",
        "data/batches.py",
        "np.clip(self.lengths[chosen], first, stop)",
        "np.clip(self.lengths[chosen], 0, stop)",
        ("test_batches.py",),
    ),
    Mutant(
        "a missing row is a line of one character",
        "data/batches.py",
        "np.zeros(self.batch, np.int64)",
        "np.ones(self.batch, np.int64)",
        ("test_batches.py",),
    ),
    Mutant(
        "lines pass their state to the next batch",
        "data/batches.py",
        "return self._find(step)[1] == 0",
        "return step == 0",
        ("test_batches.py", "test_trainer.py"),
    ),
    Mutant(
        "a batch that just fits shrinks",
        "data/batches.py",
        "max(1, targets // seq_len)",
        "max(1, (targets - 1) // seq_len)",
        ("test_batches.py",),
    ),
    Mutant(
        "every shard has the first shard's noise",
        "training/data_parallel.py",
        ".reshape(noise.shape), shard)",
        ".reshape(noise.shape), self._shards[0])",
        ("test_trainer.py",),
    ),
    Mutant(
        "characters of the first window in every one",
        "training/data_parallel.py",
        "scored = self.batches.characters(step)",
        "scored = self.batches.characters(0)",
        ("test_trainer.py",),
    ),
    Mutant(
        "the factor from the norm before values are clipped",
        "training/data_parallel.py",
        "clip_factor(math.sqrt(after)",
        "clip_factor(math.sqrt(before)",
        ("test_data_parallel.py",),
    ),
    Mutant(
        "a stream is not finite only if all of it is not",
        "training/data_parallel.py",
        "~np.isfinite(array).all(axis=1)",
        "~np.isfinite(array).any(axis=1)",
        ("test_trainer.py",),
    ),
    Mutant(
        "patience lasts one validation longer",
        "training/trainer.py",
        "0 < self.config.train.patience <= self.progress.waited",
        "0 < self.config.train.patience < self.progress.waited",
        ("test_trainer.py",),
    ),
    Mutant(
        "one update more than planned",
        "training/trainer.py",
        "self.progress.step >= self.planned_steps",
        "self.progress.step > self.planned_steps",
        ("test_trainer.py",),
    ),
    Mutant(
        "dropped updates in a row are never counted anew",
        "training/trainer.py",
        "self.progress.skipped_in_a_row = 0",
        "self.progress.skipped_in_a_row += 0",
        ("test_trainer.py",),
    ),
    Mutant(
        "an eleventh dropped update is allowed",
        "training/trainer.py",
        "self.progress.skipped_in_a_row >= SKIPPED_AT_MOST",
        "self.progress.skipped_in_a_row > SKIPPED_AT_MOST",
        ("test_trainer.py",),
    ),
    Mutant(
        "a resume forgets the optimiser's slots",
        "training/trainer.py",
        '_fill(slot, checkpoint.training[f"optimizer/{name}"])',
        'checkpoint.training[f"optimizer/{name}"]',
        ("test_trainer.py",),
    ),
    Mutant(
        "a resume forgets the parameters",
        "training/trainer.py",
        "_fill(self.parameters.flat, trained)",
        "pass",
        ("test_trainer.py",),
    ),
    Mutant(
        "the learning rate is that of the next update",
        "training/trainer.py",
        "self.schedule.factor(step, self.progress.plateau)",
        "self.schedule.factor(step + 1, self.progress.plateau)",
        ("test_trainer.py",),
    ),
    Mutant(
        "the best step is one too early",
        "training/trainer.py",
        "= loss, progress.step, 0",
        "= loss, progress.step - 1, 0",
        ("test_trainer.py",),
    ),
    Mutant(
        "the mean loss ignores how long windows are",
        "training/trainer.py",
        "self.loss_sum += report.loss * report.characters",
        "self.loss_sum += report.loss",
        ("test_trainer.py",),
    ),
    Mutant(
        "the training split is scored",
        "training/trainer.py",
        'self.corpus.part("validation")\n        result',
        'self.corpus.part("train")\n        result',
        ("test_trainer.py",),
    ),
    Mutant(
        "one slice more than is worth it",
        "system/workers.py",
        "min(count, size // fewest)",
        "min(count, size // fewest + 1)",
        ("test_workers.py",),
    ),
    Mutant(
        "bits are smaller than nats",
        "inference/score.py",
        "self.nats_per_char / math.log(2)",
        "self.nats_per_char * math.log(2)",
        ("test_score.py",),
    ),
    Mutant(
        "a stream goes on from its own end",
        "inference/score.py",
        "right = ends[:, :, :-1]",
        "right = ends[:, :, 1:]",
        ("test_score.py",),
    ),
    Mutant(
        "every pass scores the first steps",
        "inference/score.py",
        "self.window(starts + first, min(STEPS, steps - first), state)",
        "self.window(starts, min(STEPS, steps - first), state)",
        ("test_score.py",),
    ),
    Mutant(
        "the shortest line first",
        "inference/score.py",
        'kind="stable")[::-1]',
        'kind="stable")',
        ("test_score.py",),
    ),
    Mutant(
        "lines: every pass reads the first steps",
        "inference/score.py",
        "self.window(starts + first, steps, state)",
        "self.window(starts, steps, state)",
        ("test_score.py",),
    ),
    Mutant(
        "losses: every pass reads the first steps",
        "inference/score.py",
        "np.array([start + first])",
        "np.array([start])",
        ("test_score.py",),
    ),
    Mutant(
        "losses are views of a buffer",
        "inference/score.py",
        "return lanes.nll[:steps].copy(),",
        "return lanes.nll[:steps],",
        ("test_score.py",),
    ),
    Mutant(
        "dynamic: away from what would lower the loss",
        "inference/dynamic.py",
        "change -= g",
        "change += g",
        ("test_dynamic.py",),
    ),
    Mutant(
        "dynamic: the trained parameters are changed",
        "inference/dynamic.py",
        "learned, grads = params.copy(), params.zeros_like()",
        "learned, grads = params, params.zeros_like()",
        ("test_dynamic.py::test_workers_and_the_checkpoint",),
    ),
    Mutant(
        "dynamic: the character to predict is read",
        "inference/dynamic.py",
        "text.ids[first:stop, None]",
        "text.ids[first + 1 : stop + 1, None]",
        ("test_dynamic.py::test_equals_the_slow_twin", "test_dynamic.py::test_rate_0_is_the_static_score"),
    ),
    Mutant(
        "dynamic: a segment is learned from before it is scored",
        "inference/dynamic.py",
        "            yield losses\n",
        "            params.flat[...] -= 1e-3 * grads.flat; yield cross_entropy(model.forward(params, x, state, workspace)[0].reshape(y.size, -1), y)\n",
        (
            "test_dynamic.py::test_no_loss_depends_on_what_comes_after",
            "test_dynamic.py::test_equals_the_slow_twin",
        ),
    ),
    Mutant(
        "dynamic: as many pieces as workers",
        "inference/dynamic.py",
        "slices(len(text), PIECES, fewest=2)",
        "slices(len(text), threads, fewest=2)",
        ("test_dynamic.py::test_any_number_of_workers_measures_the_same_bits",),
    ),
    Mutant(
        "dynamic: a weight is pulled back beyond where it was",
        "inference/dynamic.py",
        "np.minimum(1.0, rms *",
        "np.minimum(9.0, rms *",
        ("test_dynamic.py::test_equals_the_slow_twin",),
    ),
    Mutant(
        "dynamic: the mean over the segments of one piece",
        "inference/dynamic.py",
        "max(1, sum(counts))",
        "max(1, counts[0])",
        (
            "test_dynamic.py::test_equals_the_slow_twin",
            "test_dynamic.py::test_lines_are_measured_line_by_line",
        ),
    ),
    Mutant(
        "dynamic: the constants are chosen on the scored text",
        "inference/evaluate.py",
        'if "validation" not in scored:',
        'if "train" not in scored or True:',
        ("test_dynamic.py::test_the_constants_are_never_chosen_on_the_scored_text",),
    ),
    Mutant(
        "the first unit may be <unk>",
        "inference/generate.py",
        "rng.integers(model.vocab if unknown is None else unknown)",
        "rng.integers(model.vocab)",
        ("test_generate.py",),
    ),
    Mutant(
        "an empty line is drawn",
        "inference/generate.py",
        "for one in (unknown, not_first) if",
        "for one in (unknown,) if",
        ("test_generate.py",),
    ),
    Mutant(
        "top-k keeps the least likely",
        "inference/generate.py",
        'np.argsort(-p, kind="stable")',
        'np.argsort(p, kind="stable")',
        ("test_generate.py",),
    ),
    Mutant(
        "top-p of the sum of all, not of what is left",
        "inference/generate.py",
        "self.top_p * reached[-1]",
        "self.top_p * p.sum()",
        ("test_generate.py",),
    ),
    Mutant(
        "the prime's last unit is read twice",
        "inference/generate.py",
        "prime[start : min(start + _PRIME_STEPS, len(prime) - 1)]",
        "prime[start : start + _PRIME_STEPS]",
        ("test_generate.py",),
    ),
    Mutant(
        "one line too many",
        "inference/generate.py",
        "if not lines:",
        "if lines < 0:",
        ("test_generate.py",),
    ),
    Mutant(
        "stop compares one unit less",
        "inference/generate.py",
        "[-len(wanted) :]",
        "[-len(wanted) - 1 :]",
        ("test_generate.py",),
    ),
    Mutant(
        "every sample has the same random numbers",
        "inference/sampling.py",
        "np.random.default_rng(seeds.spawn(1)[0])",
        "np.random.default_rng(seed) for _ in range(count)",
        ("test_generate.py",),
    ),
    Mutant(
        "ranges of a vocabulary begin at the gap",
        "runs/checkpoint.py",
        "codes[[0, *(breaks + 1)]]",
        "codes[[0, *breaks]]",
        ("test_checkpoint.py",),
    ),
    Mutant(
        "a code may be in the vocabulary twice",
        "runs/checkpoint.py",
        "not before < first <= last <= largest",
        "not before <= first <= last <= largest",
        ("test_hostile.py",),
    ),
    Mutant(
        "the reduced rate of an old run is forgotten",
        "runs/checkpoint.py",
        'progress["plateau"]["factor"] = progress["plateau"].pop("share")',
        'progress["plateau"]["factor"] = 0 * progress["plateau"].pop("share") + 1.0',
        ("test_checkpoint.py",),
    ),
    Mutant(
        "the digest does not cover names and shapes",
        "runs/checkpoint.py",
        'digest.update(f"\\n{name} {array.dtype.str} {array.shape}\\n".encode())',
        'digest.update(b"")',
        ("test_checkpoint.py",),
    ),
    Mutant(
        "a directory means its last checkpoint",
        "runs/directory.py",
        "for file in (directory.best, directory.last):",
        "for file in (directory.last, directory.best):",
        ("test_directory.py",),
    ),
    Mutant(
        "a new run without a best keeps the old one",
        "runs/directory.py",
        'for name in ("best.npz", "previews.jsonl"):',
        'for name in ("previews.jsonl",):',
        ("test_directory.py",),
    ),
    Mutant(
        "a run is published file by file without its order",
        "runs/directory.py",
        'for name in ("metrics.jsonl", "last.npz", "best.npz", "previews.jsonl"):',
        'for name in ("best.npz", "metrics.jsonl", "last.npz", "previews.jsonl"):',
        ("test_directory.py",),
    ),
    Mutant(
        "an interrupted replacement is always undone",
        "runs/directory.py",
        'if os.path.exists(new / "config.yaml"):\n            shutil',
        "if os.path.exists(new):\n            shutil",
        ("test_directory.py",),
    ),
    Mutant(
        "an earlier run is removed at once",
        "runs/directory.py",
        "self._replaces = True",
        "shutil.rmtree(self.path); self.path.mkdir()",
        ("test_directory.py", "test_cli.py"),
    ),
    Mutant(
        "early stopping is not told apart",
        "training/loop.py",
        "out_of_patience=trainer.out_of_patience",
        "out_of_patience=False",
        ("test_cli_unlucky.py",),
    ),
    Mutant(
        "a run with too few epochs is resumed",
        "training/session.py",
        "if trainer.progress.step > trainer.planned_steps:",
        "if trainer.progress.step < 0:",
        ("test_cli_unlucky.py",),
    ),
    Mutant(
        "a preview does not hear a signal",
        "training/loop.py",
        "text = preview(trainer, should_stop)",
        "text = preview(trainer)",
        ("test_cli_unlucky.py",),
    ),
    Mutant(
        "8-bit control characters reach the terminal",
        "data/signs.py",
        'in ("Cc", "Cs", "Zl", "Zp")',
        'in ("Cs", "Zl", "Zp")',
        ("test_show.py", "test_cli_unlucky.py"),
    ),
    Mutant(
        "odd characters are quoted as they are",
        "cli/show.py",
        "if odd else shlex.quote(piece))",
        "if not piece else shlex.quote(piece))",
        ("test_show.py", "test_cli_unlucky.py"),
    ),
    Mutant(
        "memory is checked after the parameters are made",
        "training/trainer.py",
        "        check_memory(self.needed, config)\n",
        "",
        ("test_memory.py", "test_cli_unlucky.py"),
    ),
    Mutant(
        "one shard's gradients are forgotten in the memory",
        "training/memory.py",
        "kept = 1 + average + shards + len",
        "kept = 2 + average + len",
        ("test_memory.py",),
    ),
    Mutant(
        "a moved run writes where it was",
        "config/loading.py",
        'given = {"run.dir": str(path.parent), **(given or {})}',
        "given = dict(given or {})",
        ("test_cli.py",),
    ),
    Mutant(
        "numbers in base 60 are read",
        "config/loading.py",
        "if other and scalar.style is None and not is_text(dotted):",
        "if other and other['octal'] and scalar.style is None and not is_text(dotted):",
        ("test_config.py",),
    ),
    Mutant(
        "a NaN passes the limits of an option",
        "cli/options.py",
        "if not math.isfinite(number):",
        "if math.isinf(number):",
        ("test_cli_unlucky.py",),
    ),
    Mutant(
        "a device is read",
        "data/sources.py",
        "if stat.S_ISCHR(kind) or stat.S_ISBLK(kind):",
        "if stat.S_ISBLK(kind):",
        ("test_cli_unlucky.py",),
    ),
    Mutant(
        "an update that overflows speaks",
        "training/data_parallel.py",
        '    @np.errstate(over="ignore", invalid="ignore")  # the next loss is not finite then\n',
        "",
        ("test_cli_unlucky.py",),
    ),
    Mutant(
        "the gradient of dropped weights is not masked",
        "nn/layers/recurrent.py",
        "np.multiply(grads[name], mask, grads[name])",
        "pass",
        (
            "test_cells.py",
            "test_gradcheck.py",
        ),
    ),
    Mutant(
        "dropped weights run forward only",
        "nn/layers/recurrent.py",
        "self.kernel.run({**params, **dropped}, a, state, workspace)",
        "self.kernel.run(params, a, state, workspace)",
        ("test_cells.py",),
    ),
    Mutant(
        "each stream has masks on weights of its own",
        "nn/layers/recurrent.py",
        "streams=None",
        "streams=1",
        ("test_trainer.py",),
    ),
    Mutant(
        "the mean moves by the decay",
        "optim/averaging.py",
        "difference *= 1 - d",
        "difference *= d",
        (
            "test_averaging.py",
            "test_trainer.py",
        ),
    ),
    Mutant(
        "the mean does not warm up",
        "optim/averaging.py",
        "return min(decay, t / (t + 9))",
        "return decay",
        (
            "test_averaging.py",
            "test_trainer.py",
        ),
    ),
    Mutant(
        "a resume begins the mean anew",
        "training/trainer.py",
        "self.mean.flat[...] = checkpoint.parameters.flat",
        "self.mean.flat[...] = trained",
        ("test_trainer.py",),
    ),
    Mutant(
        "the trained parameters are saved as the model",
        "training/trainer.py",
        "self.corpus.vocabulary, self.mean, corpus, progress, arrays)",
        "self.corpus.vocabulary, self.parameters, corpus, progress, arrays)",
        ("test_trainer.py",),
    ),
    Mutant(
        "validation scores the trained parameters",
        "training/trainer.py",
        "self.model, self.mean, text, threads",
        "self.model, self.parameters, text, threads",
        ("test_trainer.py",),
    ),
    Mutant(
        "a reset leaves the upper layers",
        "training/trainer.py",
        "self.state[:, :, resets] = 0.0",
        "self.state[:1, :, resets] = 0.0",
        ("test_trainer.py",),
    ),
    Mutant(
        "validations take no time",
        "training/recipe.py",
        "left / (epoch + validation / config.run.eval_every)",
        "left / epoch",
        ("test_recipe.py",),
    ),
    Mutant(
        "rules win over what a person chose",
        "training/recipe.py",
        "**rules(N, hidden, n, _WINDOW if lines is None else N // lines), **given}",
        "**given, **rules(N, hidden, n, _WINDOW if lines is None else N // lines)}",
        ("test_recipe.py",),
    ),
    Mutant(
        "the pace is that of another network",
        "training/recipe.py",
        "config = config.replace({**rules(N, hidden, n, _WINDOW if lines is None else N // lines), **given})\n    speed = pace(config, corpus,",
        "config = config.replace({**rules(N, hidden, n, _WINDOW if lines is None else N // lines), **given})\n    speed = pace(reference, corpus,",
        ("test_recipe.py",),
    ),
    Mutant(
        "time before the measurement is not counted",
        "training/recipe.py",
        "left = self.seconds - (time.perf_counter() - self.begun)",
        "left = self.seconds",
        ("test_recipe.py",),
    ),
    Mutant(
        "larger networks want no more text",
        "training/recipe.py",
        "n >= for_time and largest >= H",
        "n >= for_time",
        ("test_recipe.py",),
    ),
    Mutant(
        "a text in bytes is refused",
        "training/session.py",
        'config = config.replace({"corpus.unit": "byte"})',
        "raise",
        ("test_recipe.py",),
    ),
    Mutant(
        "gaps between lines are overlooked",
        "training/recipe.py",
        "lengths.min() > 0 and ",
        "",
        ("test_recipe.py",),
    ),
    Mutant(
        "a resumed run loses its log",
        "runs/directory.py",
        "os.truncate(self.metrics, log_bytes)",
        "os.truncate(self.metrics, 0)",
        ("test_directory.py",),
    ),
    Mutant(
        "the digest leaves out texts of their own",
        "data/corpus.py",
        "if not separate:",
        "if True:",
        (
            "test_corpus.py",
            "test_cli_texts.py",
        ),
    ),
    Mutant(
        "the fraction of a split with a text of its own is lost",
        "data/corpus.py",
        'shares["train"] += shares[name]',
        'shares["train"] += 0.0',
        (
            "test_corpus.py",
            "test_cli_texts.py",
        ),
    ),
    Mutant(
        "units rare in a text of its own become unknown, though the model knows them",
        "data/corpus.py",
        "encoded = self.encoded(1)",
        "encoded = self.encoded(self.pipeline.min_count)",
        ("test_corpus.py::test_what_only_a_separate_text_holds_is_unknown",),
    ),
    Mutant(
        "the original size of a text of its own is that of the other text",
        "data/raw_size.py",
        "if split and split in corpus.separate:",
        "if False:",
        (
            "test_raw_size.py",
            "test_cli_texts.py",
        ),
    ),
    Mutant(
        "a relative text for validation or test stays relative",
        "config/loading.py",
        "for dotted in PATH_KEYS:",
        "for dotted in PATH_KEYS[:1]:",
        (
            "test_config.py",
            "test_cli_texts.py",
        ),
    ),
    Mutant(
        "another text is scored with the texts of the run's splits",
        "cli/evaluate.py",
        'replace(config, validation="", test="")',
        "replace(config)",
        ("test_cli_texts.py",),
    ),
    Mutant(
        "text of a checkpoint as it is in the page's markup",
        "export/assembly.py",
        '.replace("<", "\\\\u003c")',
        "",
        ("test_export_page.py::test_names_cannot_become_markup",),
    ),
    Mutant(
        "a name as it is in the page's markup",
        "export/assembly.py",
        'html.escape("".join(',
        'str("".join(',
        ("test_export_page.py::test_names_cannot_become_markup",),
    ),
    Mutant(
        "float16 beyond its range",
        "export/page.py",
        "if not np.isfinite(near.flat).all():",
        "if False:",
        ("test_export_page.py::test_what_float16_cannot_hold_stays_float32",),
    ),
    Mutant(
        "float16 whatever becomes of the text",
        "export/page.py",
        "if not len(different):",
        "if True:",
        ("test_export_page.py::test_what_float16_cannot_hold_stays_float32",),
    ),
    Mutant(
        "the sign of float16 lost in the page",
        "export/web/page.js",
        "bits >> 15 ? -size : size",
        "size",
        ("test_export_page.py::test_float16_is_read_exactly",),
    ),
    Mutant(
        "small numbers of float16 in the page",
        "export/web/page.js",
        "fraction * 2 ** -24",
        "0",
        ("test_export_page.py::test_float16_is_read_exactly",),
    ),
    Mutant(
        "a text that is stopped goes on in the page",
        "export/web/page.js",
        "if (run !== own) return;",
        "",
        ("test_export_page.py::test_a_click_writes_and_another_stops",),
    ),
    Mutant(
        "a page that has no turn while it writes",
        "export/web/page.js",
        "if (performance.now() < due) continue;",
        "if (performance.now()) continue;",
        ("test_export_page.py::test_a_click_writes_and_another_stops",),
    ),
    Mutant(
        "i and f of the LSTM swapped in the page",
        "export/web/network.js",
        "f[k] * before.c[k] + i[k] * g[k]",
        "i[k] * before.c[k] + f[k] * g[k]",
        ("test_export_page.py::test_it_writes_and_scores_as_charlm_does",),
    ),
    Mutant(
        "one state for all layers of the page",
        "export/web/network.js",
        "states[l])",
        "states[0])",
        ("test_export_page.py::test_it_writes_and_scores_as_charlm_does",),
    ),
    Mutant(
        "<unk> written in the page",
        "export/web/sampling.js",
        "if (unknown !== null) logits[unknown] = -Infinity;",
        "",
        ("test_export_page.py::test_it_writes_and_scores_as_charlm_does",),
    ),
    Mutant(
        "an empty line in the page",
        "export/web/sampling.js",
        "logits[lineBreak] = -Infinity;",
        ";",
        ("test_export_page.py::test_a_seed_gives_the_text_of_the_command",),
    ),
    Mutant(
        "top-p of the page leaves too much",
        "export/web/sampling.js",
        "if (reached >= enough) p[id] = 0;",
        "if (reached > 1.1 * enough) p[id] = 0;",
        ("test_export_page.py::test_a_seed_gives_the_text_of_the_command",),
    ),
    Mutant(
        "a text without a prime begins anywhere in the page",
        "export/web/sampling.js",
        "(!codes.length && lineBreak !== null)",
        "false",
        ("test_export_page.py::test_a_seed_gives_the_text_of_the_command",),
    ),
    Mutant(
        "a page's prime in capitals",
        "export/web/text.js",
        "text = text.toLowerCase();",
        'text = text + "";',
        ("test_export_page.py::test_it_writes_and_scores_as_charlm_does",),
    ),
    Mutant(
        "a byte-order mark lost in the page",
        "export/web/text.js",
        "{ ignoreBOM: true }",
        "{}",
        ("test_export_page.py::test_units_are_put_together_as_in_the_command",),
    ),
    Mutant(
        "jamo shown too early in the page",
        "export/web/text.js",
        " && !/\\p{M}/u.test(character)",
        "",
        ("test_export_page.py::test_units_are_put_together_as_in_the_command",),
    ),
    Mutant(
        "the rotation of the page's random bits",
        "export/web/random.js",
        "const turn = this.state >> 122n;",
        "const turn = this.state >> 123n;",
        ("test_export_page.py::test_random_numbers_are_those_of_numpy",),
    ),
    Mutant(
        "the weights of another run are not used",
        "training/beginning.py",
        "        copy_rows(self.loaded.parameters, trainer.parameters, places)\n",
        "",
        ("test_beginning.py::test_a_run_begins_with_the_weights",),
    ),
    Mutant(
        "the running mean does not begin with the weights",
        "training/beginning.py",
        "        trainer.mean.flat[...] = trainer.parameters.flat\n",
        "        trainer.mean.flat[...] = 0.0\n",
        ("test_beginning.py::test_a_run_begins_with_the_weights",),
    ),
    Mutant(
        "the row of <unk> stays fresh",
        "training/beginning.py",
        "places = np.append(places, new.unknown)",
        "places = np.append(places, 0)",
        ("test_beginning.py::test_added_units_get_fresh_weights",),
    ),
    Mutant(
        "a resumed run with added units reads its text in another vocabulary",
        "training/session.py",
        "elif saved is not None and corpus.digest",
        "elif saved is None and corpus.digest",
        ("test_beginning.py::test_it_resumes_exactly_and_on_any_number_of_workers",),
    ),
    Mutant(
        "gates exported in the order of charlm",
        "export/pytorch.py",
        "order = [gates.index(gate) for gate in GATES[cell]]",
        "order = list(range(len(gates)))",
        ("test_export_weights.py",),
    ),
    Mutant(
        "gates imported in another order",
        "export/pytorch.py",
        "order = [GATES[cell].index(gate) for gate in gates]",
        "order = list(range(len(gates)))",
        ("test_importing.py",),
    ),
    Mutant(
        "the inner bias of the GRU is not exported",
        "export/pytorch.py",
        'inner[gates.index("n")] = parameters[own + "bn"]',
        "pass",
        ("test_export_weights.py",),
    ),
    Mutant(
        "the second bias is not added",
        "export/pytorch.py",
        'blocks["bias_ih"] + inner)',
        'blocks["bias_ih"])',
        ("test_importing.py",),
    ),
    Mutant(
        "transposed tensors are written",
        "export/pytorch.py",
        "np.ascontiguousarray(tensor) for name",
        "tensor for name",
        ("test_export_weights.py",),
    ),
    Mutant(
        "the header of the tensors in any order",
        "export/weights.py",
        "data = _settled(",
        "data = (",
        ("test_export_weights.py::test_the_file_explains_itself",),
    ),
    Mutant(
        "the embedding is folded in for other characters",
        "export/importing.py",
        "found[embedding].astype(np.float64).T",
        "found[embedding].astype(np.float64)[::-1].T",
        ("test_importing.py",),
    ),
    Mutant(
        "the vocabulary is not permuted",
        "export/importing.py",
        "named, np.argsort(codes), text)",
        "named, np.arange(len(codes)), text)",
        ("test_importing.py",),
    ),
    Mutant(
        "overlapping tensors are read",
        "runs/tensors.py",
        "        if first != end:",
        "        if first > end:",
        ("test_importing.py::test_hostile_files_are_refused",),
    ),
    Mutant(
        "a name that occurs twice is read",
        "runs/tensors.py",
        "    if len(found) != len(pairs):",
        "    if len(found) > len(pairs):",
        ("test_importing.py::test_hostile_files_are_refused",),
    ),
    Mutant(
        "gates of the graph in the order of charlm",
        "export/graph.py",
        "order, own = [gates.index(gate) for gate in _GATES[cell]]",
        "order, own = list(range(len(gates)))",
        ("test_export_graph.py",),
    ),
    Mutant(
        "the graph forgets where the reset gate acts",
        "export/graph.py",
        'int(loaded.config.model.gru_reset == "after")',
        "0",
        ("test_export_graph.py",),
    ),
    Mutant(
        "the graph lacks the inner bias of the GRU",
        "export/graph.py",
        'inner[gates.index("n")] = params[own + "bn"]',
        "pass",
        ("test_export_graph.py",),
    ),
    Mutant(
        "the graph lacks the biases of the gates",
        "export/graph.py",
        'np.concatenate([*params[own + "b"][order], *inner[order]])',
        "np.concatenate([*inner[order] * 0, *inner[order]])",
        ("test_export_graph.py",),
    ),
    Mutant(
        "the recurrent matrices of the graph are not transposed",
        "export/graph.py",
        'params[own + "Wh"].swapaxes(1, 2)[order]',
        'params[own + "Wh"][order]',
        ("test_export_graph.py",),
    ),
    Mutant(
        "the graph hands on the states of its layers in reverse",
        "export/graph.py",
        'afters = [f"layers.{layer}.{state}n" for layer in range(L)]',
        'afters = [f"layers.{layer}.{state}n" for layer in reversed(range(L))]',
        ("test_export_graph.py",),
    ),
    Mutant(
        "a graph is written in place",
        "export/graph.py",
        "write_whole(path, lambda stream: stream.write(data))",
        "path.write_bytes(data)",
        ("test_export_graph.py",),
    ),
    Mutant(
        "only the steps that follow, not the layers above",
        "inference/gradient_flow.py",
        "np.add(dy[0], dstate[0], dh)",
        "np.copyto(dh, dstate[0])",
        ("test_gradient_flow.py",),
    ),
    Mutant(
        "only the layers above, not the steps that follow",
        "inference/gradient_flow.py",
        "np.add(dy[0], dstate[0], dh)",
        "np.copyto(dh, dy[0])",
        ("test_gradient_flow.py",),
    ),
    Mutant(
        "the gradient of c in the place of that of h",
        "inference/gradient_flow.py",
        "np.add(dy[0], dstate[0], dh)",
        "np.add(dy[0], dstate[-1], dh)",
        ("test_gradient_flow.py",),
    ),
    Mutant(
        "the loss is counted again at every step",
        "inference/gradient_flow.py",
        "dlogits = np.zeros_like(dlogits)",
        "dlogits = dlogits.copy()",
        ("test_gradient_flow.py",),
    ),
    Mutant(
        "steps in the order of the text",
        "inference/gradient_flow.py",
        "zip(dh, reversed(tapes), strict=True)",
        "zip(dh[::-1], reversed(tapes), strict=True)",
        ("test_gradient_flow.py",),
    ),
    Mutant(
        "the mean of the streams' losses",
        "inference/gradient_flow.py",
        "y, scored=1)",
        "y, scored=B)",
        ("test_gradient_flow.py",),
    ),
    Mutant(
        "the text is warmed up one unit too late",
        "inference/gradient_flow.py",
        "for back in range(WARM_UP, 0, -1):",
        "for back in range(WARM_UP - 1, -1, -1):",
        ("test_gradient_flow.py",),
    ),
    Mutant(
        "the state of another line is carried on",
        "inference/gradient_flow.py",
        "state[:, :, index <= begins] = 0.0",
        "state[:, :, index < begins] = 0.0",
        ("test_gradient_flow.py",),
    ),
    Mutant(
        "a line whose first unit is looked at begins from the line before",
        "inference/gradient_flow.py",
        "state[:, :, ends <= begins] = 0.0",
        "state[:, :, ends < begins] = 0.0",
        ("test_gradient_flow.py",),
    ),
    Mutant(
        "places are counted in another line",
        "inference/gradient_flow.py",
        'side="right")',
        'side="left")',
        ("test_gradient_flow.py",),
    ),
    Mutant(
        "the target is the unit that was read",
        "inference/gradient_flow.py",
        "text.ids[ends[some] + 1]",
        "text.ids[ends[some]]",
        ("test_gradient_flow.py",),
    ),
    Mutant(
        "relative to the largest and not to k = 0",
        "inference/gradient_flow.py",
        "self.norms / self.norms[:, :1]",
        "self.norms / self.norms.max(axis=1, keepdims=True)",
        ("test_gradient_flow.py",),
    ),
    Mutant(
        "the untrained network is that of another seed",
        "cli/evaluate.py",
        "fresh_parameters(model, config.model, config.train.seed)",
        "fresh_parameters(model, config.model, 0)",
        ("test_gradient_flow.py",),
    ),
    Mutant(
        "states one unit late",
        "inference/trace.py",
        "kept[rows] = values[1:, 0]",
        "kept[rows] = values[:-1, 0]",
        ("test_trace.py",),
    ),
    Mutant(
        "gates of another row in every window but the first",
        "inference/trace.py",
        "range(rows.start, rows.stop)",
        "range(rows.stop - rows.start)",
        ("test_trace.py",),
    ),
    Mutant(
        "a window begins from zero",
        "inference/trace.py",
        "state[depth] = within[:, -1]",
        "state[depth] = 0.0",
        ("test_trace.py",),
    ),
    Mutant(
        "the loss of the unit that was read",
        "inference/trace.py",
        "np.append(self.ids[1:], 0))[:-1]",
        "self.ids)[:-1]",
        ("test_trace.py",),
    ),
    Mutant(
        "lines are read on from one another",
        "interface.py",
        "begins = ids == self._loaded.vocabulary.line_break",
        "begins = np.arange(len(ids)) == 0",
        ("test_trace.py",),
    ),
    Mutant(
        "two gates of the LSTM exchanged for the reader",
        "nn/cells/lstm.py",
        "return i, f, o, g",
        "return i, o, f, g",
        ("test_trace.py",),
    ),
    Mutant(
        "nats for bits",
        "interface.py",
        "read, window) / math.log(2)",
        "read, window)",
        ("test_shown.py",),
    ),
    Mutant(
        "each character has the loss of the next",
        "interface.py",
        "np.concatenate([[np.nan], bits])",
        "np.concatenate([bits, [np.nan]])",
        ("test_shown.py",),
    ),
    Mutant(
        "windows are shown with the state carried through",
        "inference/score.py",
        "starts = np.arange(0, text.targets, window)",
        "starts = np.arange(0, text.targets, window + 1)",
        ("test_shown.py",),
    ),
    Mutant(
        "the text is not escaped",
        "inference/shown.py",
        "{html.escape(sign)}",
        "{sign}",
        ("test_shown.py",),
    ),
    Mutant(
        "only the first unit of a character counts",
        "inference/shown.py",
        "sum(one for _, one in predicted)",
        "predicted[0][1] if predicted else 0.0",
        ("test_shown.py",),
    ),
    Mutant(
        "a syllable swallows what follows it",
        "inference/shown.py",
        "if len(joined) > 1:",
        "if len(joined) > 2:",
        ("test_shown.py",),
    ),
    Mutant(
        "a mark joins the character before it",
        "data/signs.py",
        "return _DOTTED_CIRCLE + character\n    return _jamo",
        "return character\n    return _jamo",
        ("test_signs.py",),
    ),
    Mutant(
        "the right axis of the losses in nats",
        "report/curves.py",
        "lambda nats: nats / _LN2, lambda bits: bits * _LN2",
        "lambda nats: nats, lambda bits: bits",
        ("test_curves.py::test_the_right_axis_is_in_bits",),
    ),
    Mutant(
        "bits of the best loss multiplied instead of divided",
        "report/curves.py",
        "nats, {nats / _LN2:.4f} bits",
        "nats, {nats * _LN2:.4f} bits",
        ("test_curves.py::test_the_best_and_the_clipping_are_told_in_words",),
    ),
    Mutant(
        "validations drawn one line further",
        "report/curves.py",
        'line = _plot(losses, x, values["validation_loss"]',
        'line = _plot(losses, np.roll(x, -1), values["validation_loss"]',
        ("test_curves.py::test_what_is_drawn_is_what_was_logged",),
    ),
    Mutant(
        "the rate and the norm drawn in each other's place",
        "report/curves.py",
        '_plot(rates, x, values["lr"], look)',
        '_plot(rates, x, values["grad_norm"], look)',
        ("test_curves.py::test_what_is_drawn_is_what_was_logged",),
    ),
    Mutant(
        "of many points the peaks are left out",
        "report/curves.py",
        "start + int(np.argmax(y[start:stop]))",
        "start",
        (
            "test_curves.py::test_a_single_peak_is_not_lost",
            "test_curves.py::test_thinned_lines_keep_their_extremes",
        ),
    ),
    Mutant(
        "a picture with its date",
        "report/curves.py",
        '".svg": {"Date": None},',
        '".svg": {},',
        ("test_curves.py::test_equal_logs_give_equal_bytes",),
    ),
    Mutant(
        "Type 42 fonts in PDF, which are blank for outlines of PostScript",
        "report/curves.py",
        '"pdf.fonttype": 3,',
        '"pdf.fonttype": 42,',
        ("test_curves.py::test_a_korean_name_is_drawn_or_the_user_is_told",),
    ),
    Mutant(
        "ids that two figures of a page have in common",
        "report/curves.py",
        'rf"\\1{prefix}", svg',
        'r"\\1curves-", svg',
        ("test_curves.py::test_an_inline_figure_fits_any_page",),
    ),
    Mutant(
        "a unit is looked at one unit of the text too early",
        "report/stretch.py",
        "return np.array([one.units.stop - 1 for one in self.shown])",
        "return np.array([max(0, one.units.stop - 2) for one in self.shown])",
        ("test_report.py::test_neurons_hold_what_there_is_after_each_character",),
    ),
    Mutant(
        "the surprise of the unit before",
        "report/surprise.py",
        "logits[rows.start - 1 : rows.stop - 1]",
        "logits[rows]",
        ("test_report.py::test_surprise_is_that_of_the_score",),
    ),
    Mutant(
        "nats for bits in the report",
        "report/surprise.py",
        "-own[:, 0] / math.log(2)",
        "-own[:, 0]",
        ("test_report.py::test_surprise_is_that_of_the_score",),
    ),
    Mutant(
        "ranks from 0",
        "report/surprise.py",
        "1 + (log_p > own)",
        "0 + (log_p > own)",
        ("test_report.py::test_surprise_is_that_of_the_score",),
    ),
    Mutant(
        "lines of a report begin at the line break that is not shown",
        "report/stretch.py",
        "one.units.start + first, one.units.stop + first",
        "one.units.start, one.units.stop",
        ("test_report.py::test_a_stretch_is_the_beginning_of_the_text",),
    ),
    Mutant(
        "units are ranked by their correlation, not its size",
        "report/neurons.py",
        "np.argsort(-np.abs(correlations)",
        "np.argsort(-correlations",
        ("test_report.py::test_the_correlation_is_pearsons",),
    ),
    Mutant(
        "a constant unit has a correlation",
        "report/neurons.py",
        "where=changes & (norms > 0)",
        "where=norms > 0",
        ("test_report.py::test_the_correlation_is_pearsons",),
    ),
    Mutant(
        "gates that are open count as shut",
        "report/neurons.py",
        "(array < LOW).mean(axis=0), (array > HIGH).mean(axis=0)",
        "(array > HIGH).mean(axis=0), (array < LOW).mean(axis=0)",
        ("test_report.py::test_saturation_counts_the_ends",),
    ),
    Mutant(
        "a straight quotation mark opens after a letter",
        "report/properties.py",
        "inside = not inside and (",
        "inside = not inside or (",
        ("test_report.py::test_properties_of_a_text",),
    ),
    Mutant(
        "components of rows that are not centred",
        "report/characters.py",
        "(rows - rows.mean(axis=0)).astype",
        "rows.astype",
        ("test_report.py::test_components_are_those_of_the_covariance",),
    ),
    Mutant(
        "a page colours the text by the next unit",
        "report/web/report.js",
        "values[u * neurons.length + k] / 127 : NaN",
        "values[(u + 1) * neurons.length + k] / 127 : NaN",
        ("test_report.py::test_it_is_looked_at",),
    ),
    Mutant(
        "a page names the expected units of the unit before",
        "report/web/report.js",
        "const at = unit * losses.expected + rank;",
        "const at = (unit - 1) * losses.expected + rank;",
        ("test_report.py::test_it_is_looked_at",),
    ),
    Mutant(
        "a text that keys move below the mouse is pointed at",
        "report/web/report.js",
        '["pointermove", "click"]',
        '["pointerover", "click"]',
        ("test_report.py::test_it_is_looked_at",),
    ),
    Mutant(
        "previews are markup",
        "report/page.py",
        'return escape("".join(c if',
        'return str("".join(c if',
        ("test_report.py::test_a_text_cannot_become_markup",),
    ),
    Mutant(
        "a figure keeps styles that the policy of a page forbids",
        "report/curves.py",
        'r\'style="([^"]*)"\'',
        'r\'stile="([^"]*)"\'',
        (
            "test_curves.py::test_an_inline_figure_fits_any_page",
            "test_report.py::test_the_page_asks_for_nothing",
        ),
    ),
    Mutant(
        "the worst validation is the best",
        "report/history.py",
        "np.nanargmin",
        "np.nanargmax",
        (
            "test_history.py",
            "test_curves.py::test_the_best_and_the_clipping_are_told_in_words",
        ),
    ),
    Mutant(
        "every line of the log weighs the same in the share of clipped updates",
        "report/history.py",
        "weights=updates[told]",
        "weights=None",
        ("test_history.py",),
    ),
    Mutant(
        "minutes of sixty minutes",
        "report/history.py",
        'self.values["seconds"] / 60',
        'self.values["seconds"] / 3600',
        (
            "test_history.py",
            "test_curves.py::test_what_is_drawn_is_what_was_logged",
        ),
    ),
    Mutant(
        "event files in nats where they say bits",
        "training/tensorboard.py",
        "nats / math.log(2)",
        "nats",
        ("test_tensorboard.py",),
    ),
    Mutant(
        "events of before a resume are kept beside the new ones",
        "training/tensorboard.py",
        "        self._directory.remove_events()\n        self._read = {}\n",
        "        self._read = {}\n",
        ("test_tensorboard.py::test_a_resumed_run_is_one_line",),
    ),
    Mutant(
        "events are written from the first line again with every line",
        "training/tensorboard.py",
        "self._read.get(file, 0)",
        "0",
        ("test_tensorboard.py",),
    ),
    Mutant(
        "events of an old run become those of the new one",
        "runs/directory.py",
        "                    (self.path / name).unlink(missing_ok=True)\n            self.remove_events()\n",
        "                    (self.path / name).unlink(missing_ok=True)\n",
        (
            "test_tensorboard.py::test_overwriting_leaves_no_old_events",
            "test_directory.py::test_killed_at_any_system_call_of_a_replacement",
        ),
    ),
    Mutant(
        "previews of an old run become those of the new one",
        "runs/directory.py",
        'for name in ("best.npz", "previews.jsonl"):',
        'for name in ("best.npz",):',
        ("test_directory.py",),
    ),
    Mutant(
        "a resumed run keeps previews that it makes again",
        "runs/directory.py",
        'if preview["step"] > step:',
        'if preview["step"] > step + 1:',
        ("test_directory.py",),
    ),
    Mutant(
        "a resumed run drops the preview of its checkpoint",
        "runs/directory.py",
        'if preview["step"] > step:',
        'if preview["step"] >= step:',
        (
            "test_directory.py",
            "test_loop.py",
        ),
    ),
    Mutant(
        "a line that is being written is read",
        "runs/directory.py",
        '                if not line.endswith(b"\\n"):\n                    return\n',
        "",
        (
            "test_directory.py",
            "test_history.py",
        ),
    ),
    Mutant(
        "updates whose values were clipped do not count",
        "training/data_parallel.py",
        "self._factor < 1 or after < before",
        "self._factor < 1",
        ("test_trainer.py",),
    ),
    Mutant(
        "the share of clipped updates is a number",
        "training/trainer.py",
        "return self.clipped / self.updates if self.updates else None",
        "return self.clipped if self.updates else None",
        (
            "test_trainer.py",
            "test_loop.py",
        ),
    ),
    Mutant(
        "spreadsheets get rounded numbers",
        "cli/info.py",
        "writer.writerows(lines)",
        "writer.writerows({k: v and round(v, 4) for k, v in line.items()} for line in lines)",
        ("test_info.py",),
    ),
    Mutant(
        "the curve in characters stands on its head",
        "cli/curve.py",
        "[-value for value in y]",
        "y",
        ("test_curve.py",),
    ),
    Mutant(
        "the curve in characters has the dots of its columns exchanged",
        "cli/curve.py",
        "(0x01, 0x08), (0x02, 0x10)",
        "(0x08, 0x01), (0x10, 0x02)",
        ("test_curve.py",),
    ),
)


TIMEOUT = 300
"""Seconds after which a check that has not ended counts as one that noticed: the error makes it hang."""


def fails(check: str, copy: Path) -> str:
    """Run one check in a copy of the repository: `yes`, `no`, `timeout`, or `cannot run`."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider"]
    command += [f"tests/{check}"]
    if check == GRADIENTS:
        command = [sys.executable, "-m", "charlm", *check.split()]
    environment = {**os.environ, "PYTHONPATH": str(copy), "CI": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, check=False, timeout=TIMEOUT
        )
    except subprocess.TimeoutExpired:
        return "timeout"
    # pytest has other statuses for tests that are not there, or cannot be collected
    return {0: "no", 1: "yes"}.get(done.returncode, "cannot run")


def unmutated(check: str, copies: queue.Queue[Path]) -> str:
    """Run one check without any error planted."""
    copy = copies.get()
    try:
        return fails(check, copy)
    finally:
        copies.put(copy)


def verdict_on(mutant: Mutant, copies: queue.Queue[Path]) -> str:
    """Plant one error and run its checks: `found`, or what is wrong."""
    copy = copies.get()
    file = copy / "charlm" / mutant.file
    source = file.read_text()
    try:
        if source.count(mutant.right) != 1:
            return "CANNOT BE PLANTED: the text is not there exactly once"
        file.write_text(source.replace(mutant.right, mutant.wrong))
        noticed = {check: fails(check, copy) for check in mutant.found_by}
    finally:
        file.write_text(source)
        copies.put(copy)
    if all(answer == "yes" for answer in noticed.values()):
        return "found"
    kinds = {"no": "SURVIVED", "timeout": "found, by a timeout of", "cannot run": "CANNOT RUN"}
    return ", ".join(f"{kinds[answer]} {check}" for check, answer in noticed.items() if answer != "yes")


def _not_copied(directory: str, names: list[str]) -> set[str]:
    """What is no part of the repository: at its top whatever training and tools left there."""
    kept = {"charlm", "configs", "data", "tests", "pyproject.toml", "README.md", ".ci", ".github"}
    return set(names) - kept if Path(directory) == ROOT else {"__pycache__"}


def main() -> int:
    """Plant, run, print; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", help="only mutants whose description or file holds one of these")
    parser.add_argument("--list", action="store_true", help="print the mutants and run nothing")
    parser.add_argument("--jobs", type=int, default=2, help="copies of the repository that work side by side")
    arguments = parser.parse_args()
    chosen = [
        mutant
        for mutant in MUTANTS
        if not arguments.words or any(word in f"{mutant.about} {mutant.file}" for word in arguments.words)
    ]
    if arguments.list:
        for mutant in chosen:
            print(f"{mutant.file}: {mutant.about}")
        return 0
    missed = 0
    with tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor(arguments.jobs) as pool:
        copies: queue.Queue[Path] = queue.Queue()
        for number in range(arguments.jobs):
            shutil.copytree(ROOT, Path(directory) / str(number), ignore=_not_copied)
            copies.put(Path(directory) / str(number))
        checks = sorted({check for mutant in chosen for check in mutant.found_by})
        # in a copy, so that nothing that a copy lacks passes for a planted error
        answers = pool.map(lambda check: unmutated(check, copies), checks)
        wrong = [check for check, answer in zip(checks, answers, strict=True) if answer != "no"]
        if wrong:
            print(f"without any planted error these fail: {', '.join(wrong)}")
            return 1
        verdicts = pool.map(lambda mutant: verdict_on(mutant, copies), chosen)
        for mutant, verdict in zip(chosen, verdicts, strict=True):
            missed += not verdict.startswith("found")
            print(f"{mutant.file}: {mutant.about}: {verdict}", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} found")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
