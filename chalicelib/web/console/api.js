/** The engine's REST API, as everybody has it. Addresses are relative to the page, so any prefix before it will do. */

import { parseExact } from "./exact.js";

const PATIENCE_MS = 20_000;

/** What the engine refused, and why (RFC 9457). */
export class Problem extends Error {
  /** @param {number} status @param {any} body */
  constructor(status, body) {
    super(body?.detail ?? body?.message ?? `The engine answered with the status ${status}.`);
    this.status = status;
    /** @type {Record<string, string>} what is wrong with which field */
    this.errors = body?.errors ?? {};
    this.retryAfter = Number(body?.retryAfter ?? 0);
  }

  /** Whether the same request may be answered otherwise in a moment. */
  get passes() {
    return this.status >= 500;
  }
}

/** No answer came: whether the engine has heard the request, nobody knows. */
export class Unreachable extends Error {
  constructor() {
    super(navigator.onLine ? "The engine does not answer." : "You are offline.");
  }
}

export class Api {
  /** @param {import("./session.js").Session} session */
  constructor(session) {
    this.session = session;
  }

  /** @param {Record<string, string>} [query] @param {AbortSignal} [signal] */
  get(path, query, signal) {
    return this.#call("GET", query ? `${path}?${new URLSearchParams(query)}` : path, { signal });
  }

  /** @param {any} [body] @param {Record<string, string>} [headers] */
  post(path, body, headers = {}) {
    const json = body === undefined ? {} : { body: JSON.stringify(body) };
    return this.#call("POST", path, { ...json, headers: { "Content-Type": "application/json", ...headers } });
  }

  delete(path) {
    return this.#call("DELETE", path, {});
  }

  /** @param {RequestInit} request */
  async #call(method, path, { headers, signal, ...request }) {
    const { user, headers: proof } = this.session;
    const limit = AbortSignal.timeout(PATIENCE_MS);
    const { status, text } = await this.#fetch(path, {
      ...request,
      method,
      headers: { ...headers, ...proof },
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    });
    // Whoever has signed in meanwhile is not shown what another has asked for.
    if (this.session.user !== user) throw new DOMException("Another user has signed in.", "AbortError");
    const body = text && readable(text);
    if (status >= 400) {
      if (status === 401 && this.session.headers.Authorization === proof.Authorization) this.session.expire();
      throw new Problem(status, body);
    }
    return body;
  }

  async #fetch(path, request) {
    try {
      const answer = await fetch(path, request);
      return { status: answer.status, text: await answer.text() };
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Unreachable();
    }
  }
}

/** Read an answer; what stands before the engine may answer with something else than JSON. */
function readable(text) {
  try {
    return parseExact(text);
  } catch {
    return undefined;
  }
}
