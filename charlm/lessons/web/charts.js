// Pictures of the whole text: how far a gradient reaches, and what the gates do at each character.

/** The colour of each path of a gradient to the step before: that of the GRU's gate, for the others too. */
const COLOURS = { i: "z", o: "r", g: "n", h: "n" };

const DECADES = [1, -6]; // of the axis
const DECADE = 20; // pixels

/** The height of a share of the gradient on the axis, above its lowest decade. */
const heightOf = (share) =>
  DECADE * between(0, Math.log10(share || 1e-99) - DECADES[1], DECADES[0] - DECADES[1]);

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
    if (decade % 2) continue;
    const power = drawn("tspan", { dy: -4 }, String(decade).replace("-", "−"));
    all.push(drawn("text", { class: "axis decade", x: right + 5, y: y + 4 }, "10", power));
  }
  const straight = [];
  reached.forEach((at, t) => {
    const x = left + t * wide;
    const share = at[memory].norm / most;
    const entries = lengths(at, memory, read.pass.steps[t].layers[layer]);
    const sum = entries.reduce((total, [, size]) => total + size, 0) || 1;
    let y = bottom;
    const bar = drawn("g", { "data-t": t }, drawn("title", {}, `t = ${t}: ${shown(share)}`));
    if (at.cut) bar.append(drawn("rect", { class: "cut", x, y: top, width: wide, height: high }));
    for (const [path, size] of entries) {
      const height = (heightOf(share) * size) / sum;
      if (height < 0.1) continue; // cannot be seen
      y -= height;
      bar.append(
        drawn("rect", { class: `path-${COLOURS[path] ?? path}`, x: x + 1, y, width: wide - 2, height }),
      );
    }
    const place = { class: `character${t === state.of ? " here" : ""}`, x: x + wide / 2, y: bottom + 16 };
    bar.append(drawn("rect", { class: "catch", x, y: top, width: wide, height: high + 20 }));
    all.push(bar, drawn("text", place, model.signs[read.ids[t]]));
    if (at.straight !== null && !at.cut)
      straight.push(`${x + wide / 2} ${bottom - heightOf(at.straight / most)}`);
  });
  if (straight.length > 1) all.push(drawn("path", { class: "straight", d: `M${straight.join("L")}` }));
  const first = reached.findIndex(({ cut }) => !cut);
  if (first > 0) all.push(drawn("text", { class: "axis", x: left + 4, y: top + 12 }, say("reach.cut")));
  const words = reading(model, reached, first, most, memory);
  const svg = drawn(
    "svg",
    { width: right + 34, height: bottom + 24, role: "img", "aria-label": words },
    ...all,
  );
  const box = made("div", svg, { class: "scroll", tabindex: 0, "data-arrows": "" });
  return made("div", [box, made("p", words)]);
}

/** The sentence of a chart: what arrives at the first step, and how much of it only ever went straight. */
function reading(model, reached, first, most, memory) {
  const steps = reached.length - 1 - first;
  if (!steps) return say("reach.short");
  const { straight, [memory]: state } = reached[first];
  const character = quoted(model.signs[passOf(model).ids[first]]);
  const words = say("reach.reading", { steps, character, share: percentOf(state.norm / most) });
  const share = percentOf((straight ?? 0) / most);
  return `${words} ${say(straight === null ? "reach.winding" : "reach.straight", { share })}`;
}

/** A share in per cent, or if that is very little as on the axis. */
const percentOf = (share) => (share < 1e-3 ? shown(share, 2) : percent(share));

/** Give pictures that are beside each other as much room as the widest needs. */
function arrange(id, figures) {
  element(id).replaceChildren(...figures);
  const widths = figures.map((figure) => Number(figure.querySelector("svg")?.getAttribute("width") ?? 0));
  element(id).style.setProperty("--wide", `${Math.max(280, ...widths)}px`);
}

/** The length of each path's part along the gradient of a state: [path, length]. */
function lengths(at, memory, { o, tanh_c }) {
  const parts = Object.entries(at[memory].parts).filter(([path]) => memory === "h" || path !== "h");
  const found = parts.map(([path, { along }]) => [path, Math.abs(along)]);
  if (memory === "h") return found;
  // what came to h by a path reaches the memory through h = o tanh(c)
  const { whole: dc, norm } = at.c;
  const through = (dh) => dh.reduce((sum, dh_k, k) => sum + dh_k * o[k] * (1 - tanh_c[k] ** 2) * dc[k], 0);
  const byH = Object.entries(at.h.parts);
  return [...found, ...byH.map(([path, { whole }]) => [path, Math.abs(through(whole)) / (norm || 1)])];
}

