// The network, one unit of text at a time, forward and backward: the cells of charlm/nn/cells.
//
// A vector is a typed array. A matrix [I, O] is one too, its rows of O numbers one after the other. The
// type of all numbers is the type of the parameters: a Float32Array is enough to generate, and the lesson
// computes in Float64Arrays. Gates are called by their names, and each has its own Wx, Wh and b.
//
//   network = new Network(cell, hidden, arrays)   a key of CELLS; the parameters as charlm names them
//   network.cell.gates, network.cell.states       names, in the order of the parameters
//   network.layers.length, network.hidden
//   network.step(id, states)                      to generate: { logits, states }; network.start() is zero
//
//   pass = network.forward(ids, window, reset)    a text; windows of that many steps, the state carried
//   pass.loss                                     nats, the mean over pass.predictions; null if there are none
//   pass.steps[t]     id, target (null at the end), begins (a window begins here), logits [V], p [V],
//                     loss (null at the end)
//   pass.steps[t].layers[l]      every value of the cell by its name: x, h_prev, a_r, r, …, h
//
//   gradients = network.backward(pass, { of })    of the mean loss, or of the loss of prediction `of`
//   gradients.steps[t]           dloss, dp [V], dlogits [V]
//   gradients.steps[t].layers[l] the gradient of every value: dx, dh_prev, da_r, dr, …, dh. Besides
//                     dh_above   what comes to h from the layer above, or from the logits
//                     dh_next    what comes to h, and to c, from the next step; dh = dh_above + dh_next
//                     paths      dh_prev as a sum: { h: { direct, r, z, n } }; see CELLS
//   gradients.parameters         arrays like the parameters, by the same names
//
//   network.reach(pass, k, layer)                 how much of the loss of prediction k arrives at each step
//   network.check(gradients, place)               one of these gradients beside a difference of two losses

/** x W: the row vector `x` [I] times the matrix `W` [I, O]. */
function times(x, W) {
  const O = W.length / x.length;
  const y = new W.constructor(O);
  for (let i = 0; i < x.length; i++) {
    const x_i = x[i];
    if (x_i === 0) continue; // nearly all of a one-hot row
    const row = i * O;
    for (let o = 0; o < O; o++) y[o] += x_i * W[row + o];
  }
  return y;
}

/** dy Wᵀ: the gradient with respect to x of y = x W. */
function timesTransposed(dy, W) {
  const O = dy.length;
  const dx = new W.constructor(W.length / O);
  for (let i = 0; i < dx.length; i++) {
    const row = i * O;
    let sum = 0;
    for (let o = 0; o < O; o++) sum += dy[o] * W[row + o];
    dx[i] = sum;
  }
  return dx;
}

/** dW += xᵀ dy: the gradient with respect to W of y = x W. */
function addProduct(dW, x, dy) {
  const O = dy.length;
  for (let i = 0; i < x.length; i++) {
    const x_i = x[i];
    if (x_i === 0) continue;
    const row = i * O;
    for (let o = 0; o < O; o++) dW[row + o] += x_i * dy[o];
  }
}

/** db += dy */
function add(db, dy) {
  for (let k = 0; k < dy.length; k++) db[k] += dy[k];
}

/** a_q = x Wx_q + h Wh_q + b_q, for a gate q of a layer. */
const affine = (q, { Wx, Wh, b }, x, h) => plus(times(x, Wx[q]), times(h, Wh[q]), b[q]);

/** The same backward, from the gradient of a_q: what it adds to those of Wx_q, Wh_q and b_q. */
function addAffine(q, grads, x, h, da) {
  addProduct(grads.Wx[q], x, da);
  addProduct(grads.Wh[q], h, da);
  add(grads.b[q], da);
}

/** The sum of vectors. */
function plus(first, ...rest) {
  const sum = first.slice();
  for (const v of rest) add(sum, v);
  return sum;
}

/** The vector whose number k is f(u[k], v[k], …). */
function each(f, u, v = u, w = u, y = u) {
  const all = new u.constructor(u.length);
  for (let k = 0; k < all.length; k++) all[k] = f(u[k], v[k], w[k], y[k]);
  return all;
}

