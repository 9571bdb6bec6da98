/** What a page with trees does when it is asked: fold, show more, stop. */

import { StopDialog } from "./stop.js";

export class Page {
  constructor(root, api) {
    const { pages, mayAct, whyNot } = root.dataset;
    Object.assign(this, { root, api, pages, whyNot, mayAct: mayAct === "true" });
    this.dialog = new StopDialog(api, (id) => this.poll.now().then(() => this.grid.focus(id)));
  }

  urlOf(id) {
    return `${this.pages}/${encodeURIComponent(id)}`;
  }

  stop(row) {
    this.dialog.open(row.id);
  }

  fold(id, open) {
    this.tree.fold(id, open);
    this.grid.draw();
    if (open) this.poll.now();
  }

  more({ parent, statuses, isBefore }) {
    if (isBefore) this.tree.back(parent, statuses);
    else this.tree.more(parent, statuses);
    this.grid.draw();
    this.poll.now();
  }
}
