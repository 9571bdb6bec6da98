/** The page of Docker services: what recovery thinks of each, and what it did. */

import { Api } from "./api.js";
import { time } from "./clock.js";
import { draw, element } from "./element.js";
import { Poll, tell } from "./poll.js";

const BAD = ["circuit open", "given up", "only told", "only observed"];
const part = (name) => document.getElementById(`services-${name}`);

const SERVICES = {
  Service: ({ key, name }) => [element("span", { class: "c-id" }, key), name && name !== key ? small(name) : null],
  Verdict: ({ verdict, paused }) => [verdict ? mark(verdict) : null, paused ? [" ", mark("paused")] : null],
  Reason: ({ reason }) => reason,
  Attempts: ({ attempts }) => attempts || null,
  Recoveries: ({ recoveries, failures }) => failures ? `${recoveries}, ${failures} failed` : recoveries || null,
  "Next try": ({ next_at }) => next_at && time(next_at),
  "Circuit open": ({ opened_at }) => opened_at && ["since ", time(opened_at)],
  Engine: ({ engine }) => engine,
};

const ACTIONS = {
  When: ({ begun_at }) => begun_at && time(begun_at),
  Service: ({ key }) => element("span", { class: "c-id" }, key ?? ""),
  Action: ({ kind }) => kind,
  Reason: ({ reason }) => reason,
  Outcome: ({ error, ended_at }) => (error ? element("span", { class: "c-error" }, error) : ended_at ? "done" : "…"),
  By: ({ by }) => by,
};

class Services {
  #etag = null;

  constructor(root) {
    this.api = new Api(root.dataset);
    this.poll = new Poll(() => this.#look(), (error) => this.#told(error));
    this.poll.now();
  }

  async #look() {
    const answer = await this.api.get("services", {}, this.#etag);
    if (!answer) return;
    this.#etag = answer.etag;
    const { services, actions } = answer.body;
    part("empty").hidden = services.length + actions.length > 0;
    this.#draw("all", services, SERVICES);
    this.#draw("actions", actions, ACTIONS);
  }

  #draw(name, rows, columns) {
    part(`${name}-card`).hidden = rows.length === 0;
    draw(part(name), rows, () => table(rows, columns));
  }

  #told(error) {
    tell(part("live"), error);
    part("page").classList.toggle("c-old", Boolean(error));
  }
}

/** Columns that no row has anything for are left out. */
function table(rows, columns) {
  const there = Object.entries(columns).filter(([, of]) => rows.some((row) => [of(row)].flat(2).some(Boolean)));
  const head = element("tr", {}, there.map(([name]) => element("th", { scope: "col" }, name)));
  const cells = (row) => there.map(([name, of]) => element("td", { "data-label": name }, of(row)));
  const body = rows.map((row) => element("tr", {}, cells(row)));
  return [element("thead", {}, head), element("tbody", {}, body)];
}

function mark(verdict) {
  const look = BAD.includes(verdict) ? "c-failed" : verdict === "well" ? "c-completed" : "c-pending";
  return element("span", { class: `badge c-status ${look}` }, verdict);
}

function small(text) {
  return element("div", { class: "c-small" }, text);
}

new Services(part("page"));
