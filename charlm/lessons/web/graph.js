// One step as a computation graph: where its nodes stand, their equations, and the picture.
//
// An equation is a line of text: terms with " + " between them, factors with " " between them, as in
// charlm/nn/cells. The page writes it in letters, puts its numbers in, and draws its arrows from it.

/** The nodes of each cell in the order of computing: [x, y, equation forward, equation backward]. */
const GRAPHS = {
  rnn: {
    h_prev: [62, 262, "", "da Whᵀ"],
    x: [62, 400, "", "da Wxᵀ"],
    a: [434, 262, "x Wx + h_prev Wh + b", "dh (1 − h²)"],
    h: [794, 262, "tanh(a)", ""],
  },
  lstm: {
    h_prev: [62, 280, "", "da_i Wh_iᵀ + da_f Wh_fᵀ + da_o Wh_oᵀ + da_g Wh_gᵀ"],
    c_prev: [62, 40, "", "dc f"],
    x: [62, 452, "", "da_i Wx_iᵀ + da_f Wx_fᵀ + da_o Wx_oᵀ + da_g Wx_gᵀ"],
    a_f: [260, 136, "x Wx_f + h_prev Wh_f + b_f", "df f (1 − f)"],
    f: [434, 136, "σ(a_f)", "dc c_prev"],
    a_i: [260, 224, "x Wx_i + h_prev Wh_i + b_i", "di i (1 − i)"],
    i: [434, 224, "σ(a_i)", "dc g"],
    a_g: [260, 312, "x Wx_g + h_prev Wh_g + b_g", "dg (1 − g²)"],
    g: [434, 312, "tanh(a_g)", "dc i"],
    a_o: [260, 400, "x Wx_o + h_prev Wh_o + b_o", "do o (1 − o)"],
    o: [434, 400, "σ(a_o)", "dh tanh_c"],
    c: [614, 40, "f c_prev + i g", "dtanh_c (1 − tanh_c²) + dc_next"],
    tanh_c: [614, 250, "tanh(c)", "dh o"],
    h: [794, 400, "o tanh_c", ""],
  },
  "gru-after": {
    h_prev: [62, 258, "", "dh z + da_r Wh_rᵀ + da_z Wh_zᵀ + du Wh_nᵀ"],
    x: [62, 452, "", "da_r Wx_rᵀ + da_z Wx_zᵀ + da_n Wx_nᵀ"],
    a_r: [260, 396, "x Wx_r + h_prev Wh_r + b_r", "dr r (1 − r)"],
    r: [434, 396, "σ(a_r)", "da_n u"],
    a_z: [260, 110, "x Wx_z + h_prev Wh_z + b_z", "dz z (1 − z)"],
    z: [434, 110, "σ(a_z)", "dh (h_prev − n)"],
    u: [260, 312, "h_prev Wh_n + bn", "da_n r"],
    a_n: [614, 396, "x Wx_n + b_n + r u", "dn (1 − n²)"],
    n: [614, 312, "tanh(a_n)", "dh (1 − z)"],
    h: [794, 258, "(1 − z) n + z h_prev", ""],
  },
  "gru-before": {
    h_prev: [62, 258, "", "dh z + ds r + da_r Wh_rᵀ + da_z Wh_zᵀ"],
    x: [62, 452, "", "da_r Wx_rᵀ + da_z Wx_zᵀ + da_n Wx_nᵀ"],
    a_r: [260, 396, "x Wx_r + h_prev Wh_r + b_r", "dr r (1 − r)"],
    r: [434, 396, "σ(a_r)", "ds h_prev"],
    a_z: [260, 110, "x Wx_z + h_prev Wh_z + b_z", "dz z (1 − z)"],
    z: [434, 110, "σ(a_z)", "dh (h_prev − n)"],
    s: [434, 312, "r h_prev", "da_n Wh_nᵀ"],
    a_n: [614, 396, "x Wx_n + s Wh_n + b_n", "dn (1 − n²)"],
    n: [614, 312, "tanh(a_n)", "dh (1 − z)"],
    h: [794, 258, "(1 − z) n + z h_prev", ""],
  },
};

