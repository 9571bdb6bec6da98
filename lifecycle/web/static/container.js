/** The page of one container. */

import { Api, at } from "./api.js";
import { draw, element, setText } from "./element.js";
import { argumentsOf, facts, timeline } from "./facts.js";
import { Folds } from "./folds.js";
import { Grid } from "./grid.js";
import { Logs } from "./logs.js";
import { Page } from "./page.js";
import { Poll, tell } from "./poll.js";
import { badge, isLive, stale, total, words } from "./statuses.js";
import { Tree } from "./tree.js";
import { time } from "./clock.js";

const part = (name) => document.getElementById(`container-${name}`);

class ContainerPage extends Page {
  #etag = null;

  constructor(root) {
    super(root, new Api(root.dataset));
    this.id = root.dataset.id;
    this.tree = new Tree(this.api, new Folds());
    this.grid = new Grid(this, this.tree, "Children");
    part("children").append(this.grid.node);
    this.logs = new Logs(this.api, this.id, part("logs"), this);
    part("stop").addEventListener("click", () => this.dialog.open(this.id));
    part("rerun").addEventListener("click", () => this.#rerun());
    document.addEventListener("keydown", (event) => this.#key(event));
    this.poll = new Poll(() => this.#look(), (error) => this.#told(error));
    this.poll.now();
  }

  tag(tag) {
    location.assign(`${this.pages}?status=all&tag=${encodeURIComponent(tag)}`);
  }

  async #look() {
    const answer = await this.api.get(at(this.id), {}, this.#etag);
    if (answer) {
      this.#etag = answer.etag;
      this.#show(answer.body);
    }
    const children = this.tree.refresh();
    this.grid.draw();
    await children.finally(() => this.grid.draw());
  }

  #show(container) {
    this.container = container;
    this.#head(container);
    draw(part("path"), container.path, () => container.path.map((above) => this.#step(above)));
    draw(part("facts"), container, () => facts(container, this));
    draw(part("timeline"), container.history, () => timeline(container.history));
    draw(part("arguments"), container.arguments, () => argumentsOf(container.arguments ?? {}));
    draw(part("assignments"), container.assignments, () => container.assignments.map(assignment));
    part("assignments-card").hidden = container.assignments.length === 0;
    const counts = container.children;
    part("children-card").hidden = total(counts) === 0;
    setText(part("children-count"), words(counts ?? {}));
    if (total(counts)) this.tree.root(this.id, counts);
  }

  #head(container) {
    const { status, stale: isStale } = container;
    draw(part("status"), [status, isStale], () => [badge(status), isStale ? [" ", stale()] : null]);
    setText(part("why"), container.why ?? "");
    setText(part("error"), container.error ?? "");
    part("error").hidden = !container.error;
    part("stop").hidden = !isLive(container);
    part("rerun").hidden = isLive(container);
    part("task").hidden = !container.flower_task;
    document.title = `${container.status} ${container.id} · Flower`;
  }

  #step({ id, type, status }) {
    const link = element("a", { href: this.urlOf(id), title: `${type}, ${status}` }, id);
    return element("li", { class: "breadcrumb-item" }, link);
  }

  async #rerun() {
    part("rerun").disabled = true;
    try {
      const { id } = await this.api.post(at(this.id, "rerun"), {});
      location.assign(this.urlOf(id));
    } catch (error) {
      if (error.status === undefined) throw error;
      part("rerun").disabled = false;
      setText(part("refused"), error.message);
    }
  }

  #told(error) {
    tell(part("live"), error);
    if (error?.status === 404) setText(part("refused"), error.message);
    this.root.classList.toggle("c-old", Boolean(error));
  }

  #key(event) {
    if (event.target.closest("input, textarea, select, dialog, [role=treegrid]")) return;
    if (event.key === "x" && this.mayAct && this.container && isLive(this.container)) this.dialog.open(this.id);
  }
}

function assignment({ resource, assigned_at, released_at, released_why }) {
  const why = released_why ? ` (${released_why})` : "";
  const until = released_at ? [" until ", time(released_at), why] : [" until it ends"];
  const when = element("span", { class: "c-small" }, " since ", time(assigned_at), until);
  return element("li", {}, element("code", {}, resource), when);
}

new ContainerPage(document.getElementById("container"));
