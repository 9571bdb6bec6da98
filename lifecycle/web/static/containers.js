/** The page of all trees. */

import { Api } from "./api.js";
import { element } from "./element.js";
import { Filters } from "./filters.js";
import { Folds } from "./folds.js";
import { Grid } from "./grid.js";
import { Page } from "./page.js";
import { Poll, tell } from "./poll.js";
import { ACTIVE, STATUSES, total, words } from "./statuses.js";
import { Tree } from "./tree.js";

const STEP = 200;
const MOST = 1000;
const part = (name) => document.getElementById(`containers-${name}`);

class Containers extends Page {
  #limit = STEP;
  #etag = null;
  #question = "";

  constructor(root) {
    super(root, new Api(root.dataset));
    this.folds = new Folds();
    this.tree = new Tree(this.api, this.folds);
    this.grid = new Grid(this, this.tree, "Containers");
    part("table").append(this.grid.node);
    this.filters = new Filters(part("filters"), part("search"), () => this.#asked());
    this.poll = new Poll(() => this.#look(), (error) => this.#told(error));
    part("more").addEventListener("click", () => this.#more());
    document.addEventListener("keydown", (event) => this.#key(event));
    this.poll.now();
  }

  tag(tag) {
    this.filters.add(tag);
  }

  async #look() {
    const parameters = { ...this.filters.parameters(), limit: this.#limit };
    const question = JSON.stringify(parameters);
    if (question !== this.#question) this.#etag = null;
    const answer = await this.api.get("containers/tree", parameters, this.#etag);
    if (answer) {
      Object.assign(this, { answer: answer.body });
      [this.#etag, this.#question] = [answer.etag, question];
      this.tree.show(answer.body.roots);
    }
    const children = this.tree.refresh();
    this.#draw();
    await children.finally(() => this.#draw());
  }

  #draw() {
    const { roots, more, counts } = this.answer;
    this.grid.draw();
    this.filters.count(counts);
    this.grid.node.hidden = roots.length === 0;
    part("rest").hidden = !more;
    const left = `${Number(more).toLocaleString("en")} trees are not shown`;
    part("more").disabled = this.#limit >= MOST;
    part("more").textContent = this.#limit >= MOST ? `${left}: search for one` : `Show more: ${left}`;
    this.#empty(roots.length ? null : counts);
  }

  #empty(counts, message = "") {
    const node = part("empty");
    node.hidden = !counts && !message;
    if (node.hidden) return;
    const hidden = counts ? total(counts) - ACTIVE.reduce((sum, each) => sum + (counts[each] ?? 0), 0) : 0;
    const fresh = this.filters.isDefault;
    const title = message || (fresh ? "Nothing is running" : "No container fits");
    const next = fresh
      ? ["Start one: ", element("code", {}, "celery -A yourapp container start TYPE")]
      : [action("Show what is running", () => this.filters.reset())];
    const rest = hidden && fresh ? [action(`Show ${words(others(counts))}`, () => this.filters.reset(STATUSES))] : [];
    node.replaceChildren(element("p", { class: "c-empty-title" }, title), element("p", {}, next), ...rest);
  }

  #asked() {
    this.#limit = STEP;
    this.folds.forget();
    this.tree.forget();
    this.poll.now();
  }

  #more() {
    this.#limit = Math.min(this.#limit + STEP, MOST);
    this.poll.now();
  }

  #told(error) {
    tell(part("live"), error);
    const refused = error?.status === 400;
    part("table").classList.toggle("c-old", Boolean(error));
    if (refused) {
      this.grid.node.hidden = part("rest").hidden = true;
      this.#empty(null, error.message);
    } else if (error && !this.answer) this.#empty(null, error.message);
  }

  #key(event) {
    if (event.key !== "/" || event.target.closest("input, textarea, select, dialog")) return;
    event.preventDefault();
    part("search").focus();
  }
}

function others(counts) {
  return Object.fromEntries(Object.entries(counts).filter(([status]) => !ACTIVE.includes(status)));
}

function action(words, act) {
  return element("button", { type: "button", class: "btn btn-outline-secondary btn-sm", onclick: act }, words);
}

new Containers(document.getElementById("containers"));