/** The equations above h in the last layer; those of p and loss are written out by the page. */
const PREDICTION = { logits: ["h Wy + by", ""], p: ["softmax(logits)", ""], loss: ["− ln p", ""] };

/** Where the nodes of a cell stand on a phone, if it has few enough to fit its width. */
const NARROW = { rnn: { h_prev: [62, 330], x: [62, 430], a: [232, 330], h: [232, 254] } };

/** The width and the height of the picture of a cell. */
const sizeOf = (cell, isNarrow) => (isNarrow && NARROW[cell] ? [352, 460] : [908, 482]);

/** The graph of a layer: its nodes by name, as [x, y, equation forward, equation backward]. */
function graphOf(cell, isLast, scored, isNarrow) {
  const own = Object.entries(GRAPHS[cell]).map(([name, [x, y, ...equations]]) => {
    const place = (isNarrow && NARROW[cell]?.[name]) || [x, y];
    return [name, [...place, ...equations]];
  });
  const all = Object.fromEntries(own);
  const [x, y, equation] = all.h;
  const above = isLast ? (scored ? "dlogits Wyᵀ + dh_next" : "dh_next") : "dh_above + dh_next";
  const nodes = { ...all, h: [x, y, equation, above] };
  if (!isLast) return nodes;
  const names = Object.keys(PREDICTION).filter((name) => scored || name !== "loss");
  names.forEach((name, k) => (nodes[name] = [x, y - 76 * (k + 1), ...PREDICTION[name]]));
  return nodes;
}

/** A formula as { f, terms }: a function or nothing, and the factors of each term. */
function parsed(formula) {
  const [, f, inside] = formula.match(/^(σ|tanh)\((.*)\)$/) ?? [0, "", formula];
  return { f, terms: inside.split(" + ").map((term) => term.match(/\([^)]*\)|\S+/g) ?? []) };
}

const isMatrix = (factor) => /^W/.test(factor);

/** The names in a factor: (h_prev − n) has two. */
const namesIn = (factor) => factor.match(/[a-z]\w*/gi) ?? [];

/** The value of a factor for unit `k`: a name, (1 − z), (1 − n²), or (h_prev − n). */
function factorValue(factor, v, k) {
  const [, left, right, square] = factor.match(/^\((\w+) − (\w+)(²?)\)$/) ?? [];
  if (!left) return v[factor][k];
  return (left === "1" ? 1 : v[left][k]) - v[right][k] ** (square ? 2 : 1);
}

/** Number `k` of the product of a vector with a matrix [I, O], or with its transpose. */
function productAt(vector, W, k, transposed) {
  const O = W.length / vector.length;
  let sum = 0;
  if (transposed) for (let o = 0; o < vector.length; o++) sum += vector[o] * W[k * vector.length + o];
  else for (let i = 0; i < vector.length; i++) if (vector[i]) sum += vector[i] * W[i * O + k];
  return sum;
}

/** The value of a term for unit `k`; `matrices` are by the names that formulas give them. */
function termValue(term, v, matrices, k) {
  const matrix = term.find(isMatrix);
  if (matrix) return productAt(v[term[0]], matrices[matrix.replace("ᵀ", "")], k, matrix.endsWith("ᵀ"));
  return term.reduce((product, factor) => product * factorValue(factor, v, k), 1);
}

/** The factors of a term without one of them. */
const besides = (term, name) => term.filter((factor) => factor !== name).join(" ");

