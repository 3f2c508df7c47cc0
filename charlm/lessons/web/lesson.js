// The lesson: what is chosen, and what the page shows of it.

const between = (low, k, high) => Math.max(low, Math.min(high, k));

const largest = (values) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

// words

/** The sentence called `key` in the language of the page, with values in its {places}; "" if there is none. */
function say(key, values = {}) {
  const sentence = data.strings[state.language][key] ?? "";
  return sentence.replace(/\{(\w+)\}/g, (place, name) => values[name] ?? place);
}

/** The first of several sentences that there is. */
const sayFirst = (keys, values) => keys.map((key) => say(key, values)).find(Boolean) ?? "";

/** A share in per cent, of a large one with its first decimal; 100 % is all of it, and not nearly all. */
function percent(share) {
  const digits = Number(share < 0.0995 ? (100 * share).toPrecision(2) : (100 * share).toFixed(1));
  return digits === 100 && share < 1 ? ">\u202f99.9\u00a0%" : `${digits}\u00a0%`;
}

/** A unit of the text, or more, in a sentence. */
const quoted = (text) => `“${text.replaceAll("\n", "↵")}”`;

/** A text in a sentence: its beginning, if it is long. */
const clipped = (text) => quoted(text.length > 24 ? `${text.slice(0, 24).trimEnd()} …` : text);

/** Names in a sentence: h_prev, Wx, N, dh, z; not the article a, the verb do, or a character in quotes. */
const NAMES = /(?<![\w“’])([A-Za-z]+_[a-z]+|d?W[hxy]|N|d?[b-np-z]|da|o)(?!\w)/;

/** A sentence with names as they are in formulas. */
const prose = (sentence) =>
  sentence.split(NAMES).map((piece, k) => (k % 2 ? lettered(piece, inHtml) : piece));

/** A part of a formula as HTML. */
const inHtml = (piece, kind) => (kind === "sign" ? piece : made(kind === "below" ? "sub" : "i", {}, piece));

// what is computed

/** A model of the page, unpacked when it is first needed. */
function opened({ cell, name, vocabulary, signs, corpus, model, training, parameters }, k) {
  const same = data.models.slice(0, k).filter((other) => other.cell === cell).length;
  let network = null;
  return {
    cell,
    key: same ? `${cell}-${same + 1}` : cell,
    name,
    signs: signs.map((sign) => (sign === " " ? "␣" : sign)),
    hidden: model.hidden,
    layers: model.layers,
    training,
    vocabulary: new Vocabulary(vocabulary, corpus),
    passes: new Map(),
    get network() {
      return (network ??= new Network(cell, model.hidden, arrays(parameters)));
    },
  };
}

/** The parameters in float64, by name. */
function arrays({ shapes, packed }) {
  const all = Float64Array.from(unpacked(packed, Float32Array));
  let start = 0;
  const next = (shape) => all.subarray(start, (start += shape.reduce((size, axis) => size * axis, 1)));
  return Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, next(shape)]));
}

document.querySelector("main").hidden = false;
const models = data.models.map(opened);

/** The ids of a text as a model reads it; null if it holds what the model does not know. */
function idsOf({ vocabulary }, text) {
  const ids = vocabulary.read(text);
  return ids.length && ids.every((id) => id !== null) ? ids : null;
}

/** The pass of a model over the text, computed once; null for a text that it cannot read. */
function passOf(model, text = state.text, window = state.window) {
  const key = `${window} ${text}`;
  if (!model.passes.has(key)) {
    const ids = idsOf(model, text);
    const { vocabulary, network } = model;
    const reset = vocabulary.ofLines ? vocabulary.lineBreak : null;
    if (model.passes.size > 3) model.passes.clear();
    const pass = ids && network.forward(ids, window || Infinity, reset);
    model.passes.set(key, ids && { network, ids, pass });
  }
  return model.passes.get(key);
}

/** The gradients of the mean loss of a pass, computed once. */
const gradientsOf = (read) => (read.gradients ??= read.network.backward(read.pass));

/** Everything at the chosen step, by name: values, gradients, and the parameters that formulas name. */
function scopeOf(withGradients) {
  const { t, layer } = state;
  const model = chosen();
  const read = passOf(model);
  const step = read.pass.steps[t];
  const own = model.network.layers[layer];
  const { b, bn } = own;
  const ofGates = (name, parts) => Object.entries(parts).map(([gate, part]) => [`${name}_${gate}`, part]);
  const isOne = model.network.cell.gates.length === 1; // W, not W_h
  const scope = {
    ...Object.fromEntries(isOne ? [["b", b.h]] : ofGates("b", b)),
    bn,
    by: model.network.output.b,
    ...step.layers[layer],
    logits: step.logits,
    p: step.p,
    loss: [step.loss],
  };
  if (withGradients) {
    const { layers, dloss, dp, dlogits } = gradientsOf(read).steps[t];
    Object.assign(scope, layers[layer], { dloss: [dloss], dp, dlogits });
  }
  const matrices = { Wy: model.network.output.W };
  for (const name of ["Wx", "Wh"]) {
    Object.assign(matrices, isOne ? { [name]: own[name].h } : Object.fromEntries(ofGates(name, own[name])));
  }
  return { scope, matrices, step, N: read.pass.predictions };
}

