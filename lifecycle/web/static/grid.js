/** The tree on the page, as a treegrid: rows keyed by id, so that a poll keeps focus, folds and what is open. */

import { element, setText } from "./element.js";
import { isLive } from "./statuses.js";
import { COLUMNS, Row } from "./row.js";

const ACTIONS = "button:not(:disabled), a";

export class Grid {
  #rows = new Map();
  #current = null; // the key of the row that Tab comes to

  /** `page` has urlOf, mayAct and whyNot, and does what is asked: fold, more, stop, tag. */
  constructor(page, tree, label) {
    Object.assign(this, { page, tree });
    const titles = COLUMNS.map((name) => element("th", { scope: "col", role: "columnheader" }, name || hidden("Act")));
    const head = element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, titles));
    this.body = element("tbody", { role: "rowgroup" });
    const attributes = { role: "treegrid", "aria-label": label, class: "table table-hover align-middle mb-0 c-tree" };
    this.node = element("table", attributes, head, this.body);
    this.body.addEventListener("keydown", (event) => this.#key(event));
    this.body.addEventListener("click", (event) => this.#click(event));
    this.body.addEventListener("focusin", (event) => this.#enter(event.target.closest("tr")));
    setInterval(() => this.#rows.forEach((row) => row.tick?.()), 1000);
  }

  /** Bring the document to what the tree says, touching nothing else. */
  draw() {
    const lines = this.tree.lines();
    const wanted = new Set(lines.map((line) => line.key));
    const held = this.#leave(wanted);
    let next = this.body.firstElementChild;
    for (const line of lines) {
      const { node } = this.#row(line);
      if (node === next) next = next.nextElementSibling;
      else this.body.insertBefore(node, next);
    }
    this.#tabStop();
    if (held) this.focus(this.#current);
  }

  /** A row; if it is gone, its neighbour. */
  focus(key) {
    const row = this.#rows.get(key) ?? this.#rows.get(this.#current);
    if (row) this.#focus(row.node);
  }

  /** Removes what is no more; true if it had the focus. A neighbour inherits the place in the order of Tab. */
  #leave(wanted) {
    const gone = [...this.#rows].filter(([key]) => !wanted.has(key));
    const held = gone.some(([, { node }]) => node.contains(document.activeElement));
    if (gone.some(([key]) => key === this.#current)) this.#current = this.#neighbour(wanted);
    for (const [key, { node }] of gone) {
      node.remove();
      this.#rows.delete(key);
    }
    return held;
  }

  #neighbour(wanted) {
    const { node } = this.#rows.get(this.#current);
    const next = (from, way) => {
      let other = from;
      while (other && !wanted.has(other.key)) other = other[way];
      return other?.key ?? null;
    };
    return next(node, "nextElementSibling") ?? next(node, "previousElementSibling");
  }

  #row(line) {
    let row = this.#rows.get(line.key);
    if (!row) {
      row = line.row ? new Row(this.page) : new Rest();
      row.node.key = line.key;
      this.#rows.set(line.key, row);
    }
    row.update(line);
    return row;
  }

  #tabStop() {
    if (!this.#rows.has(this.#current)) this.#current = this.body.firstElementChild?.key ?? null;
    for (const [key, row] of this.#rows) row.node.tabIndex = key === this.#current ? 0 : -1;
  }

  #enter(node) {
    this.#current = node.key;
    this.#tabStop();
  }

  #focus(node) {
    this.#enter(node);
    node.focus();
  }

  #click(event) {
    const node = event.target.closest("tr");
    const what = event.target.closest(ACTIONS);
    const { entry } = this.#rows.get(node.key);
    if (!what?.matches("a")) node.focus();
    if (!what) return;
    if (what.matches(".c-fold")) this.page.fold(entry.row.id, !entry.open);
    else if (what.matches(".c-stop")) this.page.stop(entry.row);
    else if (what.matches(".c-tag")) this.page.tag(what.dataset.tag);
    else if (what.matches(".c-more")) this.page.more(entry);
  }

  #key(event) {
    const node = event.target.closest("tr");
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { entry } = this.#rows.get(node.key);
    const keys = { ...this.#moves(node), ...(entry.row ? this.#acts(node, entry) : this.#rest(entry)) };
    if (!(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  }

  #moves(node) {
    const to = (other) => () => other && this.#focus(other);
    return {
      ArrowDown: to(node.nextElementSibling),
      ArrowUp: to(node.previousElementSibling),
      Home: to(this.body.firstElementChild),
      End: to(this.body.lastElementChild),
    };
  }

  #acts(node, { row, level, open }) {
    const { page } = this;
    return {
      ArrowRight: () => open === false ? page.fold(row.id, true) : open && this.#focus(node.nextElementSibling ?? node),
      ArrowLeft: () => open ? page.fold(row.id, false) : this.#focus(this.#above(node, level) ?? node),
      Enter: () => location.assign(page.urlOf(row.id)),
      x: () => page.mayAct && isLive(row) && page.stop(row),
    };
  }

  #rest(entry) {
    const show = () => entry.canShow && this.page.more(entry);
    return { Enter: show, " ": show };
  }

  #above(node, level) {
    let above = node.previousElementSibling;
    while (above && Number(above.getAttribute("aria-level")) >= level) above = above.previousElementSibling;
    return above;
  }
}

/** The line that stands for what is not drawn of a group. */
class Rest {
  constructor() {
    this.button = element("button", { type: "button", class: "btn btn-link btn-sm p-0 c-more", tabindex: "-1" });
    const cell = element("td", { role: "gridcell", class: "c-cell-container", colspan: COLUMNS.length });
    cell.append(element("div", { class: "c-name" }, element("span", { class: "c-fold" }), this.button));
    this.node = element("tr", { role: "row", class: "c-rest", tabindex: "-1" }, cell);
  }

  update(entry) {
    this.entry = entry;
    this.node.setAttribute("aria-level", entry.level);
    this.node.style.setProperty("--level", entry.level - 1);
    this.button.disabled = !entry.canShow;
    setText(this.button, entry.canShow ? `Show ${entry.text.replace(" not shown", "")}` : entry.text);
  }
}

function hidden(text) {
  return element("span", { class: "visually-hidden" }, text);
}
