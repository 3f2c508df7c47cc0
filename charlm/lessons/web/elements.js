// Elements of the page as plain values, and the way to bring the page in line with them.

/** An element that is to be: its kind, its attributes (`--name` is a property of its style), its contents. */
const made = (kind, attributes = {}, ...contents) => ({ kind, attributes, contents });

const given = new WeakMap(); // the attributes that `fill` has given to an element

/**
 * Give an element of the page these contents: elements and texts. What is there is kept, and changed where it
 * differs: to a browser, a new element costs far more than a new number.
 */
function fill(parent, ...contents) {
  const wanted = contents.flat(Infinity).filter((one) => one !== "");
  let old = parent.firstChild;
  for (const one of wanted) {
    if (!old || old.localName !== one.kind) {
      const fresh = one.kind ? newElement(one.kind, parent) : new Text();
      if (old) old.replaceWith(fresh);
      else parent.append(fresh);
      old = fresh;
    }
    if (one.kind) {
      change(old, one.attributes);
      fill(old, one.contents);
    } else if (old.data !== String(one)) old.data = one;
    old = old.nextSibling;
  }
  while (parent.childNodes.length > wanted.length) parent.lastChild.remove();
}

const newElement = (kind, parent) =>
  document.createElementNS((kind === "svg" ? element("graph") : parent).namespaceURI, kind);

/** Give an element these attributes instead of those that it was given before. */
function change(one, attributes) {
  const before = given.get(one) ?? {};
  if (before === attributes) return;
  given.set(one, attributes);
  for (const name in before) if (!(name in attributes)) one.removeAttribute(name);
  for (const name in attributes) {
    const value = attributes[name];
    if (value === before[name]) continue;
    if (name.startsWith("--")) one.style.setProperty(name, value);
    else one.setAttribute(name, value);
  }
}