// what is chosen

const state = {
  model: 0,
  text: data.text,
  t: 0,
  layer: 0,
  unit: 0,
  direction: "forward",
  node: "",
  window: 0, // steps of a window; 0: the whole text
  of: 0, // the prediction whose gradient is followed
  language: data.language,
};

/** What was shown last, by the part of the page; a part is drawn again if this has changed. */
const drawnLast = {};

let quiz = null; // while it runs: { answered }

const chosen = () => models[state.model];

const backward = () => state.direction === "backward";

const phone = matchMedia("(max-width: 30rem)");
const small = matchMedia("(max-width: 75rem)"); // the graph may be wider than its place

let scopeShown = null; // computed once for everything that is shown of a step

const scopeNow = () => (scopeShown ??= scopeOf(backward()));

/** The graph that is shown: its nodes, and their names in the order in which they are computed. */
function graphNow() {
  const model = chosen();
  const scored = passOf(model).pass.steps[state.t].target !== null;
  const nodes = graphOf(model.cell, state.layer === model.layers - 1, scored, phone.matches);
  const order = Object.keys(nodes);
  return { nodes, order: backward() ? order.reverse() : order };
}

/** Nodes that do the same in different cells: the update gate keeps, and so does the forget gate. */
const ROLES = ["z f", "r i", "n g", "h_prev c_prev", "a_z a_f", "a_r a_i", "a_n a_g a", "u s"].map((names) =>
  names.split(" "),
);

const LONGEST = 2000; // characters of a text

let refused = ""; // the sentence about a text that was refused, or was cut

/** The part of a text that the page takes. */
const shortened = (text) => (text.length > LONGEST ? [...text].slice(0, LONGEST).join("") : text);

/** Why a model cannot read a text; "" if it can. */
function problemOf({ vocabulary, signs }, text) {
  if (!text) return say("empty");
  const lacking = vocabulary.lacking(text);
  if (!lacking.length || vocabulary.unknown !== null) return "";
  const knows = signs.length <= 40 ? ` ${say("knows", { characters: signs.join(", ") })}` : "";
  return say("lacking", { characters: listed(lacking) }) + knows;
}

/** The sentence beside the text, and what it says of what is shown below. */
function showMessage() {
  const isRefused = refused !== "" && element("text").value !== state.text;
  const isStale = isRefused && document.activeElement === element("text");
  fill(element("message"), refused || changeInWords());
  element("message").classList.toggle("wrong", refused !== "");
  element("text").setAttribute("aria-invalid", isRefused);
  for (const id of ["strip", "stage", "reach", "gates"]) element(id).classList.toggle("stale", isStale);
}

/**
 * Change what is chosen: { cell, text, t, layer, unit, direction, node, window, of, language }. Returns
 * whether the network can read the text; if not, nothing changes.
 */
function set(changes) {
  const { cell, text, ...others } = changes;
  const byKey = models.findIndex(({ key }) => key === cell);
  const byName = models.findIndex(({ name }) => name === cell);
  const model = byKey >= 0 ? byKey : byName >= 0 ? byName : state.model;
  const wanted = shortened(text ?? state.text);
  const problem = problemOf(models[model], wanted);
  if (problem) {
    refused = `${problem} ${say("still", { text: clipped(state.text) })}`;
    showMessage();
    element("cell").value = chosen().key;
    return false;
  }
  // a text that was refused stays in its field
  if (text !== undefined || model !== state.model || element("text").value === state.text) refused = "";
  for (const [name, value] of Object.entries(others)) {
    if (Object.hasOwn(state, name) && value !== undefined) state[name] = value;
  }
  const whole = (value) => Math.round(Number(value)) || 0;
  Object.assign(state, { model, text: wanted, window: Math.max(0, whole(state.window)) });
  const { layers, hidden } = chosen();
  const read = passOf(chosen());
  const last = read.ids.length - 1;
  state.t = between(0, whole(state.t), last);
  if (state.window > last) state.window = 0; // of a short text
  state.layer = between(0, whole(state.layer), layers - 1);
  state.unit = between(0, whole(state.unit), hidden - 1);
  if (text !== undefined && others.of === undefined) state.of = last - 1;
  state.of = between(0, whole(state.of), Math.max(0, last - 1));
  state.direction = state.direction === "backward" ? "backward" : "forward";
  if (!Object.hasOwn(data.strings, state.language)) state.language = "en";
  const { order } = graphNow();
  const counterparts = [state.node, ...(ROLES.find((names) => names.includes(state.node)) ?? []), "h"];
  state.node = counterparts.find((name) => order.includes(name));
  if (quiz) quiz.answered = false;
  basis ??= wanted;
  compare(basis === wanted ? null : passOf(chosen(), basis), read);
  render();
  return true;
}

