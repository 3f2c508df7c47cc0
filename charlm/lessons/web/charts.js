// Pictures of the whole text: how far a gradient reaches, and what the gates do at each character.

/** The colour of each path of a gradient to the step before: that of the GRU's gate, for the others too. */
const COLOURS = { i: "z", o: "r", g: "n", h: "n" };

const DECADES = 6; // of the axis, below 10⁰
const DECADE = 20; // pixels
const ROOM = 8; // pixels above 10⁰, for what grew
const LEAST = 1e-99; // below it, squares vanish in float64
const STRIP = 9; // pixels of the strip that divides what arrives

/** The height of a share of the gradient on the axis, above its lowest decade. */
const heightOf = (share) =>
  between(0, DECADE * (Math.log10(share || 1e-99) + DECADES), DECADE * DECADES + ROOM);

/** The rectangle of a picture as a part of a path. */
const rectangle = (x, y, width, height) =>
  `M${x.toFixed(1)} ${y.toFixed(1)}h${width}v${height.toFixed(2)}h${-width}z`;

/** The characters below the columns of a picture: one element, where each is one unit of UTF-16. */
function characters(signs, left, wide, y) {
  const middle = (t) => left + wide * (t + 0.5);
  if (signs.some((sign) => sign.length > 1)) {
    return signs.map((sign, t) => made("text", { class: "character", x: middle(t), y }, sign));
  }
  const x = signs.map((_, t) => middle(t)).join(" ");
  return [made("text", { class: "character", x, y }, signs.join(""))];
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** What a step back multiplies a gradient by, a mean over the units: the gate, or the slope of tanh. */
const keptBy = ({ network }, v) => mean(network.gateOf(v) ?? v.h.map((h) => 1 - h ** 2));

/**
 * How much of the gradient of prediction `of` arrives at each step; null if there is no such prediction.
 * `factor` is the name of what a step back multiplies it by, and `kept` its mean at each step.
 */
function reachOf(model) {
  const read = passOf(model);
  if (!read || state.of >= read.pass.predictions) return null;
  const layer = Math.min(state.layer, model.layers - 1);
  const memory = model.network.cell.states.at(-1);
  const reached = model.network.reach(read.pass, state.of, layer);
  const most = reached[state.of][memory].norm || 1;
  const shares = reached.map((at) => at[memory].norm / most);
  const factor = { rnn: "1 − h²", lstm: "f" }[model.cell] ?? "z";
  const kept = read.pass.steps.map(({ layers }) => keptBy(model, layers[layer]));
  const first = reached.findIndex(({ cut }) => !cut);
  return { read, layer, memory, reached, most, shares, factor, kept, first };
}

/**
 * A picture with a column of some width for each step, right of a margin, and below it the line for what it
 * shows at a place; the arrow keys choose a step.
 */
function picture(attributes, size, left, wide, ...contents) {
  const svg = made("svg", { ...size, "data-left": left, "data-wide": wide, "aria-hidden": true }, contents);
  const box = made("div", { ...attributes, tabindex: 0, role: "application", "data-arrows": "" }, svg);
  return [box, made("p", { class: "here" })];
}

const charts = {}; // by the key of a model: what its chart shows
let marked = null; // the step that is marked in them; null if they are new

/** The chart of a model, or a sentence instead. */
function reachChart(model) {
  const chart = (charts[model.key] = reachOf(model));
  if (!chart) return made("p", { class: "quiet" }, say(passOf(model) ? "reach.none" : "reach.lacking"));
  const { read, layer, memory, reached, most, shares, first } = chart;
  const wide = between(12, Math.floor(230 / reached.length), 40);
  const [left, top, high] = [4, 4 + ROOM, DECADE * DECADES];
  const [right, bottom] = [left + wide * reached.length, top + high];
  const [all, border] = [[], isFresh(first, model) ? "legend.line" : "reach.cut"];
  for (let decade = 0; decade <= DECADES; decade++) {
    const y = top + DECADE * decade;
    all.push(made("path", { class: decade ? "grid" : "grid one", d: `M${left} ${y}H${right}` }));
    if (decade % 2) continue;
    const power = made("tspan", { dy: -4 }, decade ? `−${decade}` : "0");
    all.push(made("text", { class: "axis decade", x: right + 5, y: y + 4 }, "10", power));
  }
  if (first > 0) {
    const size = { x: left, y: top, width: wide * first, height: high + STRIP + 4 };
    all.push(made("rect", { class: "cut", ...size }));
    all.push(made("text", { class: "axis", x: left + 4, y: top + 12 }, say(border)));
  }
  const paths = { all: "" }; // the outlines of what has one colour
  const straight = [];
  for (let t = first; t < reached.length; t++) {
    const x = left + t * wide;
    const height = heightOf(shares[t]);
    paths.all += height
      ? rectangle(x + 1, bottom - height, wide - 2, height)
      : `M${x + wide / 2 - 4} ${bottom - 6}h8l-4 6z`;
    const entries = lengths(reached[t], memory, read.pass.steps[t].layers[layer]);
    const sum = entries.reduce((total, [, size]) => total + size, 0) || 1;
    let from = x + 1;
    for (const [path, size] of entries) {
      const part = (size / sum) * (wide - 2);
      const colour = COLOURS[path] ?? path;
      paths[colour] = (paths[colour] ?? "") + rectangle(from, bottom + 4, part.toFixed(2), STRIP);
      from += part;
    }
    if (heightOf(reached[t].straight / most) > 0)
      straight.push(`${x + wide / 2} ${bottom - heightOf(reached[t].straight / most)}`);
  }
  all.push(...Object.entries(paths).map(([path, d]) => made("path", { class: `path-${path}`, d })));
  if (straight.length > 1) all.push(made("path", { class: "straight", d: `M${straight.join("L")}` }));
  const signs = reached.map((_, t) => model.signs[read.ids[t]]);
  all.push(...characters(signs, left, wide, bottom + STRIP + 20));
  const x = left + state.of * wide;
  all.push(made("path", { class: "straight here", d: `M${x + 3} ${bottom + STRIP + 24}h${wide - 6}` }));
  const mark = { class: "mark", y: top - 3, width: wide, height: high + STRIP + 10 };
  all.push(made("rect", mark));
  const size = { width: right + 34, height: bottom + STRIP + 28 };
  const box = picture({ class: "scroll chart", "data-key": model.key }, size, left, wide, all);
  return [box, made("p", {}, prose(reading(model, chart)))];
}

/** The most that a matrix [H, H] lengthens a vector: its largest singular value. */
function mostLengthened(W) {
  let v = Float64Array.from({ length: Math.sqrt(W.length) }, (_, k) => Math.cos(k));
  for (let k = 0; k < 99; k++) {
    v = timesTransposed(times(v, W), W);
    const size = norm(v) || 1;
    v = v.map((v_k) => v_k / size);
  }
  return norm(times(v, W));
}

/** The sentences of a chart: what arrives at the first step, what multiplied it on its way, where it grew. */
function reading(model, { read, layer, reached, most, shares, factor, kept, first }) {
  const k = reached.length - 1;
  const { straight } = reached[first];
  const at = (t) => quoted(model.signs[read.ids[t]]);
  const end = isFresh(first, model) ? "say.cut.line" : "reach.truncated";
  const cut = first > 0 ? say(end, { character: at(first), t: first }) : "";
  if (k === first) return cut || say("reach.short");
  const steps = k - first;
  const whole = { steps, character: at(first), share: percentOf(shares[first]) };
  const words = [say("reach.reading", { ...whole, times: perStep(shares[first], steps) })];
  const { Wh } = model.network.layers[layer];
  const cause = { factor, mean: shown(mean(kept.slice(first + 1, k + 1))) };
  const straightly = { share: percentOf(straight / most), times: perStep(straight / most, steps) };
  if (straight === null) words.push(say("reach.winding", { ...cause, most: shown(mostLengthened(Wh.h)) }));
  else words.push(say("reach.straight", { ...cause, ...straightly }));
  const top = shares.indexOf(largest(shares));
  const highest = { character: at(top), t: top, share: percentOf(shares[top]) };
  if (shares[top] > 1.005) words.push(say("reach.grew", highest));
  if (cut) words.push(cut);
  return words.join(" ");
}

/** A share in per cent, or if that is very little as on the axis. */
const percentOf = (share) =>
  share < LEAST ? `<\u202f${shown(LEAST, 1)}` : share < 1e-3 ? shown(share, 2) : percent(share);

/** The factor of each of `steps` steps that together leave a share. */
const perStep = (share, steps) =>
  (share < LEAST ? "<\u202f" : "") + shown(Math.max(share, LEAST) ** (1 / steps));

/** Give pictures that are beside each other as much room as the widest needs. */
function arrange(id, figures) {
  fill(element(id), figures);
  const widths = [...element(id).querySelectorAll("svg")].map((svg) => Number(svg.getAttribute("width")));
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

/** Where a chart measures the gradient: at h or c, of which layer. */
function whereOf(model) {
  const name = model.network.cell.states.at(-1);
  const words = say(`reach.state.${name}`);
  const layer = Math.min(state.layer, model.layers - 1) + 1;
  const place = model.layers > 1 ? say("reach.layer", { state: words, layer }) : words;
  return [...formulaLine(`d${name}`), `: ${place}`];
}

function showReach() {
  const figures = models.map((model) => {
    const title = made("h3", {}, titleOf(model), " ", made("small", {}, whereOf(model)));
    return made("figure", {}, title, reachChart(model));
  });
  arrange("reach", figures);
  marked = null;
  const swatch = (path) =>
    made("span", {}, made("i", { class: `swatch path-${path}` }), prose(say(`path.${path}`)));
  const strip = ["direct", "z", "r", "n", "f", "above"].map(swatch);
  const bars = ["all", "straight"].map(swatch);
  fill(element("paths"), bars, made("span", {}, say("path.last")), strip);
}

const TIMES = 5; // as often the text is repeated
let repeated = null; // the text that was repeated

/** The text that `text` repeats, if the page has repeated it; else "". */
const onceOf = (text) => (repeated !== null && text === repeated.repeat(TIMES) ? repeated : "");

/** The button that repeats the text or brings it back, and the hint that a text is short. */
function showLonger() {
  const once = onceOf(state.text);
  const hasFocus = document.activeElement === element("longer");
  element("longer").hidden = !once && state.text.length > 20 && !hasFocus;
  element("longer").textContent = say(once ? "reach.once" : "reach.longer", { text: clipped(once) });
  const key = once ? "apart" : state.text.length < 16 ? "tiny" : "none";
  element("short").textContent = key === "none" ? "" : say(`reach.${key}`, { text: clipped(state.text) });
}

/** Put the mark of a picture to the chosen step, and bring the step `seen` into view. */
function moveMark(box, attributes, seen) {
  const [left, wide] = [box.firstChild.dataset.left, box.firstChild.dataset.wide].map(Number);
  for (const [name, value] of Object.entries({ x: left + wide * state.t, ...attributes }))
    box.querySelector(".mark").setAttribute(name, value);
  if (seen !== null) keepSeen(box, left + wide * seen, wide);
}

/** Scroll a box so that a part of it is seen. */
function keepSeen(box, left, wide) {
  const isSeen = left >= box.scrollLeft && left + wide <= box.scrollLeft + box.clientWidth;
  if (!isSeen) box.scrollLeft = left - box.clientWidth / 2;
}

/** What a chart or a map shows at a step, in a map of a unit, in words. */
function wordsAt(box, { t, unit }) {
  const { key, gate } = box.dataset;
  const model = models.find((one) => one.key === key) ?? chosen();
  const { ids, pass } = passOf(model);
  const at = { t, unit, gate, character: quoted(model.signs[ids[t]] ?? "") };
  if (gate) {
    const value = pass.steps[t].layers[state.layer][gate][unit];
    return say("gates.cell", { ...at, value: isAsked() ? "?" : shown(value) });
  }
  const { shares, factor, kept, first } = charts[key];
  if (t >= shares.length) return say("reach.after", at);
  const words = say("reach.bar", { ...at, share: t < first ? "0" : percentOf(shares[t]) });
  if (t < first || !shares[t + 1]) return words;
  const back = { times: shown(shares[t] / shares[t + 1]), factor, mean: shown(kept[t + 1]), next: t + 1 };
  return words + say("reach.step", back);
}

/** Write what a picture shows at a place into the line below it. */
const tell = (box, place) => fill(box.nextSibling, prose(wordsAt(box, place)));

/** Mark the chosen step in the charts and the maps, in these the unit too. New charts show the prediction. */
function markPictures() {
  const seen = marked === null ? state.of : state.t === marked ? null : state.t;
  marked = state.t;
  const row = rows.indexOf(state.unit);
  const inMap = { y: TOP + LINE * Math.max(0, row), height: LINE * (row < 0 ? rows.length : 1) };
  const boxes = document.querySelectorAll(".chart, .map");
  for (const box of boxes) {
    const isSeen = state.t < charts[box.dataset.key]?.shares.length;
    if (box.matches(".map")) moveMark(box, inMap, state.t);
    else moveMark(box, { visibility: isSeen ? "visible" : "hidden" }, seen);
  }
  // after all measures: words that change make the browser lay out the page again
  for (const box of boxes) {
    const model = models.find(({ key }) => key === box.dataset.key);
    box.setAttribute("aria-label", (model ? `${titleOf(model)}, ` : "") + wordsAt(box, state));
    tell(box, state);
  }
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
  const { ids: all, pass } = passOf(model);
  const ids = all.slice(1); // before the first step there is nothing to hold or to forget
  let best = null;
  for (const unit of rows) {
    const values = pass.steps.map(({ layers }) => layers[state.layer][gate][unit]).slice(1);
    for (const id of new Set(ids)) {
      const own = values.filter((_, t) => ids[t] === id);
      const others = values.filter((_, t) => ids[t] !== id);
      if (!others.length) continue;
      const [here, elsewhere] = [mean(own), mean(others)];
      const size = Math.abs(here - elsewhere) * Math.sqrt(Math.min(own.length, 4));
      if (!best || size > best.size) best = { unit, id, here, elsewhere, size, count: own.length };
    }
  }
  if (!best) return "";
  const { unit, id, here, elsewhere, count } = best;
  const keys = [`gates.${gate === "f" ? "z" : gate}.${here > elsewhere ? "up" : "down"}`, "gates.any"];
  const read = (value, all) => (all > 1 ? say("gates.mean", { value: shown(value) }) : shown(value));
  const words = { here: read(here, count), elsewhere: read(elsewhere, ids.length - count) };
  return sayFirst(keys, { unit, gate, character: quoted(model.signs[id]), ...words });
}

const [LEFT, TOP, LINE] = [30, 20, 14]; // of a map: margins, and the height of a unit

/** A map of the values of a gate, or of a state: a row for each unit, a column for each character. */
function gateMap(model, gate) {
  const { ids, pass } = passOf(model);
  const wide = between(18, Math.floor(240 / ids.length), 32);
  const values = rows.flatMap((unit) => pass.steps.map(({ layers }) => layers[state.layer][gate][unit]));
  const most = Math.max(1, largest(values));
  const shares = values.map((value) => value / most);
  const text = (kind, x, y, words) => made("text", { class: kind, x, y }, words);
  const size = { width: LEFT + wide * ids.length + 4, height: TOP + LINE * rows.length + 4 };
  const box = picture(
    { class: "scroll map", "data-gate": gate },
    size,
    LEFT,
    wide,
    rows.map((unit, k) => text("axis rows", LEFT - 6, TOP + LINE * k + 11, unit)),
    characters(ids.map((id) => model.signs[id]), LEFT, wide, TOP - 6),
    shades(shares, ids.length, LEFT, TOP, wide, LINE),
    made("rect", { class: "mark", width: wide }),
  );
  const legend = scale(values.some((value) => value < 0) ? -most : 0, most);
  const title = made("h3", {}, formulaLine(gate), made("small", {}, say(`name.${gate}`)), legend);
  return made("figure", {}, title, box, made("p", {}, prose(extreme(model, gate))));
}

function showGates() {
  const model = chosen();
  rows = unitsThatMatter(model);
  const names = [...new Set([...model.network.cell.gates, ...model.network.cell.states])];
  const most = rows.length < model.hidden ? say("gates.most", { shown: rows.length, all: model.hidden }) : "";
  fill(element("gates-about"), prose(`${say("gates.about")} ${most}`));
  arrange(
    "gates",
    names.map((name) => gateMap(model, name)),
  );
}

/** The place in a picture where a pointer is: its step, and in a map the unit. */
function placeIn(box, { clientX, clientY }) {
  const { left, top } = box.firstChild.getBoundingClientRect();
  const { left: margin, wide } = box.firstChild.dataset;
  const t = between(0, Math.floor((clientX - left - margin) / wide), passOf(chosen()).ids.length - 1);
  const row = Math.floor((clientY - top - TOP) / LINE);
  return box.matches(".map") ? { t, unit: rows[between(0, row, rows.length - 1)] } : { t };
}

for (const id of ["reach", "gates"]) {
  element(id).addEventListener("click", (event) => {
    const box = event.target.closest("[data-arrows]");
    if (box) set(placeIn(box, event));
  });
  for (const kind of ["pointermove", "pointerout"]) {
    element(id).addEventListener(kind, (event) => {
      const box = event.target.closest("[data-arrows]");
      if (box) tell(box, { ...state, ...(kind === "pointermove" && placeIn(box, event)) });
    });
  }
}
element("longer").addEventListener("click", () => {
  const once = onceOf(state.text);
  if (!once) repeated = state.text;
  basis = null;
  set({ text: once || state.text.repeat(TIMES) });
});

// arrow keys choose the step, and in a map the unit
for (const id of ["strip", "reach", "gates"]) {
  element(id).addEventListener("keydown", (event) => {
    const { t, unit } = state;
    const row = Math.max(0, rows.indexOf(unit));
    const inMap = { ArrowUp: { unit: rows[row - 1] }, ArrowDown: { unit: rows[row + 1] } };
    const alongText = { ArrowLeft: { t: t - 1 }, ArrowRight: { t: t + 1 }, Home: { t: 0 }, End: { t: Infinity } };
    const there = { ...alongText, ...(id === "gates" && inMap) }[event.key];
    if (!there) return;
    event.preventDefault();
    set(there);
    if (id === "strip") element(id).children[state.t].focus();
  });
}
