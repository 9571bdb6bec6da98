/** The dialog of a stop: what would stop, exactly; then what became of it. */

import { at } from "./api.js";
import { element } from "./element.js";
import { Outcome } from "./outcome.js";
import { badge } from "./statuses.js";

export class StopDialog {
  #id = null;
  #preview = null;

  constructor(api, closed) {
    Object.assign(this, { api, closed });
    this.node = element("dialog", { class: "c-dialog", "aria-labelledby": "stop-title" });
    this.node.addEventListener("close", () => this.#close());
    document.body.append(this.node);
  }

  async open(id) {
    this.#id = id;
    this.#preview = null;
    this.#build();
    this.node.showModal();
    await this.#try(() => this.#look());
  }

  async #look() {
    const preview = await this.#post({ dry_run: true });
    if (preview) this.#show(preview);
  }

  /** The answer; null if the dialog was closed meanwhile. */
  async #post(wish) {
    const { body } = this;
    const answer = await this.api.post(at(this.#id, "stop"), wish);
    return this.node.open && body === this.body ? answer : null;
  }

  #build() {
    this.title = element("h2", { class: "modal-title", id: "stop-title" }, "Stop");
    this.body = element("div", { class: "c-dialog-body" }, element("p", {}, "Looking what would stop…"));
    this.message = element("p", { class: "c-dialog-message", role: "alert" });
    this.go = this.#button("Stop", "btn-danger", () => this.#try(() => this.#stop()));
    this.go.disabled = true;
    const close = this.#button("Close", "btn-outline-secondary", () => this.node.close());
    this.buttons = element("div", { class: "c-dialog-buttons" }, close, this.go);
    this.node.replaceChildren(this.title, this.body, this.message, this.buttons);
  }

  #button(words, look, act) {
    return element("button", { type: "button", class: `btn ${look}`, onclick: act }, words);
  }

  #show(preview) {
    this.#preview = preview;
    const { count } = preview;
    this.title.textContent = count === 1 ? "Stop 1 container" : `Stop ${count.toLocaleString("en")} containers`;
    const order = element("p", {}, count ? "Children before their parents, in this order:" : "Nothing of it is live.");
    const list = element("ol", { class: "c-list", tabindex: "0", "aria-label": "What will stop" });
    list.append(...preview.would_stop.map(item));
    const more = `and ${preview.left_out.toLocaleString("en")} more`;
    const left = preview.left_out ? [element("p", { class: "c-small" }, more)] : [];
    this.body.replaceChildren(order, list, ...left, ...this.#wishes());
    this.go.disabled = count === 0;
    this.go.textContent = this.title.textContent;
  }

  /** Kept over a second preview: what was typed stays. */
  #wishes() {
    const look = { class: "form-control", autocomplete: "off" };
    this.reason ??= element("input", { ...look, maxlength: "500" });
    this.grace ??= element("input", { ...look, type: "number", min: "0", step: "any", placeholder: "each its own" });
    const field = (words, input) => element("label", { class: "form-label c-field" }, words, input);
    const fields = [field("Reason", this.reason), field("Grace, in seconds", this.grace)];
    return [element("div", { class: "c-fields" }, fields)];
  }

  async #stop(force = false) {
    const shown = this.#preview.left_out ? this.#preview.count : this.#preview.would_stop.map((each) => each.id);
    const grace = this.grace.value === "" ? null : Number(this.grace.value);
    const wish = { reason: this.reason.value.trim() || null, grace: force ? null : grace, force };
    const answer = await this.#post({ ...wish, expect: force ? null : shown });
    if (answer) this.#follow(answer);
  }

  /** From here on nodes drive the stop: the dialog only watches, and may be closed. */
  #follow(answer) {
    this.outcome?.end();
    this.outcome = new Outcome(this.api, answer, this.#preview.would_stop, (stop) => this.#ended(stop));
    this.title.textContent = "Stopping";
    this.body.replaceChildren(this.outcome.node);
    this.go.remove();
    this.kill?.remove();
    this.kill = this.#button("Kill now", "btn-danger", () => this.#try(() => this.#stop(true)));
    this.buttons.append(this.kill);
    this.buttons.firstElementChild.focus();
  }

  #ended(stop) {
    this.kill.remove();
    const failed = Object.keys(stop.failed).length;
    this.title.textContent = failed ? `${failed} could not be stopped` : "Stopped";
  }

  async #try(act) {
    const { body } = this;
    this.message.textContent = "";
    const buttons = [...this.node.querySelectorAll(".btn-danger")];
    buttons.forEach((button) => (button.disabled = true));
    try {
      await act();
    } catch (error) {
      if (error.status === undefined) throw error;
      if (body === this.body) this.#refused(error);
    } finally {
      buttons.forEach((button) => (button.disabled = this.#preview === null || this.#preview.count === 0));
    }
  }

  #refused(error) {
    if (error.status === 409 && error.body.would_stop) this.#show(error.body);
    this.message.textContent = error.message;
  }

  #close() {
    this.outcome?.end();
    this.outcome = this.reason = this.grace = this.kill = undefined;
    this.closed(this.#id);
  }
}

function item({ id, type, status }) {
  const name = element("span", { class: "c-id" }, id);
  return element("li", {}, name, " ", element("span", { class: "c-small" }, type), " ", badge(status));
}
