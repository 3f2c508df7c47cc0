// Pictures of the whole text: how far a gradient reaches, and what the gates do at each character.

/** The paths of a gradient to the step before, by the class of their colour. */
const PATHS = { direct: "direct", z: "z", i: "z", r: "r", o: "r", n: "n", g: "n", h: "n", f: "f", above: "above" };

const DECADES = [1, -6]; // of the axis
const DECADE = 20; // pixels

/** The height of a share of the gradient on the axis, above its lowest decade. */
const heightOf = (share) => DECADE * between(0, Math.log10(share || 1e-99) - DECADES[1], DECADES[0] - DECADES[1]);

/** A chart of how much of the gradient of prediction `of` arrives at each step, or a sentence instead. */
function reachChart(model) {
  const read = passOf(model);
  const layer = Math.min(state.layer, model.layers - 1);
  if (!read) return made("p", say("reach.lacking"), { class: "quiet" });
  if (state.of >= read.pass.predictions) return made("p", say("reach.none"), { class: "quiet" });
  const memory = model.network.cell.states.at(-1);
  const reached = model.network.reach(read.pass, state.of, layer);
  const most = reached[state.of][memory].norm || 1;
  const wide = between(12, Math.floor(230 / reached.length), 40);
  const [left, top, high] = [4, 8, DECADE * (DECADES[0] - DECADES[1])];
  const [right, bottom] = [left + wide * reached.length, top + high];
  const all = [];
  for (let decade = DECADES[1]; decade <= DECADES[0]; decade++) {
    const y = bottom - DECADE * (decade - DECADES[1]);
    all.push(drawn("path", { class: decade ? "grid" : "grid one", d: `M${left} ${y}H${right}` }));
    const power = String(decade).replace("-", "−");
    const text = drawn("text", { class: "decade", x: right + 5, y: y + 4 }, "10", drawn("tspan", { dy: -4 }, power));
    if (decade % 2 === 0) all.push(text);
  }
  const straight = [];
  reached.forEach((at, t) => {
    const x = left + t * wide;
    const share = at[memory].norm / most;
    const entries = lengths(at, memory, read.pass.steps[t].layers[layer]);
    const sum = entries.reduce((total, [, size]) => total + size, 0) || 1;
    let y = bottom;
    const bar = drawn("g", { class: "bar", "data-t": t }, drawn("title", {}, `t = ${t}: ${shown(share)}`));
    if (at.cut) bar.append(drawn("rect", { class: "cut", x, y: top, width: wide, height: high }));
    for (const [path, size] of entries) {
      const height = (heightOf(share) * size) / sum;
      y -= height;
      bar.append(drawn("rect", { class: `path-${PATHS[path]}`, x: x + 1, y, width: wide - 2, height }));
    }
    const character = drawn("text", { class: t === state.of ? "character here" : "character", x: x + wide / 2, y: bottom + 16 }, model.signs[read.ids[t]]);
    bar.append(drawn("rect", { class: "catch", x, y: top, width: wide, height: high + 20 }), character);
    all.push(bar);
    if (at.straight !== null && !at.cut) straight.push(`${x + wide / 2} ${bottom - heightOf(at.straight / most)}`);
  });
  if (straight.length > 1) all.push(drawn("path", { class: "straight", d: `M${straight.join("L")}` }));
  const first = reached.findIndex(({ cut }) => !cut);
  if (first > 0) all.push(drawn("text", { class: "cut-word", x: left + 4, y: top + 12 }, say("reach.cut")));
  const words = reading(model, reached, first, most, memory);
  const width = right + 34;
  const svg = drawn("svg", { viewBox: `0 0 ${width} ${bottom + 24}`, width, height: bottom + 24, role: "img", "aria-label": words }, ...all);
  return made("div", [made("div", svg, { class: "scroll", tabindex: 0, "data-arrows": "" }), made("p", words)]);
}