const tanh = (a) => each(Math.tanh, a);
const sigmoid = (a) => each((a_k) => 1 / (1 + Math.exp(-a_k)), a);
const product = (u, v) => each((u_k, v_k) => u_k * v_k, u, v);
const norm = (v) => Math.sqrt(v.reduce((sum, v_k) => sum + v_k * v_k, 0));
const isZero = (v) => v.every((v_k) => v_k === 0);

/** The zeros that `like` has room for. */
const zeros = (like) => new like.constructor(like.length);

/** The vector with as many numbers as `like`: a 1 at the place `k`, and 0 elsewhere. */
function oneHot(k, like) {
  const v = zeros(like);
  v[k] = 1;
  return v;
}

/**
 * Each cell: `gates` and `states`, one step forward, and the same step backward.
 *
 * `step` fills `v` with every value by its name; `before` has the states before the step. `backward` adds
 * to the gradients of the parameters, and returns every gradient: `dstate` is what arrives at the states
 * after the step. Where h is made from c, `dc` is the whole, with what comes through h. `paths` has the
 * summands of the gradient with respect to each state before the step: `direct`, without any matrix, or by
 * the gate whose matrix it comes through.
 */
const CELLS = {
  // Elman 1990
  rnn: {
    gates: ["h"],
    states: ["h"],

    step(layer, x, before, v) {
      v.x = x;
      v.h_prev = before.h;
      v.a = affine("h", layer, v.x, v.h_prev);
      v.h = tanh(v.a);
    },

    backward({ Wx, Wh }, grads, v, dstate) {
      const d = { dh: dstate.h };
      // forward: h = tanh(a)
      d.da = each((dh, h) => dh * (1 - h ** 2), d.dh, v.h);
      // forward: a = x Wx + h_prev Wh + b
      addAffine("h", grads, v.x, v.h_prev, d.da);
      d.dx = timesTransposed(d.da, Wx.h);
      d.paths = { h: { h: timesTransposed(d.da, Wh.h) } };
      d.dh_prev = d.paths.h.h;
      return d;
    },
  },

  // Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000
  lstm: {
    gates: ["i", "f", "o", "g"],
    states: ["h", "c"],

    step(layer, x, before, v) {
      v.x = x;
      v.h_prev = before.h;
      v.c_prev = before.c;
      v.a_i = affine("i", layer, v.x, v.h_prev);
      v.a_f = affine("f", layer, v.x, v.h_prev);
      v.a_o = affine("o", layer, v.x, v.h_prev);
      v.a_g = affine("g", layer, v.x, v.h_prev);
      v.i = sigmoid(v.a_i);
      v.f = sigmoid(v.a_f);
      v.o = sigmoid(v.a_o);
      v.g = tanh(v.a_g);
      v.c = each((f, c_prev, i, g) => f * c_prev + i * g, v.f, v.c_prev, v.i, v.g);
      v.tanh_c = tanh(v.c);
      v.h = product(v.o, v.tanh_c);
    },

    backward({ Wx, Wh }, grads, v, dstate) {
      const d = { dh: dstate.h };
      // forward: h = o * tanh(c)
      d.do = product(d.dh, v.tanh_c);
      d.dtanh_c = product(d.dh, v.o);
      d.dc = each((dc, dtanh_c, tanh_c) => dc + dtanh_c * (1 - tanh_c ** 2), dstate.c, d.dtanh_c, v.tanh_c);
      // forward: c = f * c_prev + i * g
      d.df = product(d.dc, v.c_prev);
      d.dc_prev = product(d.dc, v.f);
      d.di = product(d.dc, v.g);
      d.dg = product(d.dc, v.i);
      // forward: g = tanh(a_g) and i, f, o = sigmoid(a_i), sigmoid(a_f), sigmoid(a_o)
      d.da_g = each((dg, g) => dg * (1 - g ** 2), d.dg, v.g);
      d.da_o = each((d_o, o) => d_o * o * (1 - o), d.do, v.o);
      d.da_f = each((df, f) => df * f * (1 - f), d.df, v.f);
      d.da_i = each((di, i) => di * i * (1 - i), d.di, v.i);
      // forward: a_q = x Wx_q + h_prev Wh_q + b_q, for q in g, o, f, i
      addAffine("g", grads, v.x, v.h_prev, d.da_g);
      addAffine("o", grads, v.x, v.h_prev, d.da_o);
      addAffine("f", grads, v.x, v.h_prev, d.da_f);
      addAffine("i", grads, v.x, v.h_prev, d.da_i);
      // x and h_prev feed every gate, so their gradients are sums over the gates
      d.dx = plus(...this.gates.map((q) => timesTransposed(d[`da_${q}`], Wx[q])));
      const i = timesTransposed(d.da_i, Wh.i);
      const f = timesTransposed(d.da_f, Wh.f);
      const o = timesTransposed(d.da_o, Wh.o);
      const g = timesTransposed(d.da_g, Wh.g);
      d.dh_prev = plus(i, f, o, g);
      d.paths = { h: { i, f, o, g }, c: { direct: d.dc_prev } };
      return d;
    },
  },

  // The reset gate acts after the recurrent product, as in cuDNN and PyTorch
  "gru-after": {
    gates: ["r", "z", "n"],
    states: ["h"],

    step(layer, x, before, v) {
      v.x = x;
      v.h_prev = before.h;
      v.a_r = affine("r", layer, v.x, v.h_prev);
      v.a_z = affine("z", layer, v.x, v.h_prev);
      v.r = sigmoid(v.a_r);
      v.z = sigmoid(v.a_z);
      v.u = plus(times(v.h_prev, layer.Wh.n), layer.bn);
      v.a_n = plus(times(v.x, layer.Wx.n), layer.b.n, product(v.r, v.u));
      v.n = tanh(v.a_n);
      v.h = each((z, n, h_prev) => (1 - z) * n + z * h_prev, v.z, v.n, v.h_prev);
    },

    backward({ Wx, Wh }, grads, v, dstate) {
      const d = { dh: dstate.h };
      // forward: h = (1 - z) * n + z * h_prev
      d.dn = each((dh, z) => dh * (1 - z), d.dh, v.z);
      d.dz = each((dh, h_prev, n) => dh * (h_prev - n), d.dh, v.h_prev, v.n);
      const direct = product(d.dh, v.z);
      // forward: n = tanh(a_n),  a_n = x Wx_n + b_n + r * u
      d.da_n = each((dn, n) => dn * (1 - n ** 2), d.dn, v.n);
      addProduct(grads.Wx.n, v.x, d.da_n);
      add(grads.b.n, d.da_n);
      d.dr = product(d.da_n, v.u);
      d.du = product(d.da_n, v.r);
      // forward: u = h_prev Wh_n + bn
      addProduct(grads.Wh.n, v.h_prev, d.du);
      add(grads.bn, d.du);
      // forward: z = sigmoid(a_z),  a_z = x Wx_z + h_prev Wh_z + b_z
      d.da_z = each((dz, z) => dz * z * (1 - z), d.dz, v.z);
      addAffine("z", grads, v.x, v.h_prev, d.da_z);
      // forward: r = sigmoid(a_r),  a_r = x Wx_r + h_prev Wh_r + b_r
      d.da_r = each((dr, r) => dr * r * (1 - r), d.dr, v.r);
      addAffine("r", grads, v.x, v.h_prev, d.da_r);
      // x and h_prev feed every gate, so their gradients are sums over the gates
      d.dx = plus(...this.gates.map((q) => timesTransposed(d[`da_${q}`], Wx[q])));
      const r = timesTransposed(d.da_r, Wh.r);
      const z = timesTransposed(d.da_z, Wh.z);
      const n = timesTransposed(d.du, Wh.n);
      d.dh_prev = plus(direct, r, z, n);
      d.paths = { h: { direct, r, z, n } };
      return d;
    },
  },

  // The reset gate acts before the recurrent product: Cho et al. 2014
  "gru-before": {
    gates: ["r", "z", "n"],
    states: ["h"],

    step(layer, x, before, v) {
      v.x = x;
      v.h_prev = before.h;
      v.a_r = affine("r", layer, v.x, v.h_prev);
      v.a_z = affine("z", layer, v.x, v.h_prev);
      v.r = sigmoid(v.a_r);
      v.z = sigmoid(v.a_z);
      v.s = product(v.r, v.h_prev);
      v.a_n = affine("n", layer, v.x, v.s);
      v.n = tanh(v.a_n);
      v.h = each((z, n, h_prev) => (1 - z) * n + z * h_prev, v.z, v.n, v.h_prev);
    },

    backward({ Wx, Wh }, grads, v, dstate) {
      const d = { dh: dstate.h };
      // forward: h = (1 - z) * n + z * h_prev
      d.dn = each((dh, z) => dh * (1 - z), d.dh, v.z);
      d.dz = each((dh, h_prev, n) => dh * (h_prev - n), d.dh, v.h_prev, v.n);
      const direct = product(d.dh, v.z);
      // forward: n = tanh(a_n),  a_n = x Wx_n + s Wh_n + b_n
      d.da_n = each((dn, n) => dn * (1 - n ** 2), d.dn, v.n);
      addAffine("n", grads, v.x, v.s, d.da_n);
      d.ds = timesTransposed(d.da_n, Wh.n);
      // forward: s = r * h_prev
      d.dr = product(d.ds, v.h_prev);
      const n = product(d.ds, v.r);
      // forward: z = sigmoid(a_z),  a_z = x Wx_z + h_prev Wh_z + b_z
      d.da_z = each((dz, z) => dz * z * (1 - z), d.dz, v.z);
      addAffine("z", grads, v.x, v.h_prev, d.da_z);
      // forward: r = sigmoid(a_r),  a_r = x Wx_r + h_prev Wh_r + b_r
      d.da_r = each((dr, r) => dr * r * (1 - r), d.dr, v.r);
      addAffine("r", grads, v.x, v.h_prev, d.da_r);
      // x and h_prev feed every gate, so their gradients are sums over the gates
      d.dx = plus(...this.gates.map((q) => timesTransposed(d[`da_${q}`], Wx[q])));
      const r = timesTransposed(d.da_r, Wh.r);
      const z = timesTransposed(d.da_z, Wh.z);
      d.dh_prev = plus(direct, r, z, n);
      d.paths = { h: { direct, r, z, n } };
      return d;
    },
  },
};

