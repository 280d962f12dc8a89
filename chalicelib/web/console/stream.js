/**
 * One WebSocket for all orders that have not ended.
 *
 * It reconnects by itself, and asks for each order's events after the last one that is known. It never decides what an
 * event means: it hands on what comes, and tells how the connection is.
 */

import { parseExact } from "./exact.js";

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;
const QUIET_MS = 30_000;
/** After so long a silence a ping asks whether anybody is there: API Gateway closes what is idle for ten minutes. */
const ANSWER_MS = 10_000;
const AT_ONCE = 150;
const PER_SECOND = 15;
/** Slower than the engine allows (200 messages at once, 20 a second), so that it never has to refuse one. */

/** @typedef {"connecting" | "live" | "reconnecting" | "offline" | "closed"} Connection */

/** Fires `state`, and `message` with what came as `detail`. */
export class Stream extends EventTarget {
  /** @type {WebSocket | null} */
  #socket = null;
  #subscribed = new Set();
  #failures = 0;
  #reconnectTimer = 0;
  #pingTimer = 0;
  #sendTimer = 0;
  #budget = AT_ONCE;
  #budgetAt = 0;
  #running = false;

  /**
   * @param {{ url: string, most: number, ticket: () => Promise<string | null>,
   *   wanted: () => { orderId: string, seq: number }[] }} options `wanted` are the orders to listen to, the most
   *   important first, each with the last event that is known; `most` is how many a connection may listen to
   */
  constructor({ url, most, ticket, wanted }) {
    super();
    this.url = url;
    this.most = most;
    this.ticket = ticket;
    this.wanted = wanted;
    /** @type {Connection} */
    this.state = "closed";
    addEventListener("online", () => this.#hurry());
    addEventListener("offline", () => this.#running && this.#lose("offline"));
    document.addEventListener("visibilitychange", () => document.hidden || this.#hurry());
  }

  start() {
    if (this.#running) return;
    this.#running = true;
    this.#failures = 0;
    this.#become("connecting");
    this.#connect();
  }

  stop() {
    this.#running = false;
    this.#lose("closed");
  }

  /** Open the connection anew: what it listens to may have been lost on the other side. */
  restart() {
    if (this.#running && this.state === "live") this.#retry();
  }

  /** Subscribe to what is wanted and not subscribed yet; what has ended the engine drops itself. */
  synchronize() {
    if (this.state !== "live") return;
    clearTimeout(this.#sendTimer);
    const wanted = this.wanted().slice(0, this.most);
    const ids = new Set(wanted.map(({ orderId }) => orderId));
    for (const orderId of this.#subscribed) {
      if (!ids.has(orderId)) this.#subscribed.delete(orderId);
    }
    for (const { orderId, seq } of wanted) {
      if (this.#subscribed.has(orderId)) continue;
      if (!this.#afford()) {
        this.#sendTimer = setTimeout(() => this.synchronize(), 1000 / PER_SECOND);
        return;
      }
      this.#send({ action: "subscribe", orderId, afterSeq: seq });
      this.#subscribed.add(orderId);
    }
  }

  /** @param {string} orderId */
  listensTo(orderId) {
    return this.state === "live" && this.#subscribed.has(orderId);
  }

  async #connect() {
    clearTimeout(this.#reconnectTimer);
    if (!navigator.onLine) return this.#lose("offline");
    let address;
    try {
      const ticket = await this.ticket();
      address = ticket === null ? this.url : `${this.url}?${new URLSearchParams({ ticket })}`;
    } catch {
      return this.#retry();
    }
    if (!this.#running || this.#socket) return;
    const socket = new WebSocket(address);
    this.#socket = socket;
    socket.onopen = () => this.#opened(socket);
    socket.onmessage = ({ data }) => this.#received(data);
    socket.onclose = () => socket === this.#socket && this.#retry();
  }

  #opened(socket) {
    if (socket !== this.#socket) return;
    this.#failures = 0;
    this.#budget = AT_ONCE;
    this.#budgetAt = performance.now();
    this.#subscribed.clear();
    this.#become("live");
    this.#listen();
    this.synchronize();
  }

  #received(data) {
    this.#listen();
    const message = parseExact(data);
    if (message.event === "error" && message.error.status === "429") return this.#retry();
    this.dispatchEvent(new CustomEvent("message", { detail: message }));
  }

  /** Wait for a sign of life, and ask for one when it is quiet for long. */
  #listen() {
    clearTimeout(this.#pingTimer);
    this.#pingTimer = setTimeout(() => {
      this.#send({ action: "ping" });
      this.#pingTimer = setTimeout(() => this.#retry(), ANSWER_MS);
    }, QUIET_MS);
  }

  #send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #afford() {
    const now = performance.now();
    this.#budget = Math.min(AT_ONCE, this.#budget + ((now - this.#budgetAt) / 1000) * PER_SECOND);
    this.#budgetAt = now;
    if (this.#budget < 1) return false;
    this.#budget -= 1;
    return true;
  }

  #retry() {
    if (!this.#running) return;
    this.#lose(navigator.onLine ? "reconnecting" : "offline");
    // Not all at the same moment: whoever lost the engine together comes back apart.
    const pause = Math.min(FIRST_PAUSE_MS * 2 ** this.#failures, LONGEST_PAUSE_MS) * (0.5 + Math.random() / 2);
    this.#failures += 1;
    this.#reconnectTimer = setTimeout(() => this.#connect(), pause);
  }

  #hurry() {
    if (this.#running && !this.#socket && navigator.onLine) {
      this.#become("reconnecting");
      this.#connect();
    }
  }

  #lose(state) {
    for (const timer of [this.#reconnectTimer, this.#pingTimer, this.#sendTimer]) clearTimeout(timer);
    const socket = this.#socket;
    this.#socket = null;
    this.#subscribed.clear();
    socket?.close();
    this.#become(state);
  }

  /** @param {Connection} state */
  #become(state) {
    if (this.state === state) return;
    this.state = state;
    this.dispatchEvent(new Event("state"));
  }
}
