// What the scripts of all pages share: the elements by id, and the data that the page holds.

const element = (id) => document.getElementById(id);

const data = JSON.parse(element("data").textContent);

/** The numbers whose bytes are written into the page as text. */
function unpacked(packed, Numbers) {
  const text = atob(packed);
  const bytes = new Uint8Array(text.length);
  for (let k = 0; k < bytes.length; k++) bytes[k] = text.charCodeAt(k); // far faster than `from`
  return new Numbers(bytes.buffer);
}