/** The arrows of a graph: what stands at each, and the term that it brings to its gradient. */
function arrowsOf(nodes) {
  const arrows = [];
  for (const [to, [, , forward]] of Object.entries(nodes)) {
    const { f, terms } = parsed(forward === "softmax(logits)" ? "logits" : forward);
    const sources = terms
      .flat()
      .flatMap(namesIn)
      .filter((name) => name in nodes);
    for (const from of new Set(sources)) {
      const { f: ofSource } = parsed(nodes[from][2]);
      const term = terms.find((one) => one.includes(from)) ?? [];
      const factor = ofSource === "σ" ? "×" : besides(term, from);
      const does = f || { p: "softmax", loss: "− ln" }[to] || factor;
      const back = parsed(nodes[from][3]).terms.find((one) => one.includes(`d${to}`));
      const slope = back ? besides(back, `d${to}`) : to === "loss" ? "− 1 / p" : "";
      arrows.push({ from, to, does, back, slope, byMatrix: term.some(isMatrix) && /^x|_prev$/.test(from) });
    }
  }
  return arrows;
}

// the picture

const [WIDE, HIGH] = [110, 46]; // of a node
const LEVELS = 6; // shades of a colour
const FLAT = 70; // below this height an arrow has its words beside it

/** The parts of a formula: names, indices that stand below (Wh_r, h_prev, da_z), and the rest. */
function lettered(text, part) {
  const pieces = text
    .replace("tanh_c²", "tanh² c")
    .replaceAll("tanh_c", "tanh c")
    .replace(/\bbn\b/, "b_u")
    .split(/(?<![\w.])([A-Za-z]\w*)/);
  return pieces.filter(Boolean).flatMap((piece) => {
    if (!/^[A-Za-z]/.test(piece) || /^(tanh|softmax|exp|ln)$/.test(piece)) return [part(piece, "sign")];
    const [name, index] = piece.split("_");
    return index ? [part(name, "name"), part(index, "below")] : [part(name, "name")];
  });
}

/** A text of an SVG, with indices below the line. */
function label(text, attributes) {
  let low = 0;
  const parts = lettered(text, (piece, kind) => {
    const shift = (kind === "below" ? 3 : 0) - low;
    low += shift;
    return kind === "sign" && !shift ? piece : made("tspan", { class: kind, dy: shift }, piece);
  });
  return made("text", attributes, parts);
}

/** A number for a reader: `digits` that count, and a minus as wide as a plus. */
function shown(number, digits = 3) {
  const size = Math.abs(number);
  let text = size >= 0.0995 ? size.toFixed(size < 99.95 ? 3 : 1) : size.toPrecision(3);
  if (size < 0.001) text = size ? size.toExponential(digits - 1).replace("-", "−") : "0";
  return (number < 0 ? "−" : "") + text;
}

/** A number of a difference: with so many decimals that the line comes out where the other is close. */
const asFineAs = (number, other) => {
  const gap = Math.abs(Math.abs(number) - Math.abs(other));
  if (gap >= 0.0995 || gap < 1e-12) return shown(number);
  return (number < 0 ? "−" : "") + Math.abs(number).toFixed(2 - Math.floor(Math.log10(gap)));
};

/** A number where there is little room: two digits that count of a small one. */
const brief = (number) => {
  const size = Math.abs(number);
  if (size < 0.001 || size >= 0.0995) return shown(number, 2);
  return (number < 0 ? "−" : "") + size.toPrecision(2);
};

/**
 * Rectangles as one path for each shade: `values` row after row of `columns`, 1 and −1 the strongest.
 * So a picture of a thousand cells is thirteen elements.
 */
function shades(values, columns, x, y, width, height) {
  const paths = new Array(2 * LEVELS + 1).fill("");
  values.forEach((value, k) => {
    const level = Math.round(LEVELS * between(-1, value || 0, 1));
    const left = (x + (k % columns) * width).toFixed(2);
    const top = y + Math.floor(k / columns) * height;
    paths[LEVELS + level] += `M${left} ${top}h${width}v${height}h${-width}z`;
  });
  return paths.map((d, k) => {
    const strength = Math.abs(k - LEVELS) / LEVELS;
    return made("path", { class: k < LEVELS ? "shade below-zero" : "shade", "--level": strength, d });
  });
}

/** The legend of shades between two numbers: the lower one is 0, or the other with a minus. */
function scale(low, high) {
  const attributes = { class: low ? "scale" : "scale from-zero", "aria-hidden": true };
  return made("span", attributes, shown(low), made("b"), shown(high));
}

