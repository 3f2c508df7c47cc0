// What the scripts of all pages share: the elements by id, and the data that the page holds.

const element = (id) => document.getElementById(id);

const data = JSON.parse(element("data").textContent);

/** The numbers whose bytes are written into the page as text. */
function unpacked(packed, Numbers) {
  const bytes = Uint8Array.from(atob(packed), (character) => character.charCodeAt(0));
  return new Numbers(bytes.buffer);
}