/** softmax(logits) */
function softmax(logits) {
  const most = logits.reduce((one, other) => Math.max(one, other), -Infinity);
  const exponentials = each((logit) => Math.exp(logit - most), logits);
  const sum = exponentials.reduce((total, e) => total + e, 0);
  return each((e) => e / sum, exponentials);
}

/** An object for values by name; the one that is called `name` is changed by `by` in its number `unit`. */
function shifted({ name, unit, by }) {
  const set = (values, key, value) => {
    values[key] = key === name ? value.map((number, k) => number + by * (k === unit)) : value;
    return true;
  };
  return new Proxy({}, { set });
}

/** A stack of recurrent layers of one cell, and a linear layer that gives the logits. */
class Network {
  /** `arrays` are the parameters by the names that charlm gives them, layers.0.Wx and so on. */
  constructor(cell, hidden, arrays) {
    this.cell = CELLS[cell];
    this.hidden = hidden;
    this.arrays = arrays;
    Object.assign(this, this.sorted(arrays));
  }

  /** Parameters, or arrays like them, by layer and gate: views of the arrays. */
  sorted(arrays) {
    const layers = [];
    while (`layers.${layers.length}.Wx` in arrays) {
      const own = `layers.${layers.length}.`;
      const [Wx, Wh, b] = ["Wx", "Wh", "b"].map((name) => this.byGate(arrays[own + name]));
      layers.push({ Wx, Wh, b, bn: arrays[own + "bn"] });
    }
    return { layers, output: { W: arrays["output.W"], b: arrays["output.b"] } };
  }

