// From text to the ids of its units and back, as in charlm/data/units.py.
//
// A unit is a character, a part of one (NFD splits syllables of Hangul into jamo) or a byte. Its code
// is its code point, or the byte; its id is the place of the code in the vocabulary.

const LINE_BREAK = 10;

class Vocabulary {
  /** `codes` are those of all units in ascending order, or [first, last] of ranges of them. */
  constructor(codes, { unit, normalize, lowercase, newlines, mode, min_count }) {
    this.codes = codes.flatMap((code) => (Array.isArray(code) ? range(...code) : [code]));
    this.ids = new Map(this.codes.map((code, id) => [code, id]));
    this.isByte = unit === "byte";
    this.form = normalize === "none" ? null : normalize.toUpperCase();
    this.composes = this.form === "NFD" || this.form === "NFKD";
    this.lowercase = lowercase;
    this.ofLines = mode === "lines";
    this.foldsNewlines = this.ofLines || newlines === "lf";
    this.unknown = min_count > 1 ? this.codes.length : null; // the id of <unk>
    this.lineBreak = this.ids.get(LINE_BREAK) ?? null;
  }

  /** The text as the model was trained to see it. */
  prepared(text) {
    if (this.foldsNewlines) text = text.replace(/\r\n?/g, "\n");
    if (this.isByte) return text;
    if (this.lowercase) text = text.toLowerCase();
    return this.form ? text.normalize(this.form) : text;
  }

  /** The codes of a text that is prepared. */
  codesOf(prepared) {
    if (this.isByte) return [...new TextEncoder().encode(prepared)];
    return Array.from(prepared, (character) => character.codePointAt(0));
  }

  /** The ids of codes that are all known, or that the model reads as <unk>. */
  idsOf(codes) {
    return codes.map((code) => this.ids.get(code) ?? this.unknown);
  }

  /** The ids of a whole text: of lines a line break, then every line that is not empty with its own. */
  read(text) {
    const prepared = this.prepared(text);
    const lines = prepared.split("\n").filter((line) => line);
    return this.idsOf(this.codesOf(this.ofLines ? ["", ...lines, ""].join("\n") : prepared));
  }

  /** The characters of a text, each once, that the model does not know. */
  lacking(text) {
    const known = (character) => this.codesOf(character).every((code) => this.ids.has(code));
    return [...new Set(this.prepared(text))].filter((character) => !known(character));
  }
}

/** Characters for a message: “é” (U+00E9), a space. */
function listed(characters) {
  const named = (character) => {
    const code = `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
    if (character in INVISIBLE) return INVISIBLE[character];
    if (/[\p{C}\p{Z}]/u.test(character)) return code;
    return `“${/\p{M}/u.test(character) ? "◌" : ""}${character}” (${code})`;
  };
  const more = characters.length - 10;
  return characters.slice(0, 10).map(named).join(", ") + (more > 0 ? `, and ${more} more` : "");
}

const INVISIBLE = { " ": "the space", "\n": "the line break" };

const range = (first, last) => Array.from({ length: last - first + 1 }, (_, k) => first + k);

/**
 * Turns codes that come one at a time into text that can be shown at once.
 *
 * Bytes are held back until they complete a character, and the parts of a composed character until
 * nothing that follows can change it.
 */
class Writer {
  constructor({ isByte, composes }) {
    this.isByte = isByte;
    this.composes = composes;
    this.bytes = new TextDecoder("utf-8", { ignoreBOM: true });
    this.held = "";
  }

  /** Add one code; the text that it completes, which may be empty. */
  write(code) {
    if (this.isByte) return this.bytes.decode(Uint8Array.of(code), { stream: true });
    const character = String.fromCodePoint(code);
    if (!this.composes) return character;
    const held = this.held.normalize("NFC");
    const joined = (this.held + character).normalize("NFC");
    if (this.held && joined === held + character && !/\p{M}/u.test(character)) {
      // what is held does not combine with this character, so nothing later combines with it
      this.held = character;
      return held;
    }
    this.held += character;
    return "";
  }

  /** The text that is still held back, at the end. */
  finish() {
    const rest = this.bytes.decode() + this.held.normalize("NFC");
    this.held = "";
    return rest;
  }
}