/** What to choose for the node before or after, in the same step, the next layer or step; null at the end. */
function beside(by) {
  const { order } = graphNow();
  const node = order[order.indexOf(state.node) + by];
  if (node) return { node };
  const top = chosen().layers - 1;
  const way = backward() ? -by : by; // in time, and upwards in a step
  const layer = state.layer + way;
  const inside = layer >= 0 && layer <= top;
  const t = inside ? state.t : state.t + way;
  if (t < 0 || t >= passOf(chosen()).ids.length) return null;
  return { t, layer: inside ? layer : way > 0 ? 0 : top, end: by };
}

/** Go to the node before or after. */
function move(by) {
  const { end, ...there } = beside(by) ?? {};
  if (!end) return set(there);
  Object.assign(state, there);
  return set({ node: graphNow().order.at(end > 0 ? 0 : -1) });
}

// what a change of the text has changed

let basis = null; // the text that others are compared with: as it was opened, or repeated
let changed = null; // after an edit, by step: isNew, and by how much the prediction moved

/** Compare two passes step by step: the characters that are new, and how far each prediction moved. */
function compare(before, after) {
  changed = null;
  if (!before) return;
  const [old, now] = [before.ids, after.ids];
  let head = 0;
  while (head < Math.min(old.length, now.length) && old[head] === now[head]) head++;
  let tail = 0;
  while (tail < Math.min(old.length, now.length) - head && old.at(-1 - tail) === now.at(-1 - tail)) tail++;
  // a character that was replaced has its counterpart, one that was added has none
  const isNew = now.map((_, t) => t >= head && t < now.length - tail);
  const twin = (t) => {
    if (t >= now.length - tail) return t - now.length + old.length;
    return t < old.length - tail ? t : null;
  };
  const distance = (t) => {
    const [p, q] = [after.pass.steps[t].p, before.pass.steps[twin(t)].p];
    return p.reduce((sum, one, k) => sum + Math.abs(one - q[k]), 0) / 2;
  };
  const moved = now.map((_, t) => (twin(t) === null ? 0 : distance(t)));
  const most = largest(moved);
  const where = moved.indexOf(most);
  changed = { isNew, moved, most, where, was: before.pass.steps[twin(where)]?.p };
}

/** The sentence about the prediction that changed most. */
function changeInWords() {
  if (!changed?.most) return "";
  const { where, was } = changed;
  const model = chosen();
  const { p } = passOf(model).pass.steps[where];
  const k = p.reduce((best, _, v) => (Math.abs(p[v] - was[v]) > Math.abs(p[best] - was[best]) ? v : best), 0);
  return say("changed", {
    text: clipped(basis),
    after: quoted(model.signs[passOf(model).ids[where]]),
    t: where,
    what: quoted(model.signs[k]),
    was: percent(was[k]),
    now: percent(p[k]),
  });
}

/** What the network knows, how it was trained, and what loss it has here. */
function showNetwork() {
  const { signs, training } = chosen();
  const { predictions, loss } = passOf(chosen()).pass;
  const count = signs.length;
  const some = signs.slice(0, count > 40 ? 30 : 40).join(", ") + (count > 40 ? ", …" : "");
  const words = {
    ...{ count, characters: some },
    train: training.train?.toLocaleString(state.language),
    steps: training.step.toLocaleString(state.language),
    ...{ loss: shown(loss ?? 0), guess: shown(Math.log(count)) },
  };
  const keys = ["alphabet", training.train && training.step && "trained", predictions > 0 && "loss"];
  fill(element("network"), keys.map((key) => say(`network.${key}`, words)).filter(Boolean).join(" "));
}

// the text as a line of steps

/** The likeliest units after a step: [id, p]. */
function likeliest(p, count) {
  const ids = [...p.keys()].sort((a, b) => p[b] - p[a]);
  return ids.slice(0, count).map((id) => [id, p[id]]);
}

/** Build the line of characters, each with what is expected after it. */
function showStrip() {
  const model = chosen();
  const { ids, pass } = passOf(model);
  const begun = pass.steps.map(({ begins }, t) => (t && begins ? (isFresh(t) ? "line" : "window") : ""));
  const steps = pass.steps.map(({ p, target }, t) => {
    const next = likeliest(p, 3);
    const rows = next.map(([id, share]) => {
      const kind = id === target ? "expected true" : "expected";
      const attributes = { class: kind, "--share": share.toFixed(3) };
      return made("span", attributes, model.signs[id], made("small", {}, share.toFixed(2)));
    });
    const words = next.map(([id, share]) => `${model.signs[id]} ${percent(share)}`).join(", ");
    const attributes = {
      class: `${begun[t] && `begins ${begun[t]}`} ${changed?.isNew[t] ? "new" : ""}`,
      role: "option",
      "aria-selected": false,
      tabindex: -1,
      "data-t": t,
      "aria-label": say("strip.step", { t, character: model.signs[ids[t]], words }),
      "--moved": changed?.most ? (changed.moved[t] / changed.most).toFixed(3) : 0,
    };
    const sign = made("span", { class: "character", lang: "" }, model.signs[ids[t]]);
    return made("div", attributes, made("small", {}, t), sign, rows);
  });
  fill(element("strip"), steps);
  const isThere = { true: true, moved: changed?.most, new: changed?.isNew.includes(true) };
  const kinds = Object.keys(isThere).filter((kind) => isThere[kind]);
  kinds.push(...["window", "line"].filter((kind) => begun.includes(kind)));
  const entry = (kind) => made("span", { class: `legend-${kind}` }, say(`legend.${kind}`));
  fill(element("legend"), kinds.map(entry));
}

