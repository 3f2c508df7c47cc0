// The report: texts that are shaded, what is known of a character, and the choice of a hidden unit.

const { text, losses, neurons, names, most } = data;

const count = text.signs.length;

/** An element with a text, or with other elements, in it. */
function made(kind, contents, attributes = {}) {
  const one = document.createElement(kind);
  for (const [name, value] of Object.entries(attributes)) one.setAttribute(name, value);
  one.append(...[contents].flat());
  return one;
}

/** Give an element a share from 0 to 1, which the style sheet shows as a shade or as a length. */
function share(one, size) {
  one.style.setProperty("--share", size.toFixed(3));
  return one;
}

/** A sign where a blank could not be seen. */
const visible = (sign) => (sign.trim() ? sign : "␣");

const between = (low, k, high) => Math.max(low, Math.min(high, k));

/** Scroll a box so that an element in it is seen. */
function reveal(box, one) {
  const [top, bottom] = [one.offsetTop - 12, one.offsetTop + one.offsetHeight + 12];
  if (top < box.scrollTop) box.scrollTop = top;
  else if (bottom > box.scrollTop + box.clientHeight) box.scrollTop = bottom - box.clientHeight;
}

/** The keys of a box: `moves` gives for each the place to go to. */
function onKeys(box, moves, go) {
  box.addEventListener("keydown", (event) => {
    const move = moves[event.key];
    if (!move || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    go(move());
  });
}

/** A text in a box, of which one character is pointed at, by the mouse, a finger or the arrow keys. */
class TextBox {
  /** `tell(k)` shows what is known of character k. */
  constructor(box, tell) {
    Object.assign(this, { box, tell, here: 0 });
    const ends = new Set(text.breaks);
    this.spans = text.signs.map((sign, k) => made("span", ends.has(k) ? `${sign}\n` : sign));
    this.numbers = new Map(this.spans.map((span, k) => [span, k]));
    box.append(...this.spans);
    let last = ""; // where the mouse was: a text that the keys move below it is not pointed at
    for (const kind of ["pointermove", "click"]) {
      box.addEventListener(kind, ({ target, clientX, clientY }) => {
        const place = `${clientX} ${clientY}`;
        const moved = kind === "click" || place !== last;
        if (moved && this.numbers.has(target)) this.show(this.numbers.get(target));
        last = place;
      });
    }
    const moves = {
      ArrowLeft: () => this.here - 1,
      ArrowRight: () => this.here + 1,
      ArrowUp: () => this.beside(-1),
      ArrowDown: () => this.beside(1),
      Home: () => 0,
      End: () => count - 1,
    };
    onKeys(box, moves, (k) => this.go(k));
  }

  /** Point at character k. */
  show(k) {
    this.spans[this.here].classList.remove("here");
    this.here = k;
    this.spans[k].classList.add("here");
    this.tell(k);
  }

  /** Point at character k and make sure that it is seen. */
  go(k) {
    this.show(between(0, k, count - 1));
    reveal(this.box, this.spans[this.here]);
  }

  /** The character above or below. */
  beside(step) {
    const { spans } = this;
    const { offsetTop: own, offsetLeft: left } = spans[this.here];
    let k = this.here;
    while (spans[k]?.offsetTop === own) k += step;
    const distance = (n) => Math.abs(spans[n].offsetLeft - left);
    let best = spans[k] ? k : this.here;
    for (const row = spans[k]?.offsetTop; spans[k] && spans[k].offsetTop === row; k += step) {
      if (distance(k) < distance(best)) best = k;
    }
    return best;
  }

  /** Shade every character; `shade(k)` is how much, from -1 to 1, or NaN beyond what is known. */
  paint(shade) {
    this.spans.forEach((span, k) => {
      const size = shade(k);
      share(span, 0.6 * Math.abs(size || 0));
      span.classList.toggle("minus", size < 0);
      span.classList.toggle("beyond", Number.isNaN(size));
    });
  }
}

// losses

const bits = unpacked(losses.bits, Float32Array);
const ranks = unpacked(losses.ranks, Uint32Array);
const likeliest = unpacked(losses.likeliest, Uint32Array);
const probabilities = unpacked(losses.probabilities, Float32Array);

/** The units that a character is made of. */
const unitsOf = (k) => Array.from({ length: text.starts[k + 1] - text.starts[k] }, (_, n) => text.starts[k] + n);

/** The bits of a character: the sum over its units; NaN if one of them is not predicted. */
const surprise = (k) => unitsOf(k).reduce((sum, unit) => sum + (bits[unit] < 0 ? NaN : bits[unit]), 0);

/** Bits with two decimals, or with two digits if those would show less. */
const shown = (b) => (b === 0 || b >= 0.1 ? b.toFixed(2) : String(Number(b.toPrecision(2))));

/** A probability for a reader. */
function percent(p) {
  if (p < 0.0005) return "< 0.1 %";
  if (p >= 0.9995) return p < 1 ? "> 99.9 %" : "100 %";
  return `${(100 * p).toFixed(p >= 0.0995 && p < 0.995 ? 0 : 1)} %`;
}

/** What was expected in the place of a unit: a table with the true one in it. */
function expectedTable(unit) {
  const own = text.ids[unit];
  const rows = Array.from({ length: losses.expected }, (_, rank) => {
    const at = unit * losses.expected + rank;
    return [likeliest[at], probabilities[at], rank + 1];
  });
  if (!rows.some(([id]) => id === own)) rows.push([own, 2 ** -bits[unit], ranks[unit]]);
  const row = ([id, p, rank]) =>
    made(
      "tr",
      [
        made("td", visible(names[id]), { lang: "" }),
        made("td", `${rank}.`, { class: "quiet" }),
        made("td", share(made("i", "", { "aria-hidden": true }), p)),
        made("td", percent(p)),
      ],
      id === own ? { class: "true" } : {},
    );
  return made("table", rows.map(row));
}

/** Show what was expected in the place of character k. */
function tellLoss(k) {
  const parts = unitsOf(k).flatMap((unit) => {
    const name = visible(names[text.ids[unit]]);
    if (bits[unit] < 0) return [made("p", `${name}: not predicted, it is the first.`)];
    return [made("p", `${name}: ${shown(bits[unit])} bits, rank ${ranks[unit]}`), expectedTable(unit)];
  });
  const total = surprise(k);
  if (unitsOf(k).length > 1 && total >= 0) {
    parts.unshift(made("p", made("b", `${visible(text.signs[k])}: ${shown(total)} bits`)));
  }
  element("expected").replaceChildren(...parts);
  element("expected").scrollTop = 0;
}

const lossBox = new TextBox(element("losses-text"), tellLoss);
lossBox.paint((k) => between(0, (surprise(k) || 0) / most, 1));
lossBox.show(Math.min(1, count - 1));

for (let step = 0; step <= most; step += most / 4) {
  const label = step < most ? step : `${step}+`;
  element("losses-scale").append(share(made("span", label, { class: "shade" }), (0.6 * step) / most));
}

element("hardest").addEventListener("click", ({ target }) => {
  const button = target.closest("button");
  if (!button) return;
  lossBox.box.focus({ preventScroll: true });
  lossBox.box.scrollIntoView({ block: "nearest" });
  lossBox.go(Number(button.dataset.place));
});

// neurons

const values = unpacked(neurons.values, Int8Array);
const units = neurons.groups.length * neurons.hidden;

let chosen = 0; // the unit that is shown, of all layers and states

const groupNames = neurons.groups.map(({ layer, state }) => `layer ${layer}, ${state}`);

/** What unit `u` is called. */
const called = (u) => `${groupNames[Math.floor(u / neurons.hidden)]} ${u % neurons.hidden}`;

/** A number for a reader, with a minus sign that is as wide as a plus. */
const signed = (r) => `${r < 0 ? "−" : "+"}${Math.abs(r).toFixed(2)}`;

/** A name with a number at the end of the line. */
const entry = (name, number, attributes = {}) =>
  made("li", [made("span", name), made("span", number)], { class: "entry", ...attributes });

/** Show what the chosen unit holds at character k. */
function tellValue(k) {
  const value = (values[chosen * neurons.length + k] / 127) * neurons.scales[chosen];
  const words = k < neurons.length ? signed(value) : "beyond what is in this page";
  element("held").textContent = `at ${visible(text.signs[k])}: ${words}`;
}

const valueBox = new TextBox(element("neurons-text"), tellValue);

const property = () => neurons.properties[element("property").value];

const ranking = () => property()?.best ?? [];

/** Colour the text by unit `u`. */
function choose(u) {
  chosen = between(0, u, units - 1);
  valueBox.paint((k) => (k < neurons.length ? values[chosen * neurons.length + k] / 127 : NaN));
  valueBox.show(valueBox.here);
  element("chosen").textContent = called(chosen);
  element("group").value = Math.floor(chosen / neurons.hidden);
  element("unit").value = chosen % neurons.hidden;
  element("follows").replaceChildren(
    ...neurons.properties.map(({ name, r }) => entry(name, signed(r[chosen] / 1000))),
  );
  const list = element("ranking");
  list.removeAttribute("aria-activedescendant");
  [...list.children].forEach((item, place) => {
    item.setAttribute("aria-selected", ranking()[place] === chosen);
    if (ranking()[place] !== chosen) return;
    list.setAttribute("aria-activedescendant", item.id);
    reveal(list, item);
  });
}

/** List the units by the property that is chosen, and choose the first. */
function rank() {
  const items = ranking().map((u, place) =>
    entry(called(u), signed(property().r[u] / 1000), { role: "option", id: `rank-${place}` }),
  );
  element("ranking").replaceChildren(...items);
  choose(ranking()[0] ?? 0);
}

neurons.properties.forEach(({ name }, k) => element("property").append(made("option", name, { value: k })));
groupNames.forEach((name, k) => element("group").append(made("option", name, { value: k })));
element("unit").max = neurons.hidden - 1;
element("property").addEventListener("change", rank);
for (const id of ["group", "unit"]) {
  element(id).addEventListener("change", () => {
    const unit = between(0, Math.round(element("unit").valueAsNumber) || 0, neurons.hidden - 1);
    choose(Number(element("group").value) * neurons.hidden + unit);
  });
}
element("ranking").addEventListener("click", ({ target }) => {
  const place = [...element("ranking").children].indexOf(target.closest("li"));
  if (place >= 0) choose(ranking()[place]);
});
const listed = (step) => ranking()[between(0, ranking().indexOf(chosen) + step, ranking().length - 1)] ?? chosen;
onKeys(
  element("ranking"),
  {
    ArrowUp: () => listed(-1),
    ArrowDown: () => listed(1),
    Home: () => listed(-Infinity),
    End: () => listed(Infinity),
    // to the left and to the right are the units of the same layer and state
    ArrowLeft: () => chosen - 1,
    ArrowRight: () => chosen + 1,
  },
  choose,
);
rank();
