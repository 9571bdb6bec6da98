/** What is folded: as the user said, else as the size of the page wants it. Survives a reload and a way back. */

const KEY = "containers.folds";
const MANY = 150; // rows in an answer: more than that begin folded
const KEPT = 500;

export class Folds {
  #said = remembered();
  #many = null;

  isOpen(row) {
    return this.#said.get(row.id) ?? (Boolean(row.shown?.length) && (row.matches === false || !this.#many));
  }

  set(id, open) {
    this.#said.delete(id);
    this.#said.set(id, open);
    remember([...this.#said].slice(-KEPT));
  }

  /** The first answer to a question decides; later ones fold nothing under the user's hand. */
  decide(rows) {
    this.#many ??= count(rows) > MANY;
  }

  /** Another question. */
  forget() {
    this.#many = null;
  }
}

/** Nothing, where the browser keeps nothing, or something else under this name. */
function remembered() {
  try {
    return new Map(JSON.parse(sessionStorage.getItem(KEY)));
  } catch {
    return new Map();
  }
}

function remember(said) {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(said));
  } catch {
    // not kept: folds last as long as the page
  }
}

function count(rows) {
  return rows.reduce((sum, row) => sum + 1 + count(row.shown ?? []), 0);
}