/** Mark the chosen step. */
function markStep() {
  const [box, one] = [element("strip"), element("strip").children[state.t]];
  for (const old of box.querySelectorAll("[aria-selected=true]")) {
    old.setAttribute("aria-selected", false);
    old.tabIndex = -1;
  }
  one.setAttribute("aria-selected", true);
  one.tabIndex = 0;
  keepSeen(box, one.offsetLeft - box.offsetLeft - 40, one.offsetWidth + 80);
}

// the graph

/** The number of a node that is shown: of the chosen unit, or of the character that comes next. */
function indexOf(name, step) {
  if (isByUnit(name)) return state.unit;
  if (name === "x") return step.id;
  return name === "loss" ? 0 : (step.target ?? likeliest(step.p, 1)[0][0]);
}

/** Whether the quiz asks for the number of the chosen node. */
const isAsked = () => quiz && !quiz.answered && !isGiven(state.node);

/** Whether a node has a number for each hidden unit. */
const isByUnit = (name) => !["logits", "p", "loss"].includes(name) && (name !== "x" || state.layer > 0);

/** Whether the quiz leaves a node out: it is not computed in this step, or its equation has no numbers. */
const isGiven = (name) =>
  backward() ? scopeNow().step.target === null || !equationOf(name).lines[1] : /^x$|_prev$/.test(name);

function showGraph() {
  const model = chosen();
  const { nodes, order } = graphNow();
  const { scope, matrices, step } = scopeNow();
  const [wide, high] = sizeOf(model.cell, phone.matches);
  const d = backward() ? "d" : "";
  const at = order.indexOf(state.node);
  const arrows = arrowsOf(nodes);
  const steepest = Math.max(...order.map((name) => (/^p$|loss/.test(name) ? 0 : largest(scope[d + name]))));
  const strongest = (vector) => (d ? steepest || 1 : Math.max(1, largest(vector))); // the number of full colour
  // the root of a gradient, so that small ones are seen
  const shade = (most) => (value) => (d ? Math.sign(value) * Math.sqrt(Math.abs(value) / most) : value / most);
  const stateOf = (name) => ["done", "now", "later"][1 + Math.sign(order.indexOf(name) - at)];
  const hidden = isAsked() ? state.node : null;
  const node = (name) => {
    const vector = scope[d + name];
    const k = indexOf(name, step);
    const now = stateOf(name);
    const isSign = name === "x" && !d && state.layer === 0;
    const number = isSign ? quoted(model.signs[step.id]) : brief(vector[k]);
    const open = now !== "later" && name !== hidden;
    return {
      state: now,
      number: open ? number : name === hidden ? "?" : "",
      title: `${d}${name}, ${nodeName(name)}${open ? `: ${number}` : ""}`,
      strip: name === hidden ? [] : stripOf(vector, shade(strongest(vector))),
      count: vector.length,
      mark: k,
      sum: d && now !== "later" && parsed(nodes[name][3]).terms.length > 1,
    };
  };
  const words = ({ from, does, back, slope, byMatrix }) => {
    if (!d) return [does];
    // where the ways of several gates meet there is no room for numbers
    if (from === hidden || (byMatrix && model.network.cell.gates.length > 1)) return [slope];
    const k = indexOf(from, step);
    const brought = back ? termValue(back, scope, matrices, k) : scope[`d${from}`][k];
    return [slope, brief(brought)];
  };
  const exit = (name, from, to, words, gradient) => {
    const number = d ? [brief(gradient[state.unit])] : [];
    return { from, to, state: stateOf(name), words: [words, ...number] };
  };
  const exits = model.network.cell.states.map((name) => {
    const [x, y] = nodes[name];
    return exit(name, [x + WIDE / 2, y], [wide - 4, y], "t + 1", scope[`d${name}_next`]);
  });
  const [x, y] = nodes.h;
  if (!nodes.logits) {
    const words = say("above", { layer: state.layer + 2 });
    exits.push(exit("h", [x, y - HIGH / 2], [x, y - 90], words, scope.dh_above));
  }
  change(element("graph"), { viewBox: `0 0 ${wide} ${high}`, class: wide < 500 ? "narrow" : "" });
  const focused = element("graph").contains(document.activeElement);
  fill(element("graph"), graphDrawn(nodes, arrows, { backward: backward(), node, words, exits }));
  if (focused) element("graph").querySelector(".node.now").focus({ preventScroll: true });
  const most = strongest(scope[d + state.node]);
  fill(element("key"), hidden ? [] : scale(-most, most), prose(say(d ? "key.backward" : "key.forward")));
  if (!small.matches) return; // a measure of the page takes its time
  const { scrollWidth, clientWidth } = element("graph-box");
  element("graph-box").scrollLeft = (nodes[state.node][0] / wide) * scrollWidth - clientWidth / 2;
}

// the equation of the chosen node

