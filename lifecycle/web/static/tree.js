/** A tree as the list of its lines: what the answer had, and the children that were asked for. */

import { at } from "./api.js";
import { ENDED, LIVE, only, total, words } from "./statuses.js";

const STEP = 200;
const MOST = 1000;

export class Tree {
  #parts = new Map(); // children that were asked for, the live and the ended ones of each parent
  #known = new Map(); // by id: the row as the last answer had it

  constructor(api, folds) {
    Object.assign(this, { api, folds, rows: [] });
  }

  show(rows) {
    this.rows = rows;
    this.#known.clear();
    this.#index(rows);
    this.folds.decide(rows);
  }

  /** The children of one container, which is no line itself. */
  root(id, children) {
    this.top = { id, children };
    this.more(id, LIVE);
    this.more(id, ENDED);
  }

  /** Every visible line, from the top: a row with its level, or what stands for the rest of its siblings. */
  lines() {
    return this.top ? this.#inside(this.top, 1, new Set([this.top.id])) : this.#below(this.rows, 1, new Set());
  }

  fold(id, open) {
    this.folds.set(id, open);
    if (open) return;
    for (const statuses of [LIVE, ENDED]) this.#parts.delete(key(id, statuses));
  }

  /** Show some more of a container's children, the live or the ended ones. */
  more(id, statuses) {
    const part = this.#parts.get(key(id, statuses));
    if (part) part.grow();
    else this.#parts.set(key(id, statuses), new Part(id, statuses));
  }

  /** Read what was asked for, and what is unfolded but was not sent along. */
  async refresh() {
    for (const { row, open } of this.lines()) {
      const missing = open && !row.shown && total(only(LIVE, row.children)) > 0;
      if (missing && !this.#parts.has(key(row.id, LIVE))) this.more(row.id, LIVE);
    }
    await Promise.all([...this.#parts.values()].map((part) => part.read(this.api)));
  }

  #below(rows, level, above) {
    return rows.flatMap((given) => {
      const row = this.#known.get(given.id) ?? given;
      if (above.has(row.id)) return [];
      const has = total(row.children) > 0 || row.shown?.length > 0;
      const open = has ? this.folds.isOpen(row) : null;
      const line = { key: row.id, row, level, open };
      return open ? [line, ...this.#inside(row, level + 1, new Set([...above, row.id]))] : [line];
    });
  }

  #inside(row, level, above) {
    const sent = without(row.shown ?? [], this.#rowsOf(row, LIVE));
    const live = [...this.#rowsOf(row, LIVE), ...sent];
    const ended = without(this.#rowsOf(row, ENDED), live);
    const rest = (statuses) => this.#rest(row, statuses, [...live, ...ended], level);
    return [
      ...this.#below(live, level, above),
      ...rest(LIVE),
      ...this.#below(ended, level, above),
      ...rest(ENDED),
    ];
  }

  #rowsOf(row, statuses) {
    return this.#parts.get(key(row.id, statuses))?.rows ?? [];
  }

  #rest(row, statuses, shown, level) {
    const left = { ...only(statuses, row.children) };
    for (const each of shown) if (left[each.status]) left[each.status] -= 1;
    if (total(left) === 0) return [];
    const part = this.#parts.get(key(row.id, statuses));
    if (part?.rows && !part.more) return [];
    const text = part && !part.rows ? "Looking…" : `${words(left)} not shown`;
    const line = { key: `${key(row.id, statuses)} rest`, parent: row.id, statuses, level, text };
    return [{ ...line, canShow: !part || (part.rows && part.limit < MOST) }];
  }

  #index(rows) {
    for (const row of rows) {
      this.#known.set(row.id, row);
      this.#index(row.shown ?? []);
    }
  }
}

class Part {
  constructor(id, statuses) {
    Object.assign(this, { id, statuses, limit: STEP, rows: null, more: false, etag: null });
  }

  grow() {
    this.limit = Math.min(this.limit + STEP, MOST);
    this.etag = null;
  }

  async read(api) {
    const { limit, etag } = this;
    const parameters = { status: this.statuses.join(","), limit };
    try {
      const answer = await api.get(at(this.id, "children"), parameters, etag);
      if (answer && limit === this.limit) {
        Object.assign(this, { rows: answer.body.children, more: answer.body.more, etag: answer.etag });
      }
    } catch (error) {
      if (error.status !== 404) throw error;
      Object.assign(this, { rows: [], more: false }); // pruned meanwhile
    }
  }
}

function key(id, statuses) {
  return `${id} ${statuses.join(",")}`;
}

function without(rows, others) {
  const there = new Set(others.map((each) => each.id));
  return rows.filter((each) => !there.has(each.id));
}
