/** The dialog of a stop: what would stop, exactly; then what became of it. */

import { at } from "./api.js";
import { element } from "./element.js";
import { Outcome } from "./outcome.js";
import { badge } from "./statuses.js";

export class StopDialog {
  #turn = null; // whose dialog this is; an answer that an earlier one asked for is not drawn

  constructor(api, closed) {
    Object.assign(this, { api, closed });
    this.node = element("dialog", { class: "c-dialog", "aria-labelledby": "stop-title" });
    this.node.addEventListener("close", () => this.#close());
    document.body.append(this.node);
  }

  async open(id) {
    this.#forget();
    const turn = { id, preview: null };
    this.#turn = turn;
    this.#build();
    this.node.showModal();
    await this.#ask(turn, { dry_run: true }, (preview) => this.#show(preview));
  }

  #build() {
    this.title = element("h2", { class: "modal-title", id: "stop-title" }, "Stop");
    this.body = element("div", { class: "c-dialog-body" }, element("p", {}, "Looking what would stop…"));
    this.message = element("p", { class: "c-dialog-message", role: "alert" });
    this.go = this.#button("Stop", "btn-danger", () => this.#stop(this.#turn));
    this.go.disabled = true;
    const close = this.#button("Close", "btn-outline-secondary", () => this.node.close());
    this.buttons = element("div", { class: "c-dialog-buttons" }, close, this.go);
    this.node.replaceChildren(this.title, this.body, this.message, this.buttons);
  }

  #button(words, look, act) {
    return element("button", { type: "button", class: `btn ${look}`, onclick: act }, words);
  }

  #show(preview) {
    this.#turn.preview = preview;
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

  #stop(turn, force = false) {
    const { left_out, count, would_stop } = turn.preview;
    const shown = left_out ? count : would_stop.map((each) => each.id);
    const grace = this.grace.value === "" ? null : Number(this.grace.value);
    const wish = { reason: this.reason.value.trim() || null, grace: force ? null : grace, force };
    return this.#ask(turn, { ...wish, expect: force ? null : shown }, (answer) => this.#follow(turn, answer));
  }

  /** From here on nodes drive the stop: the dialog only watches, and may be closed. */
  #follow(turn, answer) {
    this.outcome?.end();
    this.outcome = new Outcome(this.api, answer, turn.preview.would_stop, (failed) => this.#ended(failed));
    this.title.textContent = "Stopping";
    this.body.replaceChildren(this.outcome.node);
    this.go.remove();
    this.kill?.remove();
    this.kill = this.#button("Kill now", "btn-danger", () => this.#stop(turn, true));
    this.buttons.append(this.kill);
    this.buttons.firstElementChild.focus();
  }

  #ended(failed) {
    this.kill.remove();
    this.title.textContent = failed ? `${failed} could not be stopped` : "Stopped";
  }

  /** What is answered is drawn where it was asked, or not at all. */
  async #ask(turn, wish, drawn) {
    const isCurrent = () => turn === this.#turn;
    const buttons = [...this.node.querySelectorAll(".btn-danger")];
    this.message.textContent = "";
    buttons.forEach((button) => (button.disabled = true));
    try {
      const answer = await this.api.post(at(turn.id, "stop"), wish);
      if (isCurrent()) drawn(answer);
    } catch (error) {
      if (error.status === undefined) throw error;
      if (isCurrent()) this.#refused(error);
    } finally {
      buttons.forEach((button) => (button.disabled = !turn.preview?.count));
    }
  }

  #refused(error) {
    if (error.status === 409 && error.body.would_stop) this.#show(error.body);
    this.message.textContent = error.message;
  }

  #close() {
    if (this.node.open) return; // opened again before this was told
    const { id } = this.#turn;
    this.#forget();
    this.closed(id);
  }

  #forget() {
    this.outcome?.end();
    this.outcome = this.reason = this.grace = this.kill = undefined;
    this.#turn = null;
  }
}

function item({ id, type, status }) {
  const name = element("span", { class: "c-id" }, id);
  return element("li", {}, name, " ", element("span", { class: "c-small" }, type), " ", badge(status));
}