/** Terms of a sum in a line: a minus where a number is negative. */
const summed = (terms) => terms.join(" + ").replaceAll("+ −", "− ");

/** A factor in a product: a negative one in parentheses. */
const inProduct = (text) => (text.startsWith("−") ? `(${text})` : text);

/** A factor with its numbers put in: 0.3, (1 − 0.3), (1 − 0.3²) or (0.2 − 0.3). */
function factorInNumbers(factor, scope, k) {
  const [, left, right, square] = factor.match(/^\((\w+) − (\w+)(²?)\)$/) ?? [];
  if (!left) return shown(factorValue(factor, scope, k));
  const [from, less] = [left === "1" ? 1 : scope[left][k], scope[right][k]];
  return `(${left === "1" ? 1 : asFineAs(from, less)} − ${inProduct(asFineAs(less, from))}${square})`;
}

/** The equations that are no sums of products: in letters, and with numbers put in. */
function specialEquation(name, { p, logits, target }, k, N) {
  const sum = logits.reduce((total, logit) => total + Math.exp(logit), 0);
  const equations = {
    p: ["p = exp(logits) / Σ exp(logits)", `exp(${shown(logits[k])}) / ${shown(sum)}`],
    loss: ["loss = − ln p", `− ln ${asFineAs(p[target], 1)}`],
    dloss: ["dloss = 1 / N", `1 / ${N}`],
    dp: ["dp = dloss (− 1 / p)", `− 1 / (${N} · ${shown(p[k])})`],
    dlogits: ["dlogits = (p − y) / N", `(${asFineAs(p[k], Number(target === k))} − ${Number(target === k)}) / ${N}`],
  };
  if (target === null && name.startsWith("d")) return [`${name} = 0`];
  return equations[name];
}

/** The equation of a node: `lines`, in letters and with the numbers of the unit put in, `result`, and `terms`. */
function equationOf(name) {
  const { nodes } = graphNow();
  const { scope, matrices, step, N } = scopeNow();
  const full = (backward() ? "d" : "") + name;
  const k = indexOf(name, step);
  const result = scope[full][k];
  const special = specialEquation(full, step, k, N);
  const formula = nodes[name][backward() ? 3 : 2];
  if (special || !formula) return { full, lines: special ?? [full], result, terms: [] };
  const put = (term) => {
    if (term.some(isMatrix)) return shown(termValue(term, scope, matrices, k));
    return term
      .map((factor) => factorInNumbers(factor, scope, k))
      .map((text, n) => (n ? inProduct(text) : text))
      .join(" · ");
  };
  const values = (terms) => terms.map((term) => termValue(term, scope, matrices, k));
  const { f, terms } = parsed(formula);
  if (f) {
    const inner = terms[0][0];
    const inside = parsed(nodes[inner][2]).terms;
    const lines = [
      `${full} = ${formula} = ${f}(${nodes[inner][2]})`,
      `${f}(${summed(inside.map(put))})`,
      `${f}(${shown(scope[inner][k])})`,
    ];
    return { full, lines, result, terms: values(inside) };
  }
  const lines = [`${full} = ${formula}`, summed(terms.map(put))];
  if (lines[1] === shown(result)) lines.pop();
  if (terms.length > 1 && terms.some((term) => term.length > 1 && !term.some(isMatrix)))
    lines.push(summed(values(terms).map((value) => shown(value))));
  return { full, lines, result, terms: terms.length > 1 ? values(terms) : [] };
}

/** A line of a formula as HTML. */
function formulaLine(text) {
  const terms = text.split(/ (?=[+−=] )/); // lines break between them
  return terms.flatMap((term, k) => [k ? " " : "", made("span", { class: "term" }, lettered(term, inHtml))]);
}

/** The name of a node for all like it: a_q before a gate, a_t before tanh. */
const kindOf = (name) => name.replace(/a_[rzifo]$/, "a_q").replace(/^(d?)a(_[ng])?$/, "$1a_t");

/** What a node is called in words. */
function nodeName(name) {
  const model = chosen();
  const { step } = scopeNow();
  const target = quoted(model.signs[indexOf("p", step)]);
  if (name === "x" && state.layer) return say("name.x.upper");
  return sayFirst([`name.${name}`, `name.${kindOf(name)}`], { target });
}

