/** What becomes of a stop, container by container, until it is over. */

import { element, setText } from "./element.js";
import { total } from "./statuses.js";

const PACE = 700;
const LARGE = 1500; // the pace of a stop of more than are drawn
const DRAWN = 1000; // containers; of more, only what failed

export class Outcome {
  #lines = new Map();
  #timer = null;
  #etag = null;
  #over = false;
  #pace = PACE;

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
    if (!this.#over) this.#timer = setTimeout(() => this.#look(), this.#pace);
  }

  #draw(stop) {
    const counts = countsOf(stop);
    for (const id of stop.stopped) this.#line(id, "stopped");
    for (const id of stop.already_ended ?? []) this.#line(id, "had ended");
    for (const id of stop.pending) this.#line(id, "stopping");
    for (const [id, why] of Object.entries(stop.failed)) this.#line(id, "failed", why);
    setText(this.summary, words(stop, counts));
    this.#pace = total(counts) > DRAWN ? LARGE : PACE;
    if (!stop.finished_at && counts.pending) return;
    this.end();
    this.#rest();
    this.ended(counts.failed);
  }

  /** Of a large stop not each that has ended is named. */
  #rest() {
    for (const [id, { dataset }] of this.#lines) {
      if (["waiting", "stopping"].includes(dataset.outcome)) this.#line(id, "ended");
    }
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

/** Of all; the lists name the first thousand each. */
function countsOf({ counts, stopped, pending, failed, already_ended }) {
  const [listed, ended] = [Object.keys(failed).length, already_ended.length];
  return counts ?? { stopped: stopped.length, pending: pending.length, failed: listed, already_ended: ended };
}

function words(stop, { stopped, pending, failed }) {
  const parts = Object.entries({ stopped, stopping: pending, failed }).filter(([name, count]) => count || name === "stopped");
  const reason = stop.reason ? `, because: ${stop.reason}` : "";
  return `${parts.map(([name, count]) => `${count.toLocaleString("en")} ${name}`).join(", ")}. Asked by ${stop.by}${reason}.`;
}
