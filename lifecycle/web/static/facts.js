/** What is known of one container, as lists of names and values. */

import { time, withTimes } from "./clock.js";
import { element } from "./element.js";
import { progress } from "./row.js";
import { badge } from "./statuses.js";

const NONE = ["[]", "()", "{}"];

/** Rows of Flower's detail list; what is not there is left out. */
export function facts(container, page) {
  const times = ["created_at", "started_at", "wake_at", "stopped_at"];
  const rows = [
    ["Type", container.container_type],
    ["Player", container.player_id],
    ["Tags", tags(container.tags, page)],
    ["Iteration", iteration(container)],
    ["Restarts", container.restart_count ? `${container.restart_count} of ${container.max_restarts}` : null],
    ["Node", container.node && [container.node, container.pid ? ` · process ${container.pid}` : ""]],
    ["Queue", container.queue],
    ...times.map((name) => [title(name), container[name] && time(container[name])]),
    ["Ended", container.exit_message && [container.exit_code ?? "", " ", pre(container.exit_message)]],
    ["Stop", container.stop_by && stop(container)],
    ["Stop failed", container.stop_error && pre(container.stop_error)],
    ["State", object(container.state)],
    ["Result", container.result === null ? null : pre(JSON.stringify(container.result))],
    ["Detached", container.detached ? "yes: not stopped with its parent" : null],
  ];
  return rows.filter(([, value]) => value !== null && value !== undefined && value !== "").map(fact);
}

export function argumentsOf({ args, kwargs }) {
  const given = [["Arguments", args], ["Keywords", kwargs]].filter(([, value]) => value && !NONE.includes(value));
  return given.map(([name, value]) => fact([name, pre(value)]));
}

/** Newest last, as it happened. */
export function timeline(history) {
  return history.map(({ at, to_status, epoch, node, by, why }) => {
    const who = [by, node && by !== node ? `on ${node}` : null, epoch ? `run ${epoch}` : null];
    const small = element("div", { class: "c-small" }, who.filter(Boolean).join(" · "));
    const said = why ? element("div", {}, withTimes(why)) : null;
    const when = element("div", { class: "c-when" }, time(at));
    return element("li", {}, when, element("div", {}, badge(to_status), said, small));
  });
}

function fact([name, value]) {
  return element("div", { class: "detail-row" }, element("dt", {}, name), element("dd", {}, value));
}

function tags(found, page) {
  const pairs = Object.entries(found ?? {});
  if (!pairs.length) return null;
  return pairs.map(([key, value]) => {
    const attributes = { type: "button", class: "badge c-tag", title: "All containers with it" };
    return element("button", { ...attributes, onclick: () => page.tag(`${key}=${value}`) }, `${key}=${value}`);
  });
}

function iteration({ current_iteration, max_iterations }) {
  return max_iterations === 1 ? null : progress([current_iteration, max_iterations]);
}

function stop({ stop_by, stop_reason, stop_deadline }) {
  const until = stop_deadline ? [", killed at ", time(stop_deadline)] : [];
  return [`by ${stop_by}`, stop_reason ? `: ${stop_reason}` : "", until];
}

function object(state) {
  return state && Object.keys(state).length ? pre(JSON.stringify(state, null, 2)) : null;
}

function pre(text) {
  return element("pre", { class: "detail-code" }, String(text));
}

function title(name) {
  const word = name.replace("_at", "");
  return word === "wake" ? "Next run" : word[0].toUpperCase() + word.slice(1);
}