/** The sentence of a chart: what arrives at the first step, and how much of it only ever went straight. */
function reading(model, reached, first, most, memory) {
  const steps = reached.length - 1 - first;
  if (!steps) return say("reach.short");
  const { straight, [memory]: state } = reached[first];
  const character = quoted(model.signs[passOf(model).ids[first]]);
  const words = say("reach.reading", { steps, character, share: percentOf(state.norm / most) });
  const rest = straight === null ? say("reach.winding") : say("reach.straight", { share: percentOf(straight / most) });
  return `${words} ${rest}`;
}

/** A share in per cent, or what is less than can be read in it. */
const percentOf = (share) => (share && share < 1e-4 ? `${shown(100 * share, 2)} %` : percent(share));

/** The length of each path's part along the gradient of a state: [path, length]. */
function lengths(at, memory, { o, tanh_c }) {
  const parts = Object.entries(at[memory].parts).filter(([path]) => memory === "h" || path !== "h");
  const found = parts.map(([path, { along }]) => [path, Math.abs(along)]);
  if (memory === "h") return found;
  // what came to h by a path reaches the memory through h = o tanh(c)
  const { whole, norm } = at.c;
  const through = (part) => part.reduce((sum, d, k) => sum + d * o[k] * (1 - tanh_c[k] ** 2) * whole[k], 0);
  const byH = Object.entries(at.h.parts).map(([path, { whole: part }]) => [path, Math.abs(through(part)) / (norm || 1)]);
  return [...found, ...byH];
}

function showReach() {
  const figures = models.map((model) => {
    const name = model.network.cell.states.at(-1);
    const title = made("h3", [titleOf(model), " ", made("small", formulaLine(`d${name}`))]);
    return made("figure", [title, reachChart(model)]);
  });
  element("reach").classList.toggle("long", state.of > 22);
  element("reach").replaceChildren(...figures);
  for (const box of element("reach").querySelectorAll(".scroll")) box.scrollLeft = box.scrollWidth;
  const legend = ["direct", "z", "r", "n", "f", "above"].map((path) => made("span", [made("i", "", { class: `swatch path-${path}` }), say(`path.${path}`)]));
  element("paths").replaceChildren(...legend, made("span", [made("i", "", { class: "swatch line" }), say("path.straight")]));
}

// gates

const ROWS = 16; // units that are shown of many

let rows = []; // the units that are shown

/** The units of the chosen layer that matter most in this text: by the sum of |dh h|; all, if they are few. */
function unitsThatMatter(model) {
  const every = Array.from({ length: model.hidden }, (_, unit) => unit);
  if (model.hidden <= ROWS) return every;
  const read = passOf(model);
  const weight = new Float64Array(model.hidden);
  gradientsOf(read).steps.forEach(({ layers }, t) => {
    const [{ h }, { dh }] = [read.pass.steps[t].layers[state.layer], layers[state.layer]];
    for (const unit of every) weight[unit] += Math.abs(dh[unit] * h[unit]);
  });
  return every.sort((a, b) => weight[b] - weight[a]).slice(0, ROWS);
}

/** What is most striking in a map: the unit and the character where its mean is furthest from elsewhere. */
function extreme(model, gate) {
  const { ids, pass } = passOf(model);
  let best = null;
  for (const unit of rows) {
    const values = pass.steps.map(({ layers }) => layers[state.layer][gate][unit]);
    const total = values.reduce((sum, value) => sum + value, 0);
    for (const id of new Set(ids)) {
      const own = values.filter((_, t) => ids[t] === id);
      if (own.length === values.length) continue;
      const sum = own.reduce((all, value) => all + value, 0);
      const [here, elsewhere] = [sum / own.length, (total - sum) / (values.length - own.length)];
      const size = Math.abs(here - elsewhere) * Math.sqrt(Math.min(own.length, 4));
      if (!best || size > best.size) best = { unit, id, here, elsewhere, size };
    }
  }
  if (!best) return "";
  const { unit, id, here, elsewhere } = best;
  const keys = [`gates.${gate}.${here > elsewhere ? "up" : "down"}`, "gates.any"];
  return sayFirst(keys, { unit, character: quoted(model.signs[id]), here: shown(here), elsewhere: shown(elsewhere) });
}