function showReach() {
  const figures = models.map((model) => {
    const name = model.network.cell.states.at(-1);
    const title = made("h3", [titleOf(model), " ", made("small", formulaLine(`d${name}`))]);
    return made("figure", [title, reachChart(model)]);
  });
  arrange("reach", figures);
  element("longer").hidden = state.text.length > 20;
  for (const box of element("reach").querySelectorAll(".scroll")) box.scrollLeft = box.scrollWidth;
  const swatch = (path) =>
    made("span", [made("i", "", { class: `swatch path-${path}` }), say(`path.${path}`)]);
  element("paths").replaceChildren(...["direct", "z", "r", "n", "f", "above", "straight"].map(swatch));
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
  const words = { unit, character: quoted(model.signs[id]), here: shown(here), elsewhere: shown(elsewhere) };
  return sayFirst(keys, words);
}

const [LEFT, TOP, LINE] = [30, 20, 14]; // of a map: margins, and the height of a unit

/** A map of the values of a gate, or of a state: a row for each unit, a column for each character. */
function gateMap(model, gate) {
  const { ids, pass } = passOf(model);
  const wide = between(18, Math.floor(240 / ids.length), 32);
  const values = rows.flatMap((unit) => pass.steps.map(({ layers }) => layers[state.layer][gate][unit]));
  const scale = Math.max(1, largest(values));
  const shares = values.map((value) => value / scale);
  const text = (kind, x, y, words) => drawn("text", { class: kind, x, y }, words);
  const size = { width: LEFT + wide * ids.length + 4, height: TOP + LINE * rows.length + 4 };
  const svg = drawn(
    "svg",
    { ...size, "data-wide": wide, "aria-hidden": true },
    ...rows.map((unit, k) => text("axis rows", LEFT - 6, TOP + LINE * k + 11, unit)),
    ...ids.map((id, t) => text("character", LEFT + wide * (t + 0.5), TOP - 6, model.signs[id])),
    ...shades(shares, ids.length, LEFT, TOP, wide, LINE),
    drawn("rect", { class: "mark", width: wide }),
  );
  const attributes = { class: "scroll map", tabindex: 0, role: "application", "data-gate": gate };
  const title = made("h3", [...formulaLine(gate), made("small", say(`name.${gate}`))]);
  const box = made("div", svg, { ...attributes, "data-arrows": "" });
  return made("figure", [title, box, made("p", extreme(model, gate))]);
}

function showGates() {
  const model = chosen();
  rows = unitsThatMatter(model);
  const names = [...new Set([...model.network.cell.gates, ...model.network.cell.states])];
  const most = rows.length < model.hidden ? say("gates.most", { shown: rows.length, all: model.hidden }) : "";
  element("gates-about").textContent = `${say("gates.about")} ${most}`;
  arrange(
    "gates",
    names.map((name) => gateMap(model, name)),
  );
}

/** Mark the chosen step and unit in the maps. */
function markGates() {
  const { t, layer, unit } = state;
  const { ids, pass } = passOf(chosen());
  const character = quoted(chosen().signs[ids[t]]);
  const row = rows.indexOf(unit);
  for (const box of element("gates").querySelectorAll(".map")) {
    const { gate } = box.dataset;
    const wide = Number(box.firstChild.dataset.wide);
    const [x, y] = [LEFT + wide * t, TOP + LINE * Math.max(0, row)];
    const place = { x, y, height: row < 0 ? LINE * rows.length : LINE };
    for (const [name, value] of Object.entries(place)) box.querySelector(".mark").setAttribute(name, value);
    const value = isAsked() ? "?" : shown(pass.steps[t].layers[layer][gate][unit]);
    box.setAttribute("aria-label", say("gates.cell", { gate, unit, t, value, character }));
    const isSeen = x >= box.scrollLeft && x + wide <= box.scrollLeft + box.clientWidth;
    if (!isSeen) box.scrollLeft = x - box.clientWidth / 2;
  }
}

/** The place in a map where a pointer is: its step and its unit. */
function placeIn(box, { clientX, clientY }) {
  const { left, top } = box.firstChild.getBoundingClientRect();
  const t = Math.floor((clientX - left - LEFT) / Number(box.firstChild.dataset.wide));
  const row = Math.floor((clientY - top - TOP) / LINE);
  return { t: Math.max(0, t), unit: rows[between(0, row, rows.length - 1)] };
}

element("gates").addEventListener("click", (event) => {
  const box = event.target.closest(".map");
  if (box) set(placeIn(box, event));
});
element("gates").addEventListener("keydown", (event) => {
  const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const [right, down] = ways[event.key] ?? [];
  if (right === undefined || !event.target.closest(".map")) return;
  event.preventDefault();
  const row = between(0, Math.max(0, rows.indexOf(state.unit)) + down, rows.length - 1);
  set({ t: state.t + right, unit: rows[row] });
});
element("longer").addEventListener("click", () => set({ text: state.text.repeat(5) }));
element("reach").addEventListener("click", ({ target }) => {
  const bar = target.closest("[data-t]");
  if (bar) set({ t: bar.dataset.t });
});
