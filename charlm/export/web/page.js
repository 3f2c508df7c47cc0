// The page: the model that it holds, its form, and a text that appears as it is drawn.

const SLICE = 25; // milliseconds of work before the browser has its turn

const MOST_BITS = 8; // of the darkest shade, as in charlm/web/text.py

/** The number that 16 bits stand for: a sign, 5 bits of exponent, 10 of the fraction (IEEE 754). */
function half(bits) {
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  const size = exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24;
  return bits >> 15 ? -size : size;
}

/** The arrays of the model by name. */
function arrays({ type, shapes, packed }) {
  const isHalf = type === "float16";
  const all = isHalf ? Float32Array.from(unpacked(packed, Uint16Array), half) : unpacked(packed, Float32Array);
  let start = 0;
  const next = (size) => all.subarray(start, (start += size));
  const sizes = Object.entries(shapes).map(([name, shape]) => [name, shape.reduce((n, axis) => n * axis, 1)]);
  return Object.fromEntries(sizes.map(([name, size]) => [name, next(size)]));
}

let model = null;

/** The model, unpacked when it is first needed, so that the form is there before. */
function loaded() {
  const { vocabulary, corpus, cell, parameters } = data;
  model ??= {
    vocabulary: new Vocabulary(vocabulary, corpus),
    network: new Network(cell, data.model.hidden, arrays(parameters)),
  };
  return model;
}

let primeGiven = ""; // the prime of the fragment: a field turns every line break into \n

/** The prime that is in the form. */
function primeShown() {
  const { value } = element("prime");
  return primeGiven.replace(/\r\n?/g, "\n") === value ? primeGiven : value;
}

/** For each field of numbers what it takes, and whether a value is that. */
const FIELDS = {
  temperature: [
    `a number above 0; what 0 would be is “Always take the likeliest ${data.unit}”`,
    (value) => value > 0,
  ],
  top_p: ["a number above 0, at most 1", (value) => value > 0 && value <= 1],
  length: ["a whole number, at most 9,999,999", (value) => /^[0-9]{1,7}$/.test(value)],
  num: ["a whole number from 1 to 99,999", (value) => /^[1-9][0-9]{0,4}$/.test(value)],
  seed: ["a whole number of at most 40 digits, or nothing for any", (value) => /^[0-9]{0,40}$/.test(value)],
};

/** Say what is wrong with a field, or that nothing is; a field that is wrong is marked. */
function complain(field, words) {
  if (field.id in FIELDS) field.setCustomValidity(words);
  field.setAttribute("aria-invalid", Boolean(words));
  element("message").textContent = words;
  if (words) field.focus();
}

/** Whether the form can be read; if not, the first field that is wrong is pointed out. */
function valid() {
  for (const [id, [takes, isRight]] of Object.entries(FIELDS)) {
    const field = element(id);
    const isWrong = !field.disabled && !isRight(field.value);
    complain(field, isWrong ? `${field.labels[0].textContent.trim()}: ${takes}.` : "");
    if (isWrong) return false;
  }
  return true;
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
    lines: greedy ? 1 : Number(element("num").value),
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
  const kind = ofPrime ? "b" : "span";
  let piece = element("output").lastElementChild;
  if (text && piece?.localName !== kind) {
    piece = element("output").appendChild(document.createElement(kind));
    piece.append("");
  }
  if (text) piece.firstChild.appendData(text);
}

let shown = null; // the text that is shown, and how it goes on

let run = null; // while a text is being written, what tells that from another time

/** Lines below each other in pieces as `continued` gives them: as many as asked for, then as many again. */
function* listOf({ prime, seed, lines, ...settings }) {
  for (let line = 0; ; line++) {
    if (line) yield { text: "\n", ofPrime: false, drawn: 0 };
    yield* continued(loaded(), prime, settings, new Random(seed, line));
    yield { text: "", ofPrime: false, drawn: 0, ends: (line + 1) % lines === 0 };
  }
}

/** Write what the form asks for in place of what is there. */
function write() {
  end("Stopped");
  shown = null;
  element("output").replaceChildren();
  element("status").textContent = "";
  showButtons();
  if (!valid()) return;
  const settings = asked();
  const { prime, seed, greedy } = settings;
  const [words, refused] = objection(prime);
  complain(element("prime"), refused ? words : "");
  element("message").textContent = words;
  if (refused) return;
  const pieces = loaded().vocabulary.ofLines
    ? listOf(settings)
    : continued(loaded(), prime, settings, new Random(seed, 0));
  shown = { pieces, greedy, seed, drawn: 0, seconds: 0 };
  writeOn();
}

/** Write the text that is shown on, to its end, or as much as it has again. */
async function writeOn() {
  const [own, turn] = [shown, {}];
  run = turn;
  own.begun = performance.now();
  own.from = document.activeElement;
  element("status").textContent = "Writing…";
  element("output").setAttribute("aria-busy", true);
  showButtons();
  let due = 0;
  for (;;) {
    const { text, ofPrime, drawn, begins, ends } = own.pieces.next().value;
    if (begins) element("output").replaceChildren();
    append(text, ofPrime);
    own.drawn += drawn;
    if (ends) break;
    if (performance.now() < due) continue;
    await new Promise((resolve) => setTimeout(resolve));
    if (run !== turn) return;
    due = performance.now() + SLICE;
  }
  end("Written");
}

