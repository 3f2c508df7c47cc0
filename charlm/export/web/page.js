// The page: the model that it holds, its form, and a text that appears as it is drawn.

const LINES = 10; // lines that a model of lines writes, unless it takes the likeliest every time

const SLICE = 25; // milliseconds of work before the browser has its turn

const element = (id) => document.getElementById(id);

const described = JSON.parse(element("description").textContent);

/** The number that 16 bits stand for: a sign, 5 bits of exponent, 10 of the fraction (IEEE 754). */
function half(bits) {
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  const size = exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24;
  return bits >> 15 ? -size : size;
}

/** The arrays that are written into the page, by name. */
function unpacked({ type, shapes }) {
  const packed = atob(element("parameters").textContent);
  const bytes = new Uint8Array(packed.length);
  for (let k = 0; k < bytes.length; k++) bytes[k] = packed.charCodeAt(k);
  const halves = new Uint16Array(bytes.buffer);
  const all =
    type === "float16" ? vector(halves, (k) => half(halves[k])) : new Float32Array(bytes.buffer);
  const arrays = {};
  let start = 0;
  for (const [name, shape] of Object.entries(shapes)) {
    const size = shape.reduce((product, axis) => product * axis, 1);
    arrays[name] = all.subarray(start, start + size);
    start += size;
  }
  return arrays;
}

let model = null;

/** The model, unpacked when it is first needed, so that the form is there before. */
function loaded() {
  if (model === null) {
    const { vocabulary, corpus, cell, gates, states, parameters } = described;
    const { hidden } = described.model;
    model = {
      vocabulary: new Vocabulary(vocabulary, corpus),
      network: new Network(cell, gates, states, hidden, unpacked(parameters)),
    };
  }
  return model;
}

let primeGiven = ""; // the prime of the fragment: a field turns every line break into \n

/** The prime that is in the form. */
function primeShown() {
  const { value } = element("prime");
  return primeGiven.replace(/\r\n?/g, "\n") === value ? primeGiven : value;
}

/** Whether the numbers are within their ranges; the first that is not is pointed out. */
function valid() {
  for (const id of ["temperature", "top_p"]) {
    const field = element(id);
    field.setCustomValidity(field.valueAsNumber === 0 ? "A number above 0" : "");
  }
  // the steps are those of the arrows, and numbers between them are valid
  const between = (of) => of.stepMismatch && !(of.rangeUnderflow || of.rangeOverflow || of.customError);
  const wrong = [...element("form").elements].find(
    ({ willValidate, validity }) => willValidate && !validity.valid && !between(validity),
  );
  wrong?.reportValidity();
  return !wrong;
}

/** What the form asks for. */
function asked() {
  const greedy = element("greedy").checked;
  return {
    prime: primeShown(),
    greedy,
    temperature: element("temperature").valueAsNumber,
    topP: element("top_p").valueAsNumber,
    length: Number(element("length").value),
    seed: BigInt(element("seed").value || crypto.getRandomValues(new Uint32Array(1))[0]),
    lines: loaded().vocabulary.ofLines && !greedy ? LINES : 1,
  };
}

/** What is to be said of a prime, and whether the model cannot read it. */
function objection(prime) {
  const { vocabulary } = loaded();
  if (vocabulary.ofLines && /[\r\n]/.test(prime)) {
    return ["This model writes single lines: there can be no line break.", true];
  }
  const lacking = vocabulary.lacking(prime);
  if (!lacking.length) return ["", false];
  const words = `The model does not know ${listed(lacking)}`;
  return vocabulary.unknown === null ? [`${words}.`, true] : [`${words}, and reads <unk> there.`, false];
}

/** Add a text at the end of the output; what belongs to the prime looks different. */
function append(text, ofPrime) {
  if (!text) return;
  const kind = ofPrime ? "b" : "span";
  const last = element("output").lastElementChild;
  if (last?.localName === kind) {
    last.firstChild.appendData(text);
    return;
  }
  const piece = document.createElement(kind);
  piece.append(text);
  element("output").append(piece);
}

let run = null; // the text that is being written, if one is; another ends it

