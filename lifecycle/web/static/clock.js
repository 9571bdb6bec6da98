/** The server's clock: ages are counted by it, however wrong this machine's is. */

import { element } from "./element.js";

const ISO = /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)/g;
const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
let skew = 0;

/** Learns the difference from an answer's Date, which has whole seconds: a smaller change is none. */
export function heard(date) {
  const measured = Date.parse(date) + 500 - Date.now();
  if (Math.abs(measured - skew) > 1500) skew = measured;
}

export function now() {
  return Date.now() + skew;
}

/** "4 s", "12 min", "3 h 5 min", "2 d 4 h". */
export function span(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const first = UNITS.findIndex(([, size]) => whole >= size);
  if (first < 0) return "0 s";
  const [name, size] = UNITS[first];
  const rest = UNITS[first + 1];
  const more = rest && name !== "min" ? Math.floor((whole % size) / rest[1]) : 0;
  return `${Math.floor(whole / size)} ${name}${more ? ` ${more} ${rest[0]}` : ""}`;
}

export function age(iso) {
  return span((now() - Date.parse(iso)) / 1000);
}

/** A time as this browser's people write it; the exact one, in UTC, on hovering. */
export function time(iso) {
  const at = new Date(iso);
  const today = at.toDateString() === new Date(now()).toDateString();
  const clock = at.toLocaleTimeString([], { hourCycle: "h23" });
  const words = today ? clock : `${at.toLocaleDateString()} ${clock}`;
  return element("time", { datetime: iso, title: `${at.toISOString().replace("T", " ").slice(0, 23)} UTC` }, words);
}

/** Text, with the times in it drawn as times. */
export function withTimes(text) {
  const parts = [];
  let end = 0;
  for (const found of text.matchAll(ISO)) {
    parts.push(text.slice(end, found.index), time(found[0]));
    end = found.index + found[0].length;
  }
  return [...parts, text.slice(end)];
}
