// The report: texts that are shaded, what is told of a character, and the choice of a hidden unit.

const element = (id) => document.getElementById(id);

const { text, losses, neurons, names, most } = JSON.parse(element("data").textContent);

/** The numbers that are written into the page as bytes. */
function unpacked(packed, Numbers) {
  const bytes = Uint8Array.from(atob(packed), (character) => character.charCodeAt(0));
  return new Numbers(bytes.buffer);
}

/** An element with a text, or with other elements, in it. */
function made(kind, contents, attributes = {}) {
  const one = document.createElement(kind);
  for (const [name, value] of Object.entries(attributes)) one.setAttribute(name, value);
  one.append(...[contents].flat());
  return one;
}

/** A sign where a blank could not be seen. */
const visible = (sign) => (sign.trim() ? sign : "␣");

const count = text.signs.length;

/** A text in a box, of which one character is pointed at, by the mouse, a finger or the arrow keys. */
class TextBox {
  /** `tell(k)` shows what there is to know of character k, and returns it in words. */
  constructor(box, status, tell) {
    Object.assign(this, { box, status, tell, here: 0 });
    const ends = new Set(text.breaks);
    this.spans = text.signs.map((sign, k) => made("span", ends.has(k) ? `${sign}\n` : sign));
    this.numbers = new Map(this.spans.map((span, k) => [span, k]));
    box.append(...this.spans);
    let last = ""; // where the mouse was: a text that the keys move below it is not pointed at
    for (const kind of ["pointermove", "click"]) {
      box.addEventListener(kind, ({ target, clientX, clientY }) => {
        const place = `${clientX} ${clientY}`;
        if (kind === "click" || place !== last) {
          if (this.numbers.has(target)) this.show(this.numbers.get(target));
        }
        last = place;
      });
    }
    box.addEventListener("keydown", (event) => this.key(event));
    box.addEventListener("focus", () => this.speak());
  }

  /** Point at character k. */
  show(k) {
    this.spans[this.here].classList.remove("here");
    this.here = k;
    this.spans[k].classList.add("here");
    this.words = this.tell(k);
  }

  /** Point at character k and make sure that it is seen, and heard. */
  go(k) {
    this.show(Math.max(0, Math.min(count - 1, k)));
    const { box } = this;
    const span = this.spans[this.here];
    const [top, bottom] = [span.offsetTop - 12, span.offsetTop + span.offsetHeight + 12];
    if (top < box.scrollTop) box.scrollTop = top;
    else if (bottom > box.scrollTop + box.clientHeight) box.scrollTop = bottom - box.clientHeight;
    this.speak();
  }

  speak() {
    this.status.textContent = this.words;
  }