let seedShown = ""; // the seed of the text that is shown, if it was drawn

/** Write what the form asks for in place of what is there. */
async function write() {
  end("Stopped");
  if (!valid()) return;
  const { prime, seed, lines, ...settings } = asked();
  const [words, refused] = objection(prime);
  element("message").textContent = words;
  element("prime").setAttribute("aria-invalid", refused);
  if (refused) {
    element("prime").focus();
    return;
  }
  const own = { begun: performance.now(), lines, drawn: 0 };
  run = own;
  seedShown = settings.greedy ? "" : String(seed);
  element("status").textContent = "Writing…";
  element("stop").disabled = false;
  element("output").setAttribute("aria-busy", true);
  element("output").replaceChildren();
  let due = 0;
  for (let line = 0; line < lines; line++) {
    if (line) append("\n", false);
    for (const { text, ofPrime, drawn } of continued(loaded(), prime, settings, new Random(seed, line))) {
      append(text, ofPrime);
      own.drawn += drawn;
      if (performance.now() < due) continue;
      await new Promise((resolve) => setTimeout(resolve));
      if (run !== own) return;
      due = performance.now() + SLICE;
    }
  }
  end("Written");
}

/** The text that is being written ends here; `how` is how. */
function end(how) {
  if (run === null) return;
  const seconds = ((performance.now() - run.begun) / 1000).toFixed(1);
  const [count, thing] = run.lines > 1 ? [run.lines, "line"] : [run.drawn, described.unit];
  const many = `${count.toLocaleString("en")} ${thing}${count === 1 ? "" : "s"}`;
  element("status").textContent = `${how}: ${many} in ${seconds} s${seedShown && `, seed ${seedShown}`}`;
  run = null;
  element("output").setAttribute("aria-busy", false);
  // a button that is switched off would lose the focus
  if (document.activeElement === element("stop")) element("generate").focus();
  element("stop").disabled = true;
}

/** Temperature, top-p and seed matter only where a unit is drawn. */
function showGreedy() {
  for (const id of ["temperature", "top_p", "seed"]) element(id).disabled = element("greedy").checked;
}

/** The settings as a fragment: prime=The%20&length=200&greedy=1. */
function fragment() {
  const { prime, length, greedy } = asked();
  const given = new URLSearchParams({ prime, length });
  if (greedy) {
    given.set("greedy", "1");
  } else {
    for (const name of ["temperature", "top_p"]) given.set(name, element(name).value);
    given.set("seed", element("seed").value || seedShown);
  }
  return String(given).replaceAll("+", "%20");
}

/** Fill the form with what the fragment of the address says, and begin; without one do nothing. */
function begin() {
  const given = new URLSearchParams(location.hash.slice(1));
  const names = ["prime", "temperature", "top_p", "seed", "length"].filter((name) => given.has(name));
  if (!names.length && !given.has("greedy")) return;
  element("form").reset();
  for (const name of names) element(name).value = given.get(name);
  primeGiven = given.get("prime") ?? "";
  element("greedy").checked = ![null, "", "0", "false"].includes(given.get("greedy"));
  showGreedy();
  write();
}

/** Put a link with the settings on the clipboard, and into the address bar. */
async function copyLink() {
  if (!valid()) return;
  history.replaceState(null, "", `#${fragment()}`);
  try {
    await navigator.clipboard.writeText(location.href);
    element("status").textContent = "The link is copied, with these settings.";
  } catch {
    element("status").textContent = "The link with these settings is in the address bar.";
  }
}

element("form").addEventListener("submit", (event) => {
  event.preventDefault();
  write();
});
element("stop").addEventListener("click", () => end("Stopped"));
element("copy").addEventListener("click", copyLink);
element("greedy").addEventListener("change", showGreedy);
element("prime").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) element("form").requestSubmit();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") end("Stopped");
});
addEventListener("hashchange", begin);
begin();

// For the console: charlm.score("some text") gives nats per unit, as `charlm eval perplexity` does.
globalThis.charlm = {
  get model() {
    return loaded();
  },
  score: (text) => score(loaded(), text),
};
