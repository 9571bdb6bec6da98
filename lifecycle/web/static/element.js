/** DOM nodes. Whatever comes from the database becomes text, never markup. */

export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(2).filter((child) => child !== undefined && child !== null && child !== ""));
  return node;
}

/** Touches the document only where the text is another one: a selection survives a poll. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Draws again only when what is drawn has changed. */
export function draw(node, drawn, make) {
  const key = JSON.stringify(drawn) ?? "";
  if (node.drawn === key) return;
  node.drawn = key;
  node.replaceChildren(...[make()].flat(2).filter((child) => child !== undefined && child !== null && child !== ""));
}