  key(event) {
    const to = {
      ArrowLeft: () => this.here - 1,
      ArrowRight: () => this.here + 1,
      ArrowUp: () => this.beside(-1),
      ArrowDown: () => this.beside(1),
      Home: () => 0,
      End: () => count - 1,
    }[event.key];
    if (!to || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    this.go(to());
  }

  /** The character above or below. */
  beside(step) {
    const { spans } = this;
    const { offsetTop: own, offsetLeft: left } = spans[this.here];
    let k = this.here;
    while (spans[k] && spans[k].offsetTop === own) k += step;
    if (!spans[k]) return this.here;
    let best = k;
    for (const { offsetTop: other } = spans[k]; spans[k]?.offsetTop === other; k += step) {
      if (Math.abs(spans[k].offsetLeft - left) < Math.abs(spans[best].offsetLeft - left)) best = k;
    }
    return best;
  }

  /** Shade every character; `shade(k)` is how much, from -1 to 1, or NaN beyond what is known. */
  paint(shade) {
    this.spans.forEach((span, k) => {
      const share = shade(k);
      span.style.setProperty("--share", (0.6 * Math.abs(share || 0)).toFixed(3));
      span.classList.toggle("minus", share < 0);
      span.classList.toggle("beyond", Number.isNaN(share));
    });
  }
}

// losses

const bits = unpacked(losses.bits, Float32Array);
const ranks = unpacked(losses.ranks, Uint32Array);
const likeliest = unpacked(losses.likeliest, Uint32Array);
const probabilities = unpacked(losses.probabilities, Float32Array);

/** The bits of a character: those of its units together; below 0 if one of them is not predicted. */
function surprise(k) {
  let sum = 0;
  for (let unit = text.starts[k]; unit < text.starts[k + 1]; unit++) {
    if (bits[unit] < 0) return -1;
    sum += bits[unit];
  }
  return sum;
}

/** Bits with two decimals, or with two digits if those would show less. */
const shown = (b) => (b === 0 || b >= 0.1 ? b.toFixed(2) : String(Number(b.toPrecision(2))));

/** A probability for a reader. */
function percent(p) {
  if (p >= 0.995) return p < 0.9995 ? `${(100 * p).toFixed(1)} %` : p < 1 ? "> 99.9 %" : "100 %";
  return p >= 0.0995 ? `${Math.round(100 * p)} %` : p >= 0.0005 ? `${(100 * p).toFixed(1)} %` : "< 0.1 %";
}

/** A bar as long as a probability. */
function shareBar(p) {
  const bar = made("i", "", { "aria-hidden": true });
  bar.style.setProperty("--share", p.toFixed(3));
  return bar;
}

/** What was expected in the place of a unit: a table with the true one in it. */
function expectedTable(unit) {
  const own = text.ids[unit];
  const rows = [];
  for (let rank = 0; rank < losses.expected; rank++) {
    const at = unit * losses.expected + rank;
    rows.push([likeliest[at], probabilities[at], rank + 1]);
  }
  if (!rows.some(([id]) => id === own)) rows.push([own, 2 ** -bits[unit], ranks[unit]]);
  return made(
    "table",
    rows.map(([id, p, rank]) =>
      made(
        "tr",
        [
          made("td", visible(names[id]), { lang: "" }),
          made("td", `${rank}.`),
          made("td", shareBar(p)),
          made("td", percent(p)),
        ],
        id === own ? { class: "true" } : {},
      ),
    ),
  );
}

/** Show what was expected in the place of character k. */
function tellLoss(k) {
  const sign = visible(text.signs[k]);
  const parts = [];
  for (let unit = text.starts[k]; unit < text.starts[k + 1]; unit++) {
    if (bits[unit] < 0) {
      parts.push(made("p", `${visible(names[text.ids[unit]])}: not predicted, it is the first.`));
      continue;
    }
    const words = `${visible(names[text.ids[unit]])}: ${shown(bits[unit])} bits, rank ${ranks[unit]}`;
    parts.push(made("p", words), expectedTable(unit));
  }
  const total = surprise(k);
  if (text.starts[k + 1] - text.starts[k] > 1 && total >= 0) {
    parts.unshift(made("p", made("b", `${sign}: ${shown(total)} bits`)));
  }
  element("expected").replaceChildren(...parts);
  element("expected").scrollTop = 0;
  return parts
    .map((part) =>
      part.localName === "table"
        ? `expected: ${[...part.rows].map((row) => `${row.cells[0].textContent} ${row.cells[3].textContent}`).join(", ")}`
        : part.textContent,
    )
    .join(". ");
}

const lossBox = new TextBox(element("losses-text"), element("losses-told"), tellLoss);
lossBox.paint((k) => Math.min(1, Math.max(0, surprise(k)) / most));
lossBox.show(Math.min(1, count - 1));

for (let step = 0; step <= most; step += most / 4) {
  const one = made("b", step < most ? step : `${step}+`);
  one.style.setProperty("--share", ((0.6 * step) / most).toFixed(3));
  element("losses-scale").append(one);
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

let chosen = 0; // the unit that is shown, of all layers and states

/** What unit `u` is called. */
function called(u) {
  const { layer, state } = neurons.groups[Math.floor(u / neurons.hidden)];
  return `layer ${layer}, ${state} ${u % neurons.hidden}`;
}

/** A correlation for a reader, with its sign. */
const signed = (r) => `${r < 0 ? "−" : "+"}${Math.abs(r / 1000).toFixed(2)}`;

/** Show what the chosen unit holds at character k. */
function tellValue(k) {
  const sign = visible(text.signs[k]);
  const known = k < neurons.length;
  const value = (values[chosen * neurons.length + k] / 127) * neurons.scales[chosen];
  const words = known ? `${sign}: ${value.toFixed(2).replace("-", "−")}` : `${sign}: beyond what is in this page`;
  element("held").textContent = words;
  return words;
}

const valueBox = new TextBox(element("neurons-text"), element("neurons-told"), tellValue);

const ranking = () => neurons.properties[element("property").value]?.best ?? [];

/** Colour the text by unit `u`. */
function choose(u) {
  chosen = u;
  valueBox.paint((k) => (k < neurons.length ? values[u * neurons.length + k] / 127 : NaN));
  valueBox.show(valueBox.here);
  element("chosen").textContent = called(u);
  element("group").value = Math.floor(u / neurons.hidden);
  element("unit").value = u % neurons.hidden;
  element("follows").replaceChildren(
    ...neurons.properties.map(({ name, r }) => made("div", [made("dt", name), made("dd", signed(r[u]))])),
  );
  const list = element("ranking");
  list.removeAttribute("aria-activedescendant");
  [...list.children].forEach((item, place) => {
    const selected = ranking()[place] === u;
    item.setAttribute("aria-selected", selected);
    if (!selected) return;
    list.setAttribute("aria-activedescendant", item.id);
    const [top, bottom] = [item.offsetTop - list.offsetTop, item.offsetTop - list.offsetTop + item.offsetHeight];
    if (top < list.scrollTop) list.scrollTop = top;
    else if (bottom > list.scrollTop + list.clientHeight) list.scrollTop = bottom - list.clientHeight;
  });
}

/** List the units by the property that is chosen, and choose the first. */
function rank() {
  const property = neurons.properties[element("property").value];
  element("ranking").replaceChildren(
    ...ranking().map((u, place) =>
      made("li", [made("span", called(u)), made("span", signed(property.r[u]))], {
        role: "option",
        id: `rank-${place}`,
      }),
    ),
  );
  choose(ranking()[0] ?? 0);
}

neurons.properties.forEach(({ name }, k) => element("property").append(made("option", name, { value: k })));
neurons.groups.forEach(({ layer, state }, k) =>
  element("group").append(made("option", `layer ${layer}, ${state}`, { value: k })),
);
element("unit").max = neurons.hidden - 1;
element("property").addEventListener("change", rank);
for (const id of ["group", "unit"]) {
  element(id).addEventListener("change", () => {
    const unit = Math.round(element("unit").valueAsNumber) || 0;
    choose(Number(element("group").value) * neurons.hidden + Math.max(0, Math.min(neurons.hidden - 1, unit)));
  });
}
element("ranking").addEventListener("click", ({ target }) => {
  const place = [...element("ranking").children].indexOf(target.closest("li"));
  if (place >= 0) choose(ranking()[place]);
});
element("ranking").addEventListener("keydown", (event) => {
  const place = ranking().indexOf(chosen);
  const last = ranking().length - 1;
  const to = { ArrowUp: place - 1, ArrowDown: place + 1, Home: 0, End: last }[event.key];
  if (to !== undefined && last >= 0) choose(ranking()[Math.max(0, Math.min(last, to))]);
  // to the left and to the right are the units of the same layer and state
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (step) choose(Math.max(0, Math.min(neurons.groups.length * neurons.hidden - 1, chosen + step)));
  if (to !== undefined || step) event.preventDefault();
});
rank();
