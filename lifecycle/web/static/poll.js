/** Looks again and again: each 1.5 s while somebody looks, each 10 s while nobody does. */

import { setText } from "./element.js";

const SEEN = 1500;
const HIDDEN = 10000;

export class Poll {
  #timer = null;
  #running = false;
  #again = false;

  /** `look` reads and draws; `told` hears null when it went well, else the error. */
  constructor(look, told, pace = SEEN) {
    Object.assign(this, { look, told, pace });
    document.addEventListener("visibilitychange", () => document.hidden || this.now());
  }

  /** At once, or as soon as the look that is under way has ended. */
  async now() {
    if (this.#running) {
      this.#again = true;
      return;
    }
    clearTimeout(this.#timer);
    this.#running = true;
    await this.#once();
    this.#running = false;
    const wait = this.#again ? 0 : document.hidden ? HIDDEN : this.pace;
    this.#again = false;
    this.#timer = setTimeout(() => this.now(), wait);
  }

  async #once() {
    try {
      await this.look();
      this.told(null);
    } catch (error) {
      if (error.status === undefined) console.error(error);
      this.told(error);
    }
  }
}

/** The pill beside the title: live, or why not. What was drawn stays. */
export function tell(pill, error) {
  const [dot, words] = pill.children;
  dot.className = `status-dot ${error ? "status-dot-error" : "status-dot-live"}`;
  const text = { null: "Live", 0: "Disconnected", 503: "Database unreachable", 401: "Not logged in" };
  setText(words, error ? (text[error.status] ?? "Not live") : text.null);
  pill.title = error ? error.message : "";
  pill.dataset.live = !error;
}
