/** What becomes of a stop, container by container, until it is over. */

import { element, setText } from "./element.js";

const PACE = 700;
const DRAWN = 1000; // containers; of more, only what failed

export class Outcome {
  #lines = new Map();
  #timer = null;
  #etag = null;
  #over = false;

  constructor(api, { stop, notes = [] }, shown, ended) {
    Object.assign(this, { api, stop, ended });
    this.summary = element("p", { role: "status" }, "Asked to stop.");
    this.list = element("ol", { class: "c-list", tabindex: "0", "aria-label": "What became of them" });
    const said = notes.map((note) => element("p", { class: "c-small" }, note));
    this.node = element("div", { class: "c-outcome" }, this.summary, said, this.list);
    for (const { id } of shown) this.#line(id, "waiting");
    this.#look();
  }

  end() {
    this.#over = true;
    clearTimeout(this.#timer);
  }

  async #look() {
    try {
      const answer = await this.api.get(`stops/${encodeURIComponent(this.stop)}`, {}, this.#etag);
      if (answer && !this.#over) this.#draw(answer.body);
      this.#etag = answer?.etag ?? this.#etag;
    } catch (error) {
      if (error.status === undefined) throw error;
      setText(this.summary, `${error.message}; the stop goes on`);
    }
    if (!this.#over) this.#timer = setTimeout(() => this.#look(), PACE);
  }

  #draw(stop) {
    for (const id of stop.stopped) this.#line(id, "stopped");
    for (const id of stop.already_ended ?? []) this.#line(id, "had ended");
    for (const id of stop.pending) this.#line(id, "stopping");
    for (const [id, why] of Object.entries(stop.failed)) this.#line(id, "failed", why);
    setText(this.summary, words(stop));
    if (!stop.finished_at && stop.pending.length) return;
    this.end();
    this.ended(stop);
  }

  #line(id, what, why = "") {
    let line = this.#lines.get(id);
    if (!line) {
      if (this.#lines.size >= DRAWN && what !== "failed") return;
      const name = element("span", { class: "c-id" }, id);
      const error = element("span", { class: "c-small c-error" });
      line = element("li", {}, name, " ", element("span", { class: "badge" }), " ", error);
      this.#lines.set(id, line);
      this.list.append(line);
    }
    const [, state, error] = line.children;
    line.dataset.outcome = what;
    state.className = `badge c-outcome-${what.replace(" ", "-")}`;
    setText(state, what);
    setText(error, why);
  }
}

function words(stop) {
  const failed = Object.keys(stop.failed).length;
  const counts = { stopped: stop.stopped.length, stopping: stop.pending.length, failed };
  const parts = Object.entries(counts).filter(([name, count]) => count || name === "stopped");
  const reason = stop.reason ? `, because: ${stop.reason}` : "";
  return `${parts.map(([name, count]) => `${count} ${name}`).join(", ")}. Asked by ${stop.by}${reason}.`;
}