/** The four points of an arrow's curve. Arrows that meet at a side are spread over it. */
function curveOf(arrow, nodes, arrows) {
  const [x0, y0] = nodes[arrow.from];
  const [x3, y3] = nodes[arrow.to];
  const aside = ({ from, to }) => Math.abs(nodes[from][0] - nodes[to][0]) >= 40;
  if (!aside(arrow)) {
    const half = (Math.sign(y3 - y0) * HIGH) / 2;
    return [
      [x0, y0 + half],
      [x0, y0 + 1.3 * half],
      [x3, y3 - 1.3 * half],
      [x3, y3 - half],
    ];
  }
  const spread = (own, other) => {
    const steepness = (one) => {
      const [a, b] = [nodes[one[own]], nodes[one[other]]];
      return (b[1] - a[1]) / Math.abs(b[0] - a[0]);
    };
    const same = arrows.filter((one) => one[own] === arrow[own] && aside(one));
    same.sort((one, two) => steepness(one) - steepness(two));
    return (same.indexOf(arrow) - (same.length - 1) / 2) * Math.min(13, 36 / same.length);
  };
  const start = [x0 + WIDE / 2, y0 + spread("from", "to")];
  // over the row of a_r and r, from below
  if (arrow.from === "x" && arrow.to === "a_n") {
    return [start, [x3 - 60, start[1] + 4], [x3, start[1] + 8], [x3, y3 + HIGH / 2]];
  }
  const end = [x3 - WIDE / 2, y3 + spread("to", "from")];
  if (y0 === y3) start[1] = end[1]; // level
  const bend = (end[0] - start[0]) / 2;
  return [start, [start[0] + bend, start[1]], [end[0] - bend, end[1]], end];
}

/** The point of a curve at the share `s` of its way. */
const along = (points, s) =>
  [0, 1].map((axis) => {
    const [a, b, c, d] = points.map((point) => point[axis]);
    return a * (1 - s) ** 3 + 3 * b * s * (1 - s) ** 2 + 3 * c * s * s * (1 - s) + d * s ** 3;
  });

/**
 * An arrow with a tip at its end, and up to two lines of words at the share `at` of its way. The words are an
 * element of their own, to be drawn above all arrows, except where they are seen only with a pointer.
 */