/** What a node means here, in a sentence. */
function meaning(name) {
  const model = chosen();
  const { scope, step } = scopeNow();
  const full = (backward() ? "d" : "") + name;
  const k = indexOf(name, step);
  const value = scope[full][k];
  const at = (other) => shown(scope[other]?.[k] ?? 0);
  const keys = [`${full}.${model.cell}`, `${full}.${model.cell.split("-")[0]}`, full, kindOf(full), "product"];
  if (name === "x" && state.layer) keys.unshift(`${full}.upper`);
  if (step.target === null && (backward() || name === "p")) keys.unshift(backward() ? "end" : "p.end");
  const isBack = backward() && name.endsWith("_prev");
  if (!backward() && name.endsWith("_prev") && isFresh(state.t)) keys.unshift("fresh");
  if (isBack && step.begins) keys.unshift(isFresh(state.t) ? (state.t ? "cut.line" : "cut.first") : "cut");
  const { t, unit } = state;
  const isGate = full.length === 1 && "rzifo".includes(full);
  const words = {
    ...{ t, unit, n: model.hidden, mean: isGate && percent(mean(scope[full])) },
    times: isBack && shown(norm(scope[full]) / (norm(scope[full.replace("_prev", "")]) || 1)),
    kept: isBack && shown(keptBy(model, scope)),
    ...{ q: name.slice(2), name, factor: graphNow().nodes[name][3].split(" ")[1] },
    character: quoted(model.signs[step.id]),
    target: quoted(model.signs[k] ?? ""),
    share: percent(between(0, value, 1)),
    rest: percent(between(0, 1 - value, 1)),
    before: at("h_prev"),
    memory: at("c_prev"),
    ...(scope.c && { held: shown(scope.f[k] * scope.c_prev[k]), written: shown(scope.i[k] * scope.g[k]) }),
  };
  const ways = keys.map((key) => `say.${key}`);
  const sentence = sayFirst(ways, words);
  return [sentence, say(isGate ? "say.mean" : `say.${whyZero(name)}`, words)].filter(Boolean).join(" ");
}

/** Whether a step begins from a zero state: the first one, or a line. */
function isFresh(t, model = chosen()) {
  const { ofLines, lineBreak } = model.vocabulary;
  return t === 0 || (ofLines && passOf(model).ids[t] === lineBreak);
}

/** The key of the reason why a gradient, or the part of it that comes from the next step, is 0; or "none". */
function whyZero(name) {
  const { steps } = passOf(chosen()).pass;
  if (!backward() || steps[state.t].target === null) return "none";
  const isState = chosen().network.cell.states.includes(name);
  if (isState && steps[state.t + 1].begins) return isFresh(state.t + 1) ? "zero.line" : "zero.cut";
  if (isState && steps[state.t + 1].target === null) return "zero.last";
  const isOfOldState = { lstm: ["f", "a_f"], "gru-before": ["r", "a_r"] }[chosen().cell]?.includes(name);
  return isOfOldState && isFresh(state.t) ? "zero.first" : "none";
}

function showFormula() {
  const model = chosen();
  const { order } = graphNow();
  const name = state.node;
  const asked = isAsked();
  const { full, lines, result } = equationOf(name);
  const isSign = name === "x" && !backward() && state.layer === 0;
  const shownLines = lines.map((line, k) =>
    made("div", { class: k ? "put" : "letters" }, formulaLine(k ? `= ${line}` : line)),
  );
  if (!isSign) shownLines.push(made("div", { class: "put result" }, `= ${asked ? "?" : shown(result)}`));
  fill(
    element("formula"),
    made("h2", {}, formulaLine(full), made("small", {}, nodeName(name))),
    shownLines,
    made("p", {}, prose(asked ? say("quiz.about") : meaning(name))),
  );
  const { ids } = passOf(model);
  const character = quoted(model.signs[ids[state.t]]);
  const [k, n] = [order.indexOf(name) + 1, order.length];
  const place = { k, n, t: state.t, character, layer: state.layer + 1 };
  const number = isSign ? character : asked ? "?" : shown(result);
  const aloud = `; ${full}, ${nodeName(name)}: ${number}`;
  const end = beside(1) ? "" : ` · ${say("place.last")}`;
  const words = say(model.layers > 1 ? "place.layer" : "place", place) + end;
  fill(element("place"), prose(words), made("span", { class: "unseen" }, aloud));
  element("answer").hidden = !asked;
  element("check").hidden = asked; // it shows the number
}

/** A sentence that says right or wrong. */
const verdict = (isRight, words) => made("p", { class: isRight ? "right" : "wrong" }, words);

/** Compare the gradient of the chosen number, or that with the wrong sign, with a difference of two losses. */
function checkGradient() {
  const model = chosen();
  const read = passOf(model);
  const { node: name, t, layer } = state;
  const result = element("check-result");
  if (name === "loss" || !read.pass.predictions)
    return fill(result, made("p", {}, say(read.pass.predictions ? "check.none" : "check.empty")));
  element("planting").hidden = false;
  const sign = element("planted").checked ? -1 : 1;
  const place = { name, t, layer, unit: indexOf(name, scopeNow().step) };
  const { analytic, numeric, error, by, plus, minus } = model.network.check(gradientsOf(read), place, sign);
  const isRight = error < 1e-4 || Math.abs(analytic - numeric) < 1e-9;
  const key = sign < 0 ? (isRight ? "zero" : "found") : isRight ? "right" : "wrong";
  const next = read.pass.steps.findIndex(({ begins }, s) => begins && s > t);
  const isCut = next > 0 && !isFresh(next); // the state that is carried to this step is a constant
  const whole = isCut && model.network.check(gradientsOf(passOf(model, state.text, 0)), place, sign).analytic;
  const share = percent(Math.abs(analytic - whole) / (Math.abs(whole) || 1));
  const digits = (number, count) => number.toExponential(count).replaceAll("-", "−");
  const row = (about, value) => made("tr", {}, made("th", { scope: "row" }, about), made("td", {}, value));
  fill(
    result,
    verdict(key === "right", say(`check.${key}`)),
    made(
      "table",
      {},
      row(formulaLine(`L(${name} + ε)`), plus.toFixed(12)),
      row(formulaLine(`L(${name} − ε)`), minus.toFixed(12)),
      row(say("check.numeric"), digits(numeric, 6)),
      row([say("check.analytic"), formulaLine(` ${sign < 0 ? "− " : ""}d${name}`)], digits(analytic, 6)),
      row(say("check.error"), shown(error, 2)),
    ),
    made("p", { class: "quiet" }, say("check.about", { by: digits(by, 0) })),
    isCut ? made("p", {}, say("check.held", { t: next, whole: digits(whole, 6), share })) : "",
  );
}

