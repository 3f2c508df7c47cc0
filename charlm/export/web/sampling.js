// From text to text, as in charlm/inference: what the network writes after a prime, and how well it
// predicts a text. A model is { network, vocabulary }.

const largest = (v) => v.reduce((one, other) => Math.max(one, other), -Infinity);

/** What units are drawn in proportion to, from `logits` [V]; the likeliest has 1. */
function weights(logits, { temperature, topP }) {
  const most = largest(logits);
  const p = Array.from(logits, (logit) => Math.exp((logit - most) / temperature));
  if (topP < 1) {
    // only the fewest units whose probabilities sum to topP are left (Holtzman et al. 2020)
    const likeliestFirst = [...p.keys()].sort((one, other) => p[other] - p[one]);
    const enough = topP * likeliestFirst.reduce((sum, id) => sum + p[id], 0);
    let reached = 0;
    for (const id of likeliestFirst) {
      if (reached >= enough) p[id] = 0;
      else reached += p[id];
    }
  }
  return p;
}

/** The id of the next unit: the likeliest, or one that is drawn. */
function draw(logits, settings, random) {
  if (settings.greedy) return logits.indexOf(largest(logits));
  const p = weights(logits, settings);
  let sum = 0;
  const cumulative = p.map((weight) => (sum += weight));
  const point = random.uniform() * sum;
  const place = cumulative.findIndex((reached) => reached > point);
  // a product that rounds up to the whole sum is beyond the last unit that can be drawn
  return place >= 0 ? place : p.findLastIndex((weight) => weight > 0);
}

/** Ids without end, each drawn from what the network expects; null for each unit of the prime it reads. */
function* generate({ network, vocabulary }, codes, settings, random) {
  const { unknown, lineBreak, ofLines } = vocabulary;
  let states = network.start();
  let logits = null;
  const read = (id) => ({ logits, states } = network.step(id, states));

  // a line begins after a line break, and so does a text without a prime
  const begins = ofLines || (!codes.length && lineBreak !== null);
  for (const id of vocabulary.idsOf(begins ? [LINE_BREAK, ...codes] : codes)) {
    read(id);
    yield null;
  }
  if (logits === null) {
    // all are as likely, and a greedy choice takes the first of equals
    const first = settings.greedy ? 0 : random.below(vocabulary.codes.length);
    yield first;
    read(first);
  }
  if (ofLines && !codes.length) logits[lineBreak] = -Infinity; // no line is empty
  for (;;) {
    if (unknown !== null) logits[unknown] = -Infinity; // <unk> is never drawn
    const id = draw(logits, settings, random);
    yield id;
    read(id);
  }
}

/**
 * The text that the model writes after `prime`, in pieces { text, ofPrime, drawn } that are certain: a
 * text that may be empty, and how many units have been drawn for it, 0 or 1.
 *
 * A line ends before its line break. Of a text `settings.length` units are written, then that many more,
 * without end: each part begins with all that there is before it, since a character at its end may
 * change. The first piece of a part has `begins`, the last `ends`.
 */
function* continued(model, prime, settings, random) {
  const { vocabulary } = model;
  const codes = vocabulary.codesOf(vocabulary.prepared(prime));
  const ids = generate(model, codes, settings, random);
  const written = [];
  do {
    const writer = new Writer(vocabulary);
    const textOf = (some) => some.map((code) => writer.write(code)).join("");
    yield { text: textOf(codes), ofPrime: true, drawn: 0, begins: !vocabulary.ofLines };
    yield { text: textOf(written), ofPrime: false, drawn: 0 };
    for (let left = settings.length; left; ) {
      const id = ids.next().value;
      if (id === null) {
        yield { text: "", ofPrime: true, drawn: 0 };
        continue;
      }
      if (vocabulary.ofLines && id === vocabulary.lineBreak) break;
      left -= 1;
      written.push(vocabulary.codes[id]);
      yield { text: writer.write(vocabulary.codes[id]), ofPrime: false, drawn: 1 };
    }
    yield { text: writer.finish(), ofPrime: false, drawn: 0, ends: !vocabulary.ofLines };
  } while (!vocabulary.ofLines);
}

/** -ln p of the unit `id`, in nats, where p = softmax(logits)[id]. */
function loss(logits, id) {
  const most = largest(logits);
  const sum = logits.reduce((total, logit) => total + Math.exp(logit - most), 0);
  return Math.log(sum) + most - logits[id];
}

/**
 * How surprising each character of `text` is, as a reader sees it: { character, units, nats }, how many of
 * its units are predicted, and their loss. The first unit is not; of a model of lines the units of each
 * line are, its line break included, from a zero state and the line break before it.
 */
function* surprise({ network, vocabulary }, text) {
  const lacking = vocabulary.unknown === null ? vocabulary.lacking(text) : [];
  if (lacking.length) throw new Error(`the model does not know ${listed(lacking)}`);
  const prepared = vocabulary.prepared(text);
  const lines = prepared.split("\n").filter((line) => line);
  for (const example of vocabulary.ofLines ? lines.map((line) => `\n${line}\n`) : [prepared]) {
    let states = network.start();
    let logits = null;
    for (const { segment: character } of new Intl.Segmenter().segment(example)) {
      const ids = vocabulary.idsOf(vocabulary.codesOf(character));
      const units = ids.length - (logits === null);
      let nats = 0;
      for (const id of ids) {
        if (logits !== null) nats += loss(logits, id);
        ({ logits, states } = network.step(id, states));
      }
      yield { character, units, nats };
    }
  }
}

/** How well the model predicts `text`: nats for each unit that is predicted. */
function score(model, text) {
  let [nats, units] = [0, 0];
  for (const one of surprise(model, text)) [nats, units] = [nats + one.nats, units + one.units];
  if (!units) throw new Error("the text has nothing to predict: it needs a line, or two characters");
  return nats / units;
}