  /** The part of an array that belongs to each gate, by its name; the gate comes first in each array. */
  byGate(array) {
    const { gates } = this.cell;
    const size = array.length / gates.length;
    const part = (gate, k) => [gate, array.subarray(k * size, (k + 1) * size)];
    return Object.fromEntries(gates.map(part));
  }

  /** The states of all layers before a text begins, or their gradients after its end: zero. */
  start() {
    const zero = () => new this.output.W.constructor(this.hidden);
    return this.layers.map(() => Object.fromEntries(this.cell.states.map((name) => [name, zero()])));
  }

  /** Read the unit `id`: the logits [V] of the unit that follows, and the states of all layers after it. */
  step(id, states) {
    const after = [];
    let signal = oneHot(id, this.output.b);
    for (const [l, layer] of this.layers.entries()) {
      after[l] = {};
      this.cell.step(layer, signal, states[l], after[l]);
      signal = after[l].h;
    }
    const { W, b } = this.output;
    return { logits: plus(times(signal, W), b), states: after };
  }

  /**
   * Read a text: every value of every step. Windows of `window` steps are cut as in training, the state
   * carried from one to the next. The unit `reset`, if any, begins a line from a zero state.
   */
  forward(ids, window = Infinity, reset = null) {
    return this.run({ ids, window, reset });
  }