const LINE = 14; // the height of a unit in a map

function gateMap(model, gate) {
  const { ids, pass } = passOf(model);
  const wide = between(18, Math.floor(240 / ids.length), 32);
  const values = rows.flatMap((unit) => pass.steps.map(({ layers }) => layers[state.layer][gate][unit]));
  const scale = Math.max(1, largest(values));
  const [left, top] = [30, 20];
  const names = rows.map((unit, k) => drawn("text", { class: "axis", x: left - 6, y: top + LINE * k + 11 }, unit));
  const characters = ids.map((id, t) => drawn("text", { class: "character", x: left + wide * (t + 0.5), y: top - 6 }, model.signs[id]));
  const [width, height] = [left + wide * ids.length + 4, top + LINE * rows.length + 4];
  const cells = shades(values.map((value) => value / scale), ids.length, left, top, wide, LINE);
  const mark = drawn("rect", { class: "mark", width: wide, height: LINE });
  const words = extreme(model, gate);
  const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, width, height, "data-wide": wide, "aria-hidden": true }, ...names, ...characters, ...cells, mark);
  const box = made("div", svg, { class: "scroll map", tabindex: 0, role: "application", "data-gate": gate, "data-arrows": "" });
  return made("figure", [made("h3", [...formulaLine(gate), made("small", say(`name.${gate === "h" ? "h" : gate}`))]), box, made("p", words)]);
}

function showGates() {
  const model = chosen();
  rows = unitsThatMatter(model);
  const names = [...new Set([...model.network.cell.gates, ...model.network.cell.states])];
  element("gates").classList.toggle("long", passOf(model).ids.length > 13);
  element("gates").replaceChildren(...names.map((name) => gateMap(model, name)));
}

/** Mark the chosen step and unit in the maps. */
function markGates() {
  const model = chosen();
  const row = rows.indexOf(state.unit);
  for (const box of element("gates").querySelectorAll(".map")) {
    const svg = box.firstChild;
    const wide = Number(svg.dataset.wide);
    const mark = svg.querySelector(".mark");
    mark.setAttribute("x", 30 + wide * state.t);
    mark.setAttribute("y", 20 + LINE * Math.max(0, row));
    mark.setAttribute("height", row < 0 ? LINE * rows.length : LINE);
    const value = passOf(model).pass.steps[state.t].layers[state.layer][box.dataset.gate][state.unit];
    const words = { gate: box.dataset.gate, unit: state.unit, t: state.t, value: shown(value), character: quoted(model.signs[passOf(model).ids[state.t]]) };
    box.setAttribute("aria-label", say("gates.cell", words));
    const x = 30 + wide * state.t;
    if (x < box.scrollLeft || x + wide > box.scrollLeft + box.clientWidth) box.scrollLeft = x - box.clientWidth / 2;
  }
}

/** The place in a map where a pointer is: its step and its unit. */
function placeIn(box, { clientX, clientY }) {
  const area = box.firstChild.getBoundingClientRect();
  const t = Math.floor((clientX - area.left - 30) / Number(box.firstChild.dataset.wide));
  const row = between(0, Math.floor((clientY - area.top - 20) / LINE), rows.length - 1);
  return { t: Math.max(0, t), unit: rows[row] };
}

element("gates").addEventListener("click", (event) => {
  const box = event.target.closest(".map");
  if (box) set(placeIn(box, event));
});
element("gates").addEventListener("keydown", (event) => {
  const [right, down] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [];
  if (right === undefined || !event.target.closest(".map")) return;
  event.preventDefault();
  const row = between(0, Math.max(0, rows.indexOf(state.unit)) + down, rows.length - 1);
  set({ t: state.t + right, unit: rows[row] });
});
element("reach").addEventListener("click", ({ target }) => {
  const bar = target.closest("[data-t]");
  if (bar) set({ t: bar.dataset.t });
});
