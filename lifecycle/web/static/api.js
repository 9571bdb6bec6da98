/** The JSON API: what it answers, and what it says when it does not. */

import { heard } from "./clock.js";

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
    const response = await this.#answer(`${path}${query(parameters)}`, { headers });
    if (response.status === 304) return response.text().then(() => null); // unread, it would count as cut off
    return { body: await response.json(), etag: response.headers.get("ETag") };
  }

  async post(path, body) {
    const headers = { Accept: "application/json", "Content-Type": "application/json" };
    if (this.xsrf) headers["X-XSRFToken"] = this.xsrf;
    const response = await this.#answer(path, { method: "POST", headers, body: JSON.stringify(body) });
    return response.json();
  }

  async #answer(path, options) {
    const response = await fetch(`${this.url}/${path}`, { credentials: "same-origin", ...options }).catch(() => {
      throw new ApiError(0, "unreachable", "Flower does not answer");
    });
    heard(response.headers.get("Date"));
    if (response.ok || response.status === 304) return response;
    const body = await response.json().catch(() => ({}));
    const { code = "error", message = `HTTP ${response.status}` } = body.error ?? {};
    throw new ApiError(response.status, code, message, body);
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