// the quiz

/** To the first number from here on that can be asked for. */
function ask() {
  quiz = { answered: false };
  while (isGiven(state.node) && beside(1)) move(1);
  if (isGiven(state.node)) quiz = null;
  render();
  if (quiz) element("number").focus();
  else fill(element("check-result"), say("quiz.none"));
}

/** Go to the node before or after; the quiz goes on to what it can ask for. */
function go(by) {
  move(by);
  if (quiz && by > 0) ask();
  else if (isAsked()) element("number").focus();
}

/** Whether an answer is a value: within 2 %, and what the rounding of the `terms` of its sum can move. */
function isNear(answer, value, terms = []) {
  const [size, small] = [Math.abs(value), Math.abs(value) < 0.001 ? 1e-5 : 6e-4];
  const slack = terms.reduce((sum, term) => sum + Math.min(0.01 * Math.abs(term), 0.001), 0);
  return Math.abs(answer - value) <= Math.max(0.02 * size, small) + slack;
}

/** Judge the answer: right, or the step that was missed. */
function judge() {
  const text = element("number").value.trim().replaceAll("−", "-").replace(",", ".");
  const answer = Number(text);
  if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text))
    return fill(element("check-result"), say("quiz.number"));
  const { result, terms } = equationOf(state.node);
  const term = terms.find((value) => value && isNear(answer, value));
  const isRight = isNear(answer, result, terms);
  const key = isRight ? "right" : isNear(answer, -result) ? "sign" : term ? "term" : "wrong";
  quiz.answered = true;
  render();
  const words = say(`quiz.${key}`, { answer: shown(answer), result: shown(result) });
  fill(element("check-result"), verdict(isRight, words));
  element("number").value = "";
  element("next").focus();
}

// the page

/** Put the words of the language into the page. */
function translate() {
  document.documentElement.lang = state.language;
  for (const one of document.querySelectorAll("[data-say]")) one.textContent = say(one.dataset.say);
  for (const one of document.querySelectorAll("[data-label]"))
    one.setAttribute("aria-label", say(`label.${one.dataset.label}`));
  document.title = say("title");
  document.querySelector("header h1").textContent = say("title");
  document.querySelector("header p").textContent = say("about");
  document.querySelector("footer p").textContent = say("footer");
}

/** Put options into a select. */
function options(id, entries) {
  fill(element(id), entries.map(([value, words]) => made("option", { value }, words)));
}

const titleOf = ({ cell, name }) =>
  say(`cell.${cell}`) + (models.filter((one) => one.cell === cell).length > 1 ? `: ${name}` : "");

/** Offer what there is to choose from. */
function showChoices() {
  const model = chosen();
  const { ids, pass } = passOf(model);
  const step = (id, t) => [t, `${t}: ${model.signs[id]} → ${model.signs[pass.steps[t].target]}`];
  const networks = models.map((one) => [one.key, titleOf(one)]);
  const layers = model.network.layers.map((_, l) => [l, l + 1]);
  options("cell", networks);
  options("layer", layers);
  options("of", ids.slice(0, -1).map(step));
  element("layer").parentElement.hidden = model.layers === 1;
  element("unit").max = model.hidden - 1;
  element("window").max = ids.length;
}

/** Bring the controls in line with what is chosen. */
function showChosen() {
  const { layer, unit, of, language, direction, window, text } = state;
  const values = { cell: chosen().key, layer, unit, of, language, window: window || element("window").max };
  for (const [id, value] of Object.entries(values)) element(id).value = value;
  if (!refused && document.activeElement !== element("text")) element("text").value = text;
  for (const input of element("direction").querySelectorAll("input"))
    input.checked = input.value === direction;
  element("quiz").setAttribute("aria-pressed", Boolean(quiz));
}

/** Draw a part of the page if what it depends on has changed. */
function refresh(part, depends, draw) {
  const key = JSON.stringify(depends);
  if (drawnLast[part] === key) return;
  drawnLast[part] = key;
  draw();
}

let [later, addressed, typed] = [0, 0, 0]; // timers