/** The text that is being written ends here; `how` is how. */
function end(how) {
  if (run === null) return;
  run = null;
  const text = element("output").textContent;
  const lines = text && text.split("\n").length;
  const [count, thing] = loaded().vocabulary.ofLines ? [lines, "line"] : [shown.drawn, data.unit];
  const many = `${count.toLocaleString("en")} ${thing}${count === 1 ? "" : "s"}`;
  shown.seconds += (performance.now() - shown.begun) / 1000;
  const seed = shown.greedy ? "" : `, seed ${shown.seed}`;
  element("status").textContent = `${how}: ${many} in ${shown.seconds.toFixed(1)} s${seed}`;
  element("output").setAttribute("aria-busy", false);
  showButtons();
}

/** Shade each character of the text that is shown by its bits, as `charlm score` gives them. */
async function shade() {
  end("Stopped");
  const [output, { vocabulary }] = [element("output"), loaded()];
  const text = output.textContent;
  const shaded = document.createElement("i");
  let [bits, count, due] = [0, 0, 0];
  try {
    for (const { character, units, nats } of surprise(loaded(), text)) {
      if (vocabulary.ofLines && !units) continue; // the line break that a line is read from
      const own = nats / Math.LN2;
      [bits, count] = [bits + own, count + units];
      const span = shaded.appendChild(document.createElement("span"));
      span.textContent = vocabulary.composes ? character.normalize("NFC") : character;
      span.title = units ? `${own.toFixed(2)} bits` : "not predicted: it is the first";
      span.style.setProperty("--share", Math.min(1, own / MOST_BITS));
      if (performance.now() < due) continue;
      await new Promise((resolve) => setTimeout(resolve));
      if (output.textContent !== text) return; // another one is being written
      due = performance.now() + SLICE;
    }
  } catch ({ message }) {
    element("status").textContent = `No surprise is shown: ${message}.`;
    return;
  }
  if (vocabulary.ofLines) shaded.lastChild?.remove(); // the last line break is not shown
  output.replaceChildren(shaded);
  const mean = (bits / count || 0).toFixed(2);
  element("status").textContent = `${mean} bits per ${data.unit}; the strongest shade is ${MOST_BITS} or more.`;
}

/** Switch on the buttons that can be used; one that is switched off does not take the focus with it. */
function showButtons() {
  const focus = document.activeElement;
  const isRepeated = shown?.greedy && loaded().vocabulary.ofLines; // the likeliest line is always the same
  element("stop").disabled = run === null;
  element("continue").disabled = !shown || run !== null || isRepeated;
  element("copy_text").disabled = element("shade").disabled = !shown;
  if (!focus.disabled) return;
  const next = run !== null ? "stop" : shown?.from === element("continue") ? "continue" : "generate";
  element(next).focus();
}

/** Temperature, top-p, seed and the number of lines matter only where a unit is drawn; a hidden field never does. */
function showGreedy() {
  for (const id of ["temperature", "top_p", "num", "seed"]) {
    element(id).disabled = element("greedy").checked || element(id).labels[0].hidden;
  }
}

/** The settings as a fragment: prime=The%20&length=200&greedy=1. */
function fragment() {
  const { prime, length, greedy } = asked();
  const given = new URLSearchParams({ prime, length });
  if (greedy) {
    given.set("greedy", "1");
  } else {
    const names = ["temperature", "top_p", ...(loaded().vocabulary.ofLines ? ["num"] : [])];
    for (const name of names) given.set(name, element(name).value);
    given.set("seed", element("seed").value || (shown?.greedy ? "" : (shown?.seed ?? "")));
  }
  return String(given).replaceAll("+", "%20");
}

/** Fill the form with what the fragment of the address says, and begin; without one do nothing. */
function begin() {
  const given = new URLSearchParams(location.hash.slice(1));
  const names = ["prime", "temperature", "top_p", "num", "seed", "length"].filter((name) => given.has(name));
  if (!names.length && !given.has("greedy")) return;
  element("form").reset();
  for (const name of names) element(name).value = given.get(name);
  primeGiven = given.get("prime") ?? "";
  element("greedy").checked = ![null, "", "0", "false"].includes(given.get("greedy"));
  showGreedy();
  write();
}

/** Put a text on the clipboard and say so; where that is not allowed do something else, and say that. */
async function copy(text, done, otherwise) {
  try {
    await navigator.clipboard.writeText(text);
    element("status").textContent = done;
  } catch {
    element("status").textContent = otherwise();
  }
}

/** Put a link with the settings on the clipboard, and into the address bar; of a file only its name. */
function copyLink() {
  if (!valid()) return;
  history.replaceState(null, "", `#${fragment()}`);
  const { protocol, pathname, hash, href } = location;
  const isFile = protocol === "file:";
  copy(
    isFile ? pathname.split("/").pop() + hash : href,
    isFile
      ? "The name of this file with these settings is copied. Whoever opens it needs the file."
      : "The link is copied, with these settings.",
    () => "The link with these settings is in the address bar.",
  );
}

/** Put the text that is shown on the clipboard, or select it. */
function copyText() {
  copy(element("output").textContent, "The text is copied.", () => {
    getSelection().selectAllChildren(element("output"));
    return "The text is selected, and can be copied.";
  });
}

element("form").addEventListener("submit", (event) => {
  event.preventDefault();
  write();
});
element("stop").addEventListener("click", () => end("Stopped"));
element("continue").addEventListener("click", writeOn);
element("shade").addEventListener("click", shade);
element("copy_text").addEventListener("click", copyText);
element("copy").addEventListener("click", copyLink);
element("form").addEventListener("input", ({ target }) => complain(target, ""));
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
globalThis.charlm = { score: (text) => score(loaded(), text) };