function arrowDrawn(points, kind, words, at = 0.5) {
  const spot = ([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`;
  const [a, b, c, d] = points.map(spot);
  const [near, tip] = [along(points, 0.96), points[3]];
  const angle = (Math.atan2(tip[1] - near[1], tip[0] - near[0]) * 180) / Math.PI;
  const turned = `translate(${spot(tip)}) rotate(${angle.toFixed(1)})`;
  const [x, y] = along(points, at);
  const upright = points[0][0] === tip[0];
  const [from, to] = [points[0], tip].sort((one, other) => one[0] - other[0]);
  const rises = to[1] < from[1];
  const isFlat = to[1] !== from[1] && Math.abs(to[1] - from[1]) < FLAT && !kind.includes("by-matrix");
  const brought = words.filter(Boolean);
  const line = (text, k) => {
    const isTall = upright && Math.abs(tip[1] - points[0][1]) > 2 * HIGH; // room for one line above the other
    const isLeft = upright ? !k && !isTall && brought.length > 1 : rises;
    const side = upright || isFlat ? (isLeft ? "left" : "beside") : "";
    const aside = { left: -7, beside: 7 }[side] ?? 0;
    const below = isTall ? 14 * k - 3 : upright ? 4 : isFlat ? 14 * (k - brought.length) + 6 : k ? 14 : -5;
    const place = { x: x + aside, y: y + below };
    const [one, halo] = [side, `${side} halo`].map((kinds) => label(text, { ...place, class: kinds }));
    if (one.contents.flat().length < 2) return [one];
    one.attributes.class += " several"; // parts, whose own halos would cover each other
    return [halo, one];
  };
  const attributes = { class: `arrow ${kind}`, "aria-hidden": true };
  const lines = kind.startsWith("later") ? [] : brought.flatMap(line);
  const isInside = kind === "done by-matrix";
  const way = made(
    "g",
    attributes,
    made("path", { class: "way", pathLength: 1, d: `M${a}C${b} ${c} ${d}` }),
    made("path", { class: "tip", d: "M0 0L-8 -4V4z", transform: turned }),
    isInside ? lines : [],
  );
  return { way, words: made("g", attributes, isInside ? [] : lines) };
}

const strips = new WeakMap(); // by their numbers

/** The strip of a node: its numbers, which `shade` brings between -1 and 1. It is drawn once. */
function stripOf(numbers, shade) {
  const width = Number(((WIDE - 10) / numbers.length).toFixed(3));
  if (!strips.has(numbers))
    strips.set(numbers, shades(Array.from(numbers, shade), numbers.length, 5 - WIDE / 2, 6, width, 10));
  return strips.get(numbers);
}

/** A node: its name, its number, and a `strip` of all its numbers, `count`, with one marked. */
function nodeDrawn(name, [x, y], { title, number, strip, count, mark, state, sum }) {
  const left = 5 - WIDE / 2;
  const width = (WIDE - 10) / count;
  const attributes = {
    class: `node ${state}`,
    transform: `translate(${x} ${y})`,
    role: "button",
    tabindex: state === "now" ? 0 : -1,
    "data-node": name,
    "aria-label": title,
    "aria-pressed": state === "now",
  };
  const marked = { class: "mark", x: left + mark * width, y: 5, width: Math.max(width, 2), height: 12 };
  const [right, top] = [WIDE / 2 - 2, 1 - HIGH / 2]; // the corner, where no arrow ends
  const plus = () => [
    made("circle", { class: "sum", cx: right, cy: top, r: 7 }),
    made("text", { class: "plus", x: right, y: top + 4.5 }, "+"),
  ];
  return made(
    "g",
    attributes,
    made("rect", { class: "box", x: -WIDE / 2, y: -HIGH / 2, width: WIDE, height: HIGH, rx: 7 }),
    label(title.split(",")[0], { x: left, y: -3, class: "title" }),
    made("text", { x: -left, y: -3, class: "number" }, number),
    state !== "later" && count > 1 ? [strip, made("rect", marked)] : [],
    sum ? plus() : [],
  );
}

/**
 * The contents of the picture of a graph. `node(name)` is what is drawn of a node; its `state` is now, done or
 * later, as is that of the arrows to it. `words(arrow)` are the lines at an arrow, and `exits` the arrows to
 * elsewhere.
 */
function graphDrawn(nodes, arrows, { backward, node, words, exits }) {
  const views = Object.fromEntries(Object.keys(nodes).map((name) => [name, node(name)]));
  const meeting = (end, arrow) => arrows.filter((one) => one[end] === arrow[end]).length;
  const ways = arrows.map((arrow) => {
    // the words of steep arrows that meet stand where these are further apart
    const isSteep = Math.abs(nodes[arrow.from][1] - nodes[arrow.to][1]) >= FLAT;
    const more = isSteep ? meeting("from", arrow) - meeting("to", arrow) : 0;
    const isCrowded = backward && arrow.byMatrix && meeting("from", arrow) > 2;
    const at = isCrowded ? 0.8 : Math.abs(more) < 2 ? 0.5 : more > 0 ? 0.62 : 0.38;
    const { state } = views[backward ? arrow.from : arrow.to];
    const kind = arrow.byMatrix ? `${state} by-matrix` : state;
    return [curveOf(arrow, nodes, arrows), kind, words(arrow), backward ? 1 - at : at];
  });
  for (const { from, to, state, words: lines } of exits) ways.push([[from, from, to, to], state, lines]);
  const drawn = ways.map(([points, ...how]) => arrowDrawn(backward ? points.toReversed() : points, ...how));
  return [
    drawn.map(({ way }) => way),
    drawn.map((one) => one.words),
    Object.entries(nodes).map(([name, place]) => nodeDrawn(name, place, views[name])),
  ];
}
