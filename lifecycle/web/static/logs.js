/** The log of a container: the last lines, then what comes. */

import { at } from "./api.js";
import { time } from "./clock.js";
import { element, setText } from "./element.js";
import { Poll } from "./poll.js";

const TAIL = 200;
const KEPT = 2000; // lines on the page
const OVERLAP = 1000; // lines: writers do not commit in the order of their ids, and a line that comes again is counted
const LIMIT = 2 * OVERLAP;
const PACE = 1000;

export class Logs {
  #lines = new Map(); // what is on the page, by the ids of the lines
  #first = 0; // what is older than this was left out
  #last = null;
  #etag = null;

  constructor(api, id, root, page) {
    Object.assign(this, { api, id, page });
    const control = (name) => root.querySelector(`[name=${name}]`);
    this.list = root.querySelector("ol");
    this.empty = root.querySelector(".c-empty-log");
    [this.level, this.follow, this.below, this.filter] = ["level", "follow", "with_children", "filter"].map(control);
    this.error = root.querySelector("[role=alert]");
    this.poll = new Poll(() => this.#look(), (error) => setText(this.error, error ? error.message : ""), PACE);
    for (const each of [this.level, this.below]) each.addEventListener("change", () => this.#anew());
    this.follow.addEventListener("change", () => this.follow.checked && this.poll.now());
    this.filter.addEventListener("input", () => [...this.list.children].forEach((line) => this.#sift(line)));
    this.poll.now();
  }

  async #look() {
    if (this.#last !== null && !this.follow.checked) return;
    const wish = { level: this.level.value, with_children: this.below.checked };
    const from = this.#last === null ? { tail: TAIL } : { after: Math.max(0, this.#last - OVERLAP), limit: LIMIT };
    const answer = await this.api.get(at(this.id, "logs"), { ...wish, ...from }, this.#etag);
    if (wish.level !== this.level.value || wish.with_children !== this.below.checked) return this.poll.now();
    if (!answer) return;
    const { lines, last } = answer.body;
    if (from.tail && lines.length === TAIL) this.#first = lines[0].id;
    this.#etag = answer.etag;
    this.#last = Math.max(this.#last ?? 0, last);
    this.#add(lines);
  }

  #anew() {
    this.#lines.clear();
    [this.#first, this.#last, this.#etag] = [0, null, null];
    this.list.replaceChildren();
    this.poll.now();
  }

  #add(lines) {
    const before = this.#lines.size;
    for (const line of lines) if (line.id >= this.#first) this.#put(line);
    const hasNew = this.#lines.size > before;
    while (this.#lines.size > KEPT) this.#drop();
    this.empty.hidden = this.#lines.size > 0;
    if (hasNew && this.follow.checked) this.list.scrollTop = this.list.scrollHeight;
  }

  /** In the order of ids, wherever it comes from. */
  #put(line) {
    const known = this.#lines.get(line.id);
    if (known?.times === line.count) return;
    const node = Object.assign(this.#line(line), { line: line.id, times: line.count });
    this.#lines.set(line.id, node);
    if (known) return known.replaceWith(node);
    let before = this.list.lastElementChild;
    while (before && before.line > line.id) before = before.previousElementSibling;
    if (before) before.after(node);
    else this.list.prepend(node);
  }

  #drop() {
    const oldest = this.list.firstElementChild;
    this.#lines.delete(oldest.line);
    this.#first = oldest.line + 1;
    oldest.remove();
  }

  #line({ container_id, at: when, level, logger, message, count }) {
    const link = { href: this.page.urlOf(container_id), class: "c-whose" };
    const whose = container_id === this.id ? "" : element("a", link, container_id);
    const times = count > 1 ? element("span", { class: "badge c-times", title: "times" }, `×${count}`) : "";
    const line = element("li", { class: `c-log c-log-${level.toLowerCase()}`, title: logger });
    line.append(time(when), element("span", { class: "c-level" }, level));
    line.append(element("span", { class: "c-message" }, whose, message, times));
    this.#sift(line);
    return line;
  }

  #sift(line) {
    line.hidden = !line.textContent.toLowerCase().includes(this.filter.value.trim().toLowerCase());
  }
}
