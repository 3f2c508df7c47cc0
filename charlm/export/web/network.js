// The network, one unit of text at a time: the equations of charlm/nn/cells, forward.
//
// A vector is a Float32Array. A matrix [I, O] is one too, its rows of O numbers one after the other.
// Gates are called by their names, and each has its own Wx, Wh and b. A state is the vectors that a
// cell carries from step to step, by their names: { h }, or { h, c }.

/** x W: the row vector `x` [I] times the matrix `W` [I, O]. */
function times(x, W) {
  const O = W.length / x.length;
  const y = new Float32Array(O);
  for (let i = 0; i < x.length; i++) {
    const x_i = x[i];
    const row = i * O;
    for (let o = 0; o < O; o++) y[o] += x_i * W[row + o];
  }
  return y;
}

/** Row `i` of the matrix `W` [I, O]: the product of W with a one-hot vector. */
function row(W, i, O) {
  return W.subarray(i * O, (i + 1) * O);
}

/** The vector of as many numbers as `like` has, number k being f(k). */
function vector(like, f) {
  const v = new Float32Array(like.length);
  for (let k = 0; k < v.length; k++) v[k] = f(k);
  return v;
}

const plus = (u, v) => vector(u, (k) => u[k] + v[k]);
const tanh = (a) => vector(a, (k) => Math.tanh(a[k]));
const sigmoid = (a) => vector(a, (k) => 1 / (1 + Math.exp(-a[k])));

/** One step of each cell: the state after it, from a = x_t Wx + b for each gate and the state before. */
const CELLS = {
  // h_t = tanh(x_t Wx + h_{t-1} Wh + b)
  // Elman 1990
  rnn({ Wh }, a, before) {
    const h = tanh(plus(a.h, times(before.h, Wh.h)));
    return { h };
  },

  // i, f, o = sigmoid(x_t Wx + h_{t-1} Wh + b), each with its own matrices;  g = tanh(…)
  // c_t = f * c_{t-1} + i * g
  // h_t = o * tanh(c_t)
  // Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000
  lstm({ Wh }, a, before) {
    const i = sigmoid(plus(a.i, times(before.h, Wh.i)));
    const f = sigmoid(plus(a.f, times(before.h, Wh.f)));
    const o = sigmoid(plus(a.o, times(before.h, Wh.o)));
    const g = tanh(plus(a.g, times(before.h, Wh.g)));
    const c = vector(g, (k) => f[k] * before.c[k] + i[k] * g[k]);
    const h = vector(c, (k) => o[k] * Math.tanh(c[k]));
    return { h, c };
  },

  // r, z = sigmoid(x_t Wx + h_{t-1} Wh + b), each with its own matrices
  // n = tanh(x_t Wx_n + b_n + r * (h_{t-1} Wh_n + bn))
  // h_t = (1 - z) * n + z * h_{t-1}
  // The reset gate acts after the recurrent product, as in cuDNN and PyTorch
  "gru after"({ Wh, bn }, a, before) {
    const r = sigmoid(plus(a.r, times(before.h, Wh.r)));
    const z = sigmoid(plus(a.z, times(before.h, Wh.z)));
    const inner = plus(times(before.h, Wh.n), bn);
    const n = vector(inner, (k) => Math.tanh(a.n[k] + r[k] * inner[k]));
    const h = vector(n, (k) => (1 - z[k]) * n[k] + z[k] * before.h[k]);
    return { h };
  },

  // r, z as above
  // n = tanh(x_t Wx_n + (r * h_{t-1}) Wh_n + b_n)
  // h_t = (1 - z) * n + z * h_{t-1}
  // The reset gate acts before the recurrent product: Cho et al. 2014
  "gru before"({ Wh }, a, before) {
    const r = sigmoid(plus(a.r, times(before.h, Wh.r)));
    const z = sigmoid(plus(a.z, times(before.h, Wh.z)));
    const kept = vector(r, (k) => r[k] * before.h[k]);
    const n = tanh(plus(a.n, times(kept, Wh.n)));
    const h = vector(n, (k) => (1 - z[k]) * n[k] + z[k] * before.h[k]);
    return { h };
  },
};

/** A stack of recurrent layers of one cell, and a linear layer that gives the logits. */
class Network {
  /**
   * `gates` and `states` are the names that the cell uses. `arrays` are the parameters by the names
   * that charlm gives them, layers.0.Wx and so on; the gate comes first in each.
   */
  constructor(cell, gates, states, hidden, arrays) {
    this.cell = CELLS[cell];
    this.gates = gates;
    this.states = states;
    this.hidden = hidden;
    this.layers = [];
    while (`layers.${this.layers.length}.Wx` in arrays) {
      const own = `layers.${this.layers.length}.`;
      this.layers.push({
        Wx: this.byGate(arrays[own + "Wx"]),
        Wh: this.byGate(arrays[own + "Wh"]),
        b: this.byGate(arrays[own + "b"]),
        bn: arrays[own + "bn"],
      });
    }
    this.output = { W: arrays["output.W"], b: arrays["output.b"] };
  }

  /** The part of an array that belongs to each gate, by its name. */
  byGate(array) {
    const size = array.length / this.gates.length;
    const part = (gate, k) => [gate, array.subarray(k * size, (k + 1) * size)];
    return Object.fromEntries(this.gates.map(part));
  }

  /** The states of all layers before a text begins: zero. */
  start() {
    const zero = () => Object.fromEntries(this.states.map((name) => [name, new Float32Array(this.hidden)]));
    return this.layers.map(zero);
  }

  /** a = x Wx + b for each gate of a layer; `x` is a vector, or for the first layer the id of a unit. */
  inputs({ Wx, b }, x) {
    const product = (W) => (typeof x === "number" ? row(W, x, this.hidden) : times(x, W));
    return Object.fromEntries(this.gates.map((gate) => [gate, plus(product(Wx[gate]), b[gate])]));
  }

  /** Read the unit `id`: the logits [V] of the unit that follows, and the states of all layers after it. */
  step(id, states) {
    const after = [];
    let signal = id;
    for (const [l, layer] of this.layers.entries()) {
      after[l] = this.cell(layer, this.inputs(layer, signal), states[l]);
      signal = after[l].h;
    }
    const { W, b } = this.output;
    return { logits: plus(times(signal, W), b), states: after };
  }
}
