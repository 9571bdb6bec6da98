/** The seven statuses: how they look, alone and as the bar of many. */

import { element } from "./element.js";

export const ACTIVE = ["RUNNING", "INTERRUPTED"];
export const STATUSES = ["RUNNING", "INTERRUPTED", "PENDING", "STOPPING", "COMPLETED", "FAILED", "STOPPED"];
export const LIVE = STATUSES.slice(0, 4);
export const ENDED = STATUSES.slice(4);

export function isLive(row) {
  return !ENDED.includes(row.status);
}

export function badge(status) {
  return element("span", { class: `badge c-status c-${status.toLowerCase()}` }, status);
}

export function stale() {
  const why = "Its node has not been heard of, or its time to stop is over";
  return element("span", { class: "badge c-stale", title: why }, "stale");
}

/** "38 running, 2 failed" */
export function words(counts) {
  const there = STATUSES.filter((status) => counts[status]);
  return there.map((status) => `${counts[status].toLocaleString("en")} ${status.toLowerCase()}`).join(", ");
}

export function only(statuses, counts = {}) {
  return Object.fromEntries(statuses.filter((status) => counts[status]).map((status) => [status, counts[status]]));
}

export function total(counts = {}) {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

/** A part for each status, as wide as it is many. */
export function bar(counts) {
  const parts = STATUSES.filter((status) => counts[status]).map((status) => {
    const part = element("span", { class: `c-part c-${status.toLowerCase()}` });
    part.style.flexGrow = counts[status];
    return part;
  });
  return element("span", { class: "c-bar", role: "img", "aria-label": words(counts), title: words(counts) }, parts);
}
