/** Which containers are shown: in the URL, as pills with counts, and in the search field. */

import { element, setText } from "./element.js";
import { ACTIVE, STATUSES } from "./statuses.js";

const OTHERS = ["player_id", "type", "tag"]; // by the URL, or a click on a tag; each can be taken away again
const PAUSE = 250; // ms after the last key

export class Filters {
  #pills = new Map();

  constructor(bar, search, changed) {
    Object.assign(this, { bar, search, changed });
    this.#read();
    this.#build();
    let pause = null;
    search.value = this.q;
    search.addEventListener("input", () => {
      clearTimeout(pause);
      pause = setTimeout(() => this.set({ q: search.value }), PAUSE);
    });
    search.addEventListener("keydown", (event) => event.key === "Escape" && this.#clear());
  }

  get isDefault() {
    return !this.q && !this.others.length && this.#status() === ACTIVE.join(",");
  }

  /** What the API is asked for. */
  parameters() {
    const given = (name) => this.others.filter(([other]) => other === name).map(([, value]) => value);
    const others = Object.fromEntries(OTHERS.map((name) => [name, given(name)]));
    return { status: this.#status(), q: this.q.trim(), ...others };
  }

  set(wish) {
    Object.assign(this, wish);
    if (document.activeElement !== this.search) this.search.value = this.q;
    this.#write();
    this.#mark();
    this.changed();
  }

  /** Nothing but these statuses. */
  reset(statuses = ACTIVE) {
    this.search.value = "";
    this.set({ q: "", others: [], statuses: new Set(statuses) });
  }

  /** A click on a tag: only those with exactly this `key=value`. */
  add(tag) {
    const others = this.others.filter(([name, value]) => name !== "tag" || value !== tag);
    this.set({ others: [...others, ["tag", tag]] });
  }

  count(counts) {
    for (const [status, pill] of this.#pills) {
      setText(pill.lastElementChild, counts[status]?.toLocaleString("en") ?? "…"); // not counted, in time
    }
  }

  #clear() {
    this.search.value = "";
    this.set({ q: "" });
  }

  #read() {
    const given = new URLSearchParams(location.search);
    const named = given.getAll("status").join(",").toUpperCase();
    this.statuses = new Set(named === "ALL" ? STATUSES : named ? named.split(",") : ACTIVE);
    this.q = given.get("q") ?? "";
    this.others = [...given].filter(([name]) => OTHERS.includes(name));
  }

  #write() {
    const words = [...this.others];
    if (this.#status() !== ACTIVE.join(",")) words.push(["status", this.#status()]);
    if (this.q.trim()) words.push(["q", this.q.trim()]);
    const query = new URLSearchParams(words).toString().replaceAll("%2C", ",");
    history.replaceState(null, "", query ? `?${query}` : location.pathname);
  }

  #status() {
    const known = STATUSES.filter((status) => this.statuses.has(status));
    const unknown = [...this.statuses].filter((status) => !STATUSES.includes(status));
    return known.length === STATUSES.length ? "all" : [...known, ...unknown].join(",");
  }

  #build() {
    for (const status of STATUSES) {
      const count = element("span", { class: "c-count" }, "–");
      const label = status[0] + status.slice(1).toLowerCase();
      const attributes = { type: "button", class: "task-state-filter", "data-status": status };
      const pill = element("button", attributes, `${label} `, count);
      pill.addEventListener("click", () => this.#toggle(status));
      this.#pills.set(status, pill);
    }
    this.all = element("button", { type: "button", class: "task-state-filter" }, "All");
    this.all.addEventListener("click", () => this.#toggleAll());
    this.chips = element("span", { class: "c-chips" });
    this.bar.replaceChildren(...this.#pills.values(), this.all, this.chips);
    this.#mark();
  }

  #toggleAll() {
    this.set({ statuses: new Set(this.#status() === "all" ? ACTIVE : STATUSES) });
  }

  #toggle(status) {
    const statuses = new Set(this.statuses);
    if (!statuses.delete(status)) statuses.add(status);
    this.set({ statuses: statuses.size ? statuses : new Set(ACTIVE) });
  }

  #mark() {
    const press = (pill, on) => {
      pill.classList.toggle("active", on);
      pill.setAttribute("aria-pressed", on);
    };
    for (const [status, pill] of this.#pills) press(pill, this.statuses.has(status));
    press(this.all, this.#status() === "all");
    this.chips.replaceChildren(...this.others.map((other) => this.#chip(other)));
  }

  #chip(other) {
    const [name, value] = other;
    const attributes = { type: "button", class: "task-state-filter active", title: "Take this filter away" };
    const chip = element("button", attributes, `${name}: ${value} ×`);
    chip.addEventListener("click", () => this.set({ others: this.others.filter((each) => each !== other) }));
    return chip;
  }
}