function render() {
  scopeShown = null;
  const { model, text, t, layer, unit, window, of, language } = state;
  refresh("words", [language], translate);
  refresh("choices", [model, text, language], showChoices);
  refresh("longer", [text, language], showLonger);
  showChosen();
  refresh("strip", [model, text, basis, window, language], showStrip);
  refresh("network", [model, text, window, language], showNetwork);
  refresh("step", [model, text, basis, window, language, t], markStep);
  showMessage();
  element("previous").ariaDisabled = !beside(-1);
  element("next").ariaDisabled = !beside(1);
  fill(element("check-result"));
  element("planting").hidden = true;
  showGraph();
  showFormula();
  clearTimeout(later);
  later = setTimeout(() => {
    refresh("reach", [text, layer, window, of, language], showReach);
    refresh("gates", [model, text, layer, window, language], showGates);
    markPictures();
  }, 60);
  clearTimeout(addressed);
  addressed = setTimeout(() => history.replaceState(null, "", `#${fragment()}`), 300);
}

/** What is chosen as a fragment: cell=gru-before&text=hello&t=2&direction=backward. */
function fragment() {
  const { text, t, layer, unit, direction, node, window, of } = state;
  const given = new URLSearchParams({ cell: chosen().key, text, t, layer, unit, direction, node, of });
  if (window) given.set("window", window);
  if (state.language !== data.language) given.set("language", state.language);
  return String(given).replaceAll("+", "%20");
}

/** Choose what the fragment of the address says. */
function openAddress() {
  const given = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  const first = { t: 0, node: "h_prev" };
  const usual = { text: data.text, ...(location.hash.length > 1 ? { t: 2, node: "h" } : first) };
  basis = null;
  const isRead = set({ ...usual, ...given });
  if (isRead && !given.unit && chosen().hidden > ROWS) set({ unit: unitsThatMatter(chosen())[0] });
  if (isRead) return;
  state.text = data.text;
  const problem = problemOf(chosen(), given.text);
  set({ ...usual, ...given, text: data.text });
  element("text").value = given.text ?? data.text;
  refused = `${problem} ${say("still", { text: clipped(state.text) })}`;
  showMessage();
}

/** Call `act` with the value of a field when it changes. */
const onChange = (id, act, kind = "change") =>
  element(id).addEventListener(kind, ({ target }) => act(target.value));

for (const id of ["cell", "layer", "unit", "of", "language"]) onChange(id, (value) => set({ [id]: value }));
onChange("window", (value) => set({ window: Math.max(1, Number(value || Infinity)) }));
onChange(
  "text",
  (text) => {
    clearTimeout(typed);
    const all = [...text].length;
    if (all > LONGEST) element("text").value = text = shortened(text);
    const act = () => {
      if (set({ text }) && all > LONGEST) {
        refused = say("cut", { all: all.toLocaleString(), most: LONGEST.toLocaleString() });
        showMessage();
      }
    };
    if (text.length > 200) typed = setTimeout(act, 150);
    else act();
  },
  "input",
);
element("text").addEventListener("blur", showMessage);
onChange("direction", (direction) => {
  const isAtStart = state.node === graphNow().order[0];
  set({ direction });
  if (isAtStart) set({ node: graphNow().order[0] });
});
element("setup").addEventListener("submit", (event) => event.preventDefault());
element("previous").addEventListener("click", () => go(-1));
element("next").addEventListener("click", () => go(1));
element("check").addEventListener("click", checkGradient);
element("planted").addEventListener("change", checkGradient);
element("quiz").addEventListener("click", () => {
  if (!quiz) return ask();
  quiz = null;
  render();
});
element("answer").addEventListener("submit", (event) => {
  event.preventDefault();
  judge();
});
element("graph").addEventListener("click", ({ target, clientX }) => {
  const node = target.closest("[data-node]");
  if (!node) return;
  const { left, width } = node.querySelector(".box").getBoundingClientRect();
  const share = ((clientX - left) / width) * WIDE; // in the strip of all units, the unit
  const unit = Math.floor(((share - 5) / (WIDE - 10)) * chosen().hidden);
  const isUnit = target.matches(".shade") && isByUnit(node.dataset.node);
  set({ node: node.dataset.node, unit: isUnit ? unit : state.unit });
});
element("strip").addEventListener("click", ({ target }) => {
  const step = target.closest("[data-t]");
  if (step) set({ t: step.dataset.t });
});
element("graph").addEventListener("keydown", (event) => {
  const end = { Home: 0, End: -1 }[event.key];
  if (end === undefined) return;
  event.preventDefault();
  set({ node: graphNow().order.at(end) });
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.target.closest("input, select, textarea, [data-arrows]")) return;
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!by) return;
  event.preventDefault();
  go(by);
});
phone.addEventListener("change", () => render());
addEventListener("hashchange", openAddress);
openAddress();

/** Every value and every arriving gradient of a step as arrays, by the names of the textbook. */
function values({ cell = chosen().key, layer = state.layer, t = state.t } = {}) {
  const model = models.find(({ key, name }) => key === cell || name === cell);
  const read = passOf(model);
  const step = read.pass.steps[t];
  const { layers, dp, dlogits } = gradientsOf(read).steps[t];
  const { paths, ...own } = layers[layer];
  const vectors = { ...step.layers[layer], ...own, logits: step.logits, p: step.p, dlogits, dp };
  return Object.fromEntries(Object.entries(vectors).map(([name, vector]) => [name, Array.from(vector)]));
}

globalThis.lesson = { values, set };
