/** One row of the tree: its cells, drawn anew only where something changed. */

import { age, withTimes } from "./clock.js";
import { draw, element, setText } from "./element.js";
import { badge, bar, isLive, stale, total, words } from "./statuses.js";

export const COLUMNS = ["Container", "Status", "Children", "Iteration", "Age", "Node", "Tags", ""];

export class Row {
  /** `page` knows where containers are, and who may stop them. */
  constructor(page) {
    this.page = page;
    this.cells = COLUMNS.map((name) => {
      const attributes = { role: "gridcell", class: `c-cell-${(name || "act").toLowerCase()}`, "data-label": name };
      return element("td", attributes);
    });
    this.node = element("tr", { role: "row", tabindex: "-1" }, this.cells);
    this.node.row = this;
  }

  update(entry) {
    this.entry = entry;
    const { row, level, open } = entry;
    this.node.dataset.id = row.id;
    this.node.classList.toggle("c-other", row.matches === false);
    this.node.setAttribute("aria-level", level);
    this.node.style.setProperty("--level", level - 1);
    if (open === null) this.node.removeAttribute("aria-expanded");
    else this.node.setAttribute("aria-expanded", open);
    const [name, status, children, iteration, , node, tags, act] = this.cells;
    draw(name, [row.id, row.type, row.player_id, row.detached, open], () => this.#name());
    draw(status, [row.status, row.stale, row.why, row.error], () => this.#status());
    draw(children, row.children, () => total(row.children) ? [bar(row.children), small(words(row.children))] : []);
    draw(iteration, row.iteration, () => row.iteration ? progress(row.iteration) : "");
    draw(node, row.node, () => element("span", { title: row.node }, shortNode(row.node ?? "")));
    draw(tags, row.tags, () => Object.entries(row.tags ?? {}).map((pair) => this.#tag(pair)));
    draw(act, [isLive(row), this.page.mayAct], () => isLive(row) ? this.#stop() : []);
    this.tick();
  }

  tick() {
    const { row } = this.entry;
    const cell = this.cells[COLUMNS.indexOf("Age")];
    if (row.created_at) setText(cell, age(row.created_at));
  }

  #name() {
    const { row, open } = this.entry;
    const label = open ? "Fold" : "Unfold";
    const toggle = element("button", { type: "button", class: "c-fold", tabindex: "-1", "aria-label": label });
    const link = element("a", { href: this.page.urlOf(row.id), tabindex: "-1", class: "c-id" }, row.id);
    const owner = row.player_id === undefined || row.player_id === null ? "" : ` · player ${row.player_id}`;
    const kind = small(`${row.type}${owner}${row.detached ? " · detached" : ""}`);
    const gap = open === null ? element("span", { class: "c-fold", "aria-hidden": "true" }) : toggle;
    return element("div", { class: "c-name" }, gap, element("div", {}, link, kind));
  }

  #status() {
    const { row } = this.entry;
    const why = row.why ? element("div", { class: "c-small" }, withTimes(row.why)) : null;
    const isNew = row.error && !row.why?.includes(row.error);
    const error = isNew ? element("div", { class: "c-small c-error", title: row.error }, row.error) : null;
    return [badge(row.status), row.stale ? [" ", stale()] : null, why, error];
  }

  #tag([key, value]) {
    const attributes = { type: "button", class: "badge c-tag", tabindex: "-1", title: "Show only these" };
    return element("button", { ...attributes, "data-tag": `${key}=${value}` }, `${key}=${value}`);
  }

  #stop() {
    const { mayAct, whyNot } = this.page;
    const attributes = { type: "button", class: "btn btn-sm btn-outline-danger c-stop", tabindex: "-1" };
    return element("button", { ...attributes, disabled: !mayAct, title: mayAct ? "Stop (x)" : whyNot }, "Stop");
  }
}

function small(text) {
  return element("div", { class: "c-small" }, text);
}

/** `[3, -1]` is "3/∞". */
export function progress([current, most]) {
  return `${current}/${most < 0 ? "∞" : most}`;
}

/** A node's name without the fresh id of its start. */
function shortNode(node) {
  return node.replace(/-[0-9a-f]{8}$/, "");
}
