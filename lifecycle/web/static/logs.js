/** The log of a container: the last lines, then what comes. */

import { at } from "./api.js";
import { time } from "./clock.js";
import { element, setText } from "./element.js";
import { Poll } from "./poll.js";

const TAIL = 200;
const KEPT = 2000; // lines on the page
const PACE = 1000;

export class Logs {
  #last = null;

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
    const from = this.#last === null ? { tail: TAIL } : { after: this.#last, limit: 1000 };
    const { body } = await this.api.get(at(this.id, "logs"), { ...wish, ...from });
    if (wish.level !== this.level.value || wish.with_children !== this.below.checked) return this.poll.now();
    this.#last = body.last ?? this.#last ?? 0;
    this.#add(body.lines);
  }

  #anew() {
    this.#last = null;
    this.list.replaceChildren();
    this.poll.now();
  }

  #add(lines) {
    this.list.append(...lines.map((line) => this.#line(line)));
    while (this.list.childElementCount > KEPT) this.list.firstElementChild.remove();
    this.empty.hidden = this.list.childElementCount > 0;
    if (lines.length && this.follow.checked) this.list.scrollTop = this.list.scrollHeight;
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