  /**
   * The same, and with a `shift` { name, t, layer, unit, by } one value is changed where it is computed.
   * The states that are carried into a window are then those of the pass `carried`: they are constants.
   */
  run({ ids, window, reset }, shift = null, carried = null) {
    const values = (t, layer) =>
      shift?.t === t && (layer === undefined || shift.layer === layer) ? shifted(shift) : {};
    const { W, b } = this.output;
    const predictions = ids.length - 1;
    const pass = { ids, window, reset, predictions, steps: [], loss: null };
    let states = this.start();
    let length = 0; // of the window up to here
    for (const [t, id] of ids.entries()) {
      const fresh = t === 0 || id === reset;
      const begins = fresh || length === window;
      if (fresh) states = this.start();
      else if (begins && carried) states = carried.steps[t - 1].layers;
      length = begins ? 1 : length + 1;
      const layers = [];
      let signal = oneHot(id, b);
      for (const [l, layer] of this.layers.entries()) {
        layers[l] = values(t, l);
        this.cell.step(layer, signal, states[l], layers[l]);
        signal = layers[l].h;
      }
      const target = t < predictions ? ids[t + 1] : null;
      const step = Object.assign(values(t), { id, target, begins, layers });
      step.logits = plus(times(signal, W), b);
      step.p = softmax(step.logits);
      step.loss = target === null ? null : -Math.log(step.p[target]);
      pass.steps.push(step);
      states = layers;
    }
    if (predictions > 0) pass.loss = pass.steps.reduce((sum, { loss }) => sum + loss, 0) / predictions;
    return pass;
  }

  /** The loss that `backward` with the same `of` differentiates. */
  loss(pass, of = null) {
    return (of === null ? pass.loss : pass.steps[of].loss) ?? 0;
  }

  /**
   * Every gradient of the mean loss over all predictions, or of the loss of prediction `of` alone. It
   * stops where a window begins: the state that was carried there is a constant.
   */
  backward(pass, { of = null } = {}) {
    const parameters = Object.fromEntries(
      Object.entries(this.arrays).map(([name, array]) => [name, zeros(array)]),
    );
    const grads = this.sorted(parameters);
    const steps = [];
    let next = this.start(); // the gradient of the states, from the step after
    let silent = null; // the gradients of a step at which nothing arrives: all zero, the same for each
    for (let t = pass.steps.length - 1; t >= 0; t--) {
      const { target } = pass.steps[t];
      if (pass.steps[t + 1]?.begins) next = this.start();
      const weight = target === null ? 0 : of === null ? 1 / pass.predictions : Number(of === t);
      const isSilent = !weight && next.every((states) => Object.values(states).every(isZero));
      steps[t] = (isSilent && silent) || this.stepBackward(grads, pass.steps[t], weight, next);
      if (isSilent) silent = steps[t];
      next = steps[t].layers.map((own) =>
        Object.fromEntries(this.cell.states.map((name) => [name, own[`d${name}_prev`]])),
      );
    }
    return { pass, of, steps, parameters };
  }

  /** One step of all layers backward; its loss counts `weight`, and `next` comes from the step after. */
  stepBackward(grads, { target, p, layers: values }, weight, next) {
    // forward: loss = -log p[target],  p = softmax(logits)
    const dp = p.map((p_v, v) => (v === target && weight ? -weight / p_v : 0));
    const dlogits = p.map((p_v, v) => weight * (p_v - (v === target)));
    // forward: logits = h W + b
    addProduct(grads.output.W, values.at(-1).h, dlogits);
    add(grads.output.b, dlogits);
    let above = timesTransposed(dlogits, this.output.W);
    const layers = [];
    for (let l = this.layers.length - 1; l >= 0; l--) {
      const dstate = { ...next[l], h: plus(above, next[l].h) };
      const own = this.cell.backward(this.layers[l], grads.layers[l], values[l], dstate);
      const arriving = Object.entries(next[l]).map(([name, d]) => [`d${name}_next`, d]);
      layers[l] = { dh_above: above, ...Object.fromEntries(arriving), ...own };
      above = own.dx;
    }
    return { dloss: weight, dp, dlogits, layers };
  }

