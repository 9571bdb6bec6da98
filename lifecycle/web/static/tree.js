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
    this.#ask(id, LIVE);
    this.#ask(id, ENDED);
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

  /** Another question: what was asked for was asked of other lines. */
  forget() {
    this.#parts.clear();
  }

  /** Show some more of a container's children, the live or the ended ones. */
  more(id, statuses) {
    if (!this.#ask(id, statuses)) this.#parts.get(key(id, statuses)).grow();
  }

  /** Show those before them again. */
  back(id, statuses) {
    this.#parts.get(key(id, statuses))?.back();
  }

  /** Read what is unfolded and was not sent along, and what was asked for; one that fails keeps no other waiting. */
  async refresh() {
    const open = this.lines().filter((line) => line.open);
    this.#keep(new Set([this.top?.id, ...open.map(({ row }) => row.id)]));
    for (const { row } of open) {
      if (!row.shown && total(only(LIVE, row.children)) > 0) this.#ask(row.id, LIVE);
    }
    const read = await Promise.allSettled([...this.#parts].map(([name, part]) => this.#read(name, part)));
    const failed = read.find(({ status }) => status === "rejected");
    if (failed) throw failed.reason;
  }

  /** True if it had not been asked for. */
  #ask(id, statuses) {
    const name = key(id, statuses);
    const isNew = !this.#parts.has(name);
    if (isNew) this.#parts.set(name, new Part(id, statuses));
    return isNew;
  }

  /** Nobody asks for children that nobody sees. */
  #keep(parents) {
    for (const [name, part] of this.#parts) if (!parents.has(part.id)) this.#parts.delete(name);
  }

  async #read(name, part) {
    try {
      await part.read(this.api);
    } catch (error) {
      if (error.status !== 404) throw error;
      if (this.#parts.get(name) === part) this.#parts.delete(name); // pruned meanwhile
    }
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
      ...this.#before(row, LIVE, level),
      ...this.#below(live, level, above),
      ...rest(LIVE),
      ...this.#before(row, ENDED, level),
      ...this.#below(ended, level, above),
      ...rest(ENDED),
    ];
  }

  #rowsOf(row, statuses) {
    return this.#parts.get(key(row.id, statuses))?.rows ?? [];
  }

  #before(row, statuses, level) {
    const part = this.#parts.get(key(row.id, statuses));
    if (!part?.isFurther) return [];
    const text = `the ${MOST.toLocaleString("en")} before`;
    const line = { key: `${key(row.id, statuses)} before`, parent: row.id, statuses, level, text };
    return [{ ...line, isBefore: true, canShow: true }];
  }

  #rest(row, statuses, shown, level) {
    const left = { ...only(statuses, row.children) };
    for (const each of shown) if (left[each.status]) left[each.status] -= 1;
    if (total(left) === 0) return [];
    const part = this.#parts.get(key(row.id, statuses));
    if (part?.rows && !part.more) return [];
    const others = part?.isFurther ? `${part.more.toLocaleString("en")} more` : words(left);
    const text = part && !part.rows ? "Looking…" : `${others} not shown`;
    const line = { key: `${key(row.id, statuses)} rest`, parent: row.id, statuses, level, text };
    return [{ ...line, canShow: !part || part.rows !== null }];
  }

  #index(rows) {
    for (const row of rows) {
      this.#known.set(row.id, row);
      this.#index(row.shown ?? []);
    }
  }
}

/** Some children of one container: more and more of them up to a thousand, then the next thousand instead. */
class Part {
  #after = []; // the last child of each thousand that was left behind
  #limit = STEP;
  #etag = null;

  constructor(id, statuses) {
    Object.assign(this, { id, statuses, rows: null, more: false });
  }

  get isFurther() {
    return this.#after.length > 0;
  }

  grow() {
    const last = this.rows?.at(-1)?.id;
    if (this.#limit < MOST) this.#limit += STEP;
    else if (last && last !== this.#after.at(-1)) this.#after.push(last);
    this.#etag = null;
  }

  back() {
    this.#after.pop();
    this.#etag = null;
  }

  async read(api) {
    const asked = { status: this.statuses.join(","), limit: this.#limit, after: this.#after.at(-1) };
    try {
      const answer = await api.get(at(this.id, "children"), asked, this.#etag);
      if (!answer || asked.limit !== this.#limit || asked.after !== this.#after.at(-1)) return;
      Object.assign(this, { rows: answer.body.children, more: answer.body.more });
      this.#etag = answer.etag;
    } catch (error) {
      if (error.status !== 400 || !this.isFurther) throw error;
      this.#after = []; // that child was pruned meanwhile: from the first again
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
