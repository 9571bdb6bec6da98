/** The JSON API: what it answers, and what it says when it does not. */

import { heard } from "./clock.js";

const READ = 20_000; // ms without an answer: it will not come, and what is drawn is not live
const ACT = 75_000; // a stop may wait for the database, and then for the broker

export class ApiError extends Error {
  constructor(status, code, message, body) {
    super(message);
    Object.assign(this, { status, code, body });
  }
}

export class Api {
  constructor({ api, xsrf }) {
    this.url = api;
    this.xsrf = xsrf;
  }

  /** The body and its ETag; null if it is still what `etag` names. */
  async get(path, parameters = {}, etag = null) {
    const headers = { Accept: "application/json", ...(etag ? { "If-None-Match": etag } : {}) };
    const { response, text } = await this.#answer(`${path}${query(parameters)}`, READ, { headers });
    return response.status === 304 ? null : { body: JSON.parse(text), etag: response.headers.get("ETag") };
  }

  async post(path, body) {
    const headers = { Accept: "application/json", "Content-Type": "application/json" };
    if (this.xsrf) headers["X-XSRFToken"] = this.xsrf;
    const { text } = await this.#answer(path, ACT, { method: "POST", headers, body: JSON.stringify(body) });
    return JSON.parse(text);
  }

  async #answer(path, patience, options) {
    const signal = AbortSignal.timeout(patience);
    const answer = await whole(`${this.url}/${path}`, { credentials: "same-origin", signal, ...options }).catch(() => {
      throw new ApiError(0, "unreachable", "Flower does not answer");
    });
    const { response, text } = answer;
    heard(response.headers.get("Date"));
    if (response.ok || response.status === 304) return answer;
    const body = told(text);
    const { code = "error", message = `HTTP ${response.status}` } = body.error ?? {};
    throw new ApiError(response.status, code, message, body);
  }
}

/** Head and body: a body that is cut off is no answer either. */
async function whole(url, options) {
  const response = await fetch(url, options);
  return { response, text: await response.text() };
}

/** What an error says of itself; a proxy may have sent a page. */
function told(text) {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
}

/** Where a container's own answers are. */
export function at(id, ...more) {
  return ["containers", encodeURIComponent(id), ...more].join("/");
}

function query(parameters) {
  const pairs = Object.entries(parameters).flatMap(([name, value]) => [value].flat().map((each) => [name, each]));
  const given = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return given.length ? `?${new URLSearchParams(given)}` : "";
}
