"""The operations that all networks share, each forward beside its backward.

Letters: `N` rows (`T·B` of a window), `I` inputs, `O` outputs, `V` vocabulary.
"""

from __future__ import annotations

import numpy as np

from charlm.nn.parameters import Array, Ids, Shape


def sigmoid(a: Array) -> None:
    """Replace `a` by `σ(a) = ½ tanh(½a) + ½`.

    The same function as `1 / (1 + exp(-a))`, with neither overflow nor a division.
    """
    np.multiply(a, 0.5, a)
    np.tanh(a, a)
    np.multiply(a, 0.5, a)
    np.add(a, 0.5, a)


def linear_forward(x: Array, W: Array, b: Array, out: Array) -> Array:
    """`y = x W + b`: `x [N, I]`, `W [I, O]`, `b [O]`, `out [N, O]`, which is returned."""
    np.matmul(x, W, out)
    np.add(out, b, out)
    return out


def linear_backward(
    x: Array,
    W: Array,
    dW: Array,
    db: Array,
    dy: Array,
    dx: Array,
) -> Array:
    """Gradients of `y = x W + b`.

    `dW += xᵀ dy`, `db += Σ dy`, and `dx = dy Wᵀ`, written to `dx [N, I]`, which is returned.
    """
    dW += x.T @ dy
    db += dy.sum(axis=0)
    np.matmul(dy, W.T, dx)
    return dx


def gather_forward(ids: Ids, W: Array, b: Array, out: Array) -> Array:
    """`y = onehot(ids) W + b` without the product: `ids [N]`, `W [V, O]`, `out [N, O]`."""
    # mode="clip" is NumPy's unbuffered way into `out`; ids come from a vocabulary, so none is clipped
    np.take(W, ids, axis=0, out=out, mode="clip")
    np.add(out, b, out)
    return out


def gather_backward(ids: Ids, dW: Array, db: Array, dy: Array) -> None:
    """Gradients of `y = onehot(ids) W + b`: `dW[v] += Σ dy` over the rows where `ids = v`; `db += Σ dy`."""
    # rows of one character are brought together and summed in one pass; a dense one-hot
    # product would cost V times as much, and np.add.at is slower than either
    order = np.argsort(ids, kind="stable")
    together = ids[order]
    starts = np.flatnonzero(np.r_[True, together[1:] != together[:-1]])
    sums = np.add.reduceat(dy[order], starts, axis=0)
    dW[together[starts]] += sums
    db += sums.sum(axis=0)


def dropout_mask(rng: np.random.Generator, shape: Shape, dropout: float, out: Array) -> Array:
    """Draw a mask into `out`: 0 with probability `dropout`, else `1 / (1 - dropout)`.

    Scaling at training time keeps the expected activation, so that evaluation needs no dropout
    code at all (Srivastava et al. 2014, inverted form). Draws are float32 whatever the type of
    `out`, so that a network in float64 sees the masks that one in float32 sees.
    """
    kept = rng.random(shape, dtype=np.float32) >= dropout
    np.multiply(kept, 1.0 / (1.0 - dropout), out, casting="unsafe")
    return out


def cross_entropy(logits: Array, targets: Ids) -> Array:
    """Nats of each row: `-log softmax(logits)[target]`; `logits [N, V]`, result `[N]` in float64.

    `logits` is overwritten. Finite for any finite logits: the row's largest is subtracted first,
    and the difference to the target's logit is taken in float64.
    """
    nats, _ = _nats_and_normaliser(logits, targets)
    return nats


def softmax_cross_entropy(logits: Array, targets: Ids) -> tuple[float, Array]:
    """Mean nats a character, and the gradient with respect to the logits.

    `loss = -1/N Σ_n log p[n, targets[n]]` with `p = softmax(logits)`; its gradient is
    `(p - onehot(targets)) / N`. `logits [N, V]` is overwritten by the gradient.
    """
    N = len(targets)
    nats, normaliser = _nats_and_normaliser(logits, targets)
    p = logits  # the exponentials, from here on
    np.multiply(p, (1.0 / (normaliser * N)).astype(p.dtype)[:, None], p)
    p[np.arange(N), targets] -= p.dtype.type(1.0 / N)
    return float((nats / N).sum()), p


def _nats_and_normaliser(logits: Array, targets: Ids) -> tuple[Array, Array]:
    """Nats `[N]` and `Σ exp(logits - max)` `[N]`, both float64; `logits` becomes those exponentials."""
    largest = logits.max(axis=1)
    # log p = (logit - max) - log Σ exp(logit - max)
    chosen = logits[np.arange(len(targets)), targets].astype(np.float64)
    with np.errstate(over="ignore"):  # a difference beyond the type is -inf, whose exponential is 0
        below = np.minimum(largest.astype(np.float64) - chosen, np.finfo(np.float64).max)
        np.subtract(logits, largest[:, None], logits)
    np.exp(logits, logits)
    normaliser = logits.sum(axis=1, dtype=np.float64)
    return below + np.log(normaliser), normaliser
