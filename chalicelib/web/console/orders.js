/**
 * The orders that are on the screen, brought up to date by snapshots (REST) and events (WebSocket).
 *
 * Both carry `seq`, which counts an order's events without a gap. So whatever comes late, twice or out of turn is told
 * by it: what is seen already is dropped, and where something is missing the history is read.
 */

/** The steps of an order that goes well. */
export const STEPS = ["pending", "routing", "building", "submitted", "confirmed"];
const ENDED = new Set(["confirmed", "failed", "cancelled", "expired"]);
const CANCELLABLE = new Set(["pending", "routing", "building"]);
const MOST_ENDED = 1000;

/**
 * @typedef {object} OrderEvent
 * @property {string} orderId
 * @property {string} event
 * @property {string} status
 * @property {number} seq
 * @property {string} timestamp
 * @property {Record<string, any>} details
 */

/**
 * An order: what `GET /api/orders/{id}` says of it, numbers as texts, and what only its events say.
 *
 * @typedef {Record<string, any> & { orderId: string, seq: number, status: string, attempts: number, retry?: any,
 *   reason?: string }} Order
 */

/** @param {Order} order */
export function hasEnded(order) {
  return ENDED.has(order.status);
}

/** @param {Order} order */
export function isCancellable(order) {
  return CANCELLABLE.has(order.status);
}

/** @param {Order} order */
export function pairOf(order) {
  return `${order.tokenIn}/${order.tokenOut}`;
}

/** Return how far an order got: the index of its step, or of the one at which it ended. @param {Order} order */
export function stepOf(order) {
  if (!hasEnded(order) || order.status === "confirmed") return STEPS.indexOf(order.status);
  if (order.txHash) return 3;
  if (order.minAmountOut || order.maxAmountOut) return 2;
  return order.routeMeta ? 1 : 0;
}

/** Fires `change` with the order as `detail`, and `clear`. */
export class Orders extends EventTarget {
  /** @type {Map<string, Order>} */
  #all = new Map();

  /** @returns {Order[]} newest first */
  get newestFirst() {
    return [...this.#all.values()].sort(
      (one, other) => compare(other.createdAt, one.createdAt) || compare(other.orderId, one.orderId),
    );
  }

  get size() {
    return this.#all.size;
  }

  /** @param {string} orderId */
  get(orderId) {
    return this.#all.get(orderId);
  }

  /** Forget all, as another user's page. */
  clear() {
    this.#all.clear();
    this.dispatchEvent(new Event("clear"));
  }

  /**
   * Take what a REST answer says of an order, unless more is known by now.
   *
   * @returns {boolean} whether it was news
   */
  takeSnapshot(answer) {
    const known = this.#all.get(answer.orderId);
    const seq = Number(answer.seq);
    if (known && known.seq >= seq) return false;
    this.#put({ ...known, ...answer, seq, attempts: Number(answer.attempts), retry: undefined });
    return true;
  }

  /** Take an order that was just placed: its id is known, and what was asked for. */
  takePlaced(orderId, status, asked) {
    if (this.#all.has(orderId)) return;
    const { amount, ...others } = asked;
    this.#put({ ...others, orderId, status, amountIn: amount, seq: 0, attempts: 0, createdAt: new Date().toISOString() });
  }

  /**
   * Take an event of the stream or of a history.
   *
   * @param {any} message its `seq` is a text, as all numbers are
   * @returns {"taken" | "seen" | "gap" | "unknown"} what it was
   */
  takeEvent(message) {
    const known = this.#all.get(message.orderId);
    const seq = Number(message.seq);
    if (!known) return "unknown";
    if (seq <= known.seq) return "seen";
    if (seq > known.seq + 1) return "gap";
    this.#put({ ...known, ...changesOf(message), seq, status: message.status, updatedAt: message.timestamp });
    return "taken";
  }

  /** @param {Order} order */
  #put(order) {
    this.#all.set(order.orderId, order);
    if (this.#all.size > MOST_ENDED) this.#dropOldest();
    this.dispatchEvent(new CustomEvent("change", { detail: order }));
  }

  #dropOldest() {
    const oldest = this.newestFirst.reverse().find(hasEnded);
    if (oldest) {
      this.#all.delete(oldest.orderId);
      this.dispatchEvent(new CustomEvent("drop", { detail: oldest }));
    }
  }
}

/** Return what an event changes of its order, besides status and seq. */
function changesOf({ event, details, timestamp }) {
  switch (event) {
    case "pending":
      return { ...accepted(details), createdAt: timestamp };
    case "waiting":
      return { waitsFor: details.waitingFor.launch ? "launch" : "price", retry: undefined };
    case "triggered":
      return { waitsFor: null, triggeredAt: timestamp };
    case "routing":
      return { routeMeta: details, chosenDex: details.chosen, retry: undefined };
    case "building":
      return { minAmountOut: details.minAmountOut, maxAmountOut: details.maxAmountOut };
    case "submitted":
      return { txHash: details.txHash, retry: undefined };
    case "retrying":
      return { attempts: Number(details.attempt), maxRetries: details.maxRetries, lastError: details.error, retry: details };
    case "confirmed":
      return { txHash: details.txHash, executedPrice: details.executedPrice, amountOut: details.amountOut };
    case "failed":
      return { lastError: details.error, attempts: Number(details.attempts), retry: undefined };
    case "cancelled":
    case "expired":
      return { reason: details.reason, waitsFor: null, retry: undefined };
    case "redriven":
      return { attempts: 0, lastError: null, txHash: null, routeMeta: null };
    default:
      return {};
  }
}

function accepted({ amount, ...asked }) {
  return { ...asked, amountIn: amount };
}

function compare(one, other) {
  return one < other ? -1 : one > other ? 1 : 0;
}