  /**
   * How much of the gradient of the loss of prediction `k` arrives at the states of a layer after each
   * step t <= k, as an array by t. For each state: `whole` and its `norm`; and its `parts` by path, each
   * with its `norm` and its length `along` the whole, which sum to the norm of the whole.
   *
   * The paths to h are `above`, from the layer above or the logits, and those of the step t+1: `direct`, or
   * through the matrix of a gate. The paths to c are `direct`, through f of the step t+1, and `h`, through
   * h = o tanh(c) of its own step. `straight` is the norm of what started at k and has only ever taken the
   * direct path; null for a cell that has none. Before the window of k nothing arrives: `cut` is true.
   */
  reach(pass, k, layer) {
    const { steps } = this.backward(pass, { of: k });
    const states = this.cell.states;
    const memory = states.at(-1); // the state with the direct path
    const reached = [];
    let cut = false;
    let straight = null;
    for (let t = k; t >= 0; t--) {
      const own = steps[t].layers[layer];
      const after = t < k && !cut ? steps[t + 1].layers[layer] : null;
      const parts = { h: { above: own.dh_above, ...(after && after.paths.h) } };
      if (states.includes("c")) {
        const through = each((dc, dc_next) => dc - dc_next, own.dc, own.dc_next);
        parts.c = { h: through, ...(after && after.paths.c) };
      }
      if (t === k) straight = this.gateOf(pass.steps[t].layers[layer]) && own[`d${memory}`];
      else straight &&= cut ? zeros(straight) : product(straight, this.gateOf(pass.steps[t + 1].layers[layer]));
      reached[t] = { t, cut, straight: straight && norm(straight) };
      for (const state of states) {
        const whole = own[`d${state}`];
        const size = norm(whole);
        const dot = (part) => part.reduce((sum, part_k, u) => sum + part_k * whole[u], 0);
        const measured = (part) => ({ whole: part, norm: norm(part), along: size ? dot(part) / size : 0 });
        const named = Object.entries(parts[state]).map(([path, part]) => [path, measured(part)]);
        reached[t][state] = { whole, norm: size, parts: Object.fromEntries(named) };
      }
      cut ||= pass.steps[t].begins;
    }
    return reached;
  }

  /** The gate of the direct path from a state to the same state one step before, among these values. */
  gateOf(values) {
    return values.f ?? values.z ?? null;
  }

  /**
   * A gradient beside a central difference of the loss, which is computed twice more with the number
   * changed by ± `by`. The place is a parameter { parameter, entry }, an entry of one of `arrays`; or the
   * number `unit` of a value { name, t, layer, unit }, of which logits and p belong to no layer. The gradient
   * is taken times `sign`: −1 plants an error.
   *
   * Returns { analytic, numeric, error, value, by, plus, minus }: the two losses, and the difference of the
   * gradients relative to the larger.
   */
  check({ pass, of, steps, parameters }, { parameter, entry, name, t, layer, unit }, sign = 1) {
    const array = this.arrays[parameter];
    const inLayer = name !== "logits" && name !== "p";
    const values = parameter ? null : inLayer ? pass.steps[t].layers[layer] : pass.steps[t];
    const gradients = parameter ? null : inLayer ? steps[t].layers[layer] : steps[t];
    const value = parameter ? array[entry] : values[name][unit];
    const analytic = sign * (parameter ? parameters[parameter][entry] : gradients[`d${name}`][unit]);
    const by = name === "p" ? 1e-4 * value : 1e-5; // the loss of a small p is steep
    const lossWith = (change) => {
      const shift = parameter ? null : { name, t, layer: inLayer ? layer : undefined, unit, by: change };
      if (parameter) array[entry] = value + change;
      try {
        return this.loss(this.run(pass, shift, pass), of);
      } finally {
        if (parameter) array[entry] = value;
      }
    };
    const [over, under] = [lossWith(by), lossWith(-by)];
    const numeric = (over - under) / (2 * by);
    const size = Math.max(Math.abs(analytic), Math.abs(numeric));
    const error = size ? Math.abs(analytic - numeric) / size : 0;
    return { analytic, numeric, error, value, by, plus: over, minus: under };
  }
}
