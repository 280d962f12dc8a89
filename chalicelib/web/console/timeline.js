/** An order's whole story: every event with its time, number and details, growing while it is looked at. */

import { button, byId, element } from "./dom.js";
import { duration, exact, preciseTime, time } from "./format.js";
import { hasEnded, isCancellable, pairOf } from "./orders.js";
import { quoteLines } from "./quote.js";
import { labelOf, transaction } from "./table.js";

const WORDS = {
  pending: "Accepted",
  waiting: "Waits",
  triggered: "Triggered",
  routing: "Routed",
  building: "Transaction signed",
  submitted: "Submitted",
  retrying: "Tries again",
  confirmed: "Confirmed",
  failed: "Failed",
  cancelled: "Cancelled",
  expired: "Expired",
  redriven: "Given new tries by an operator",
};
const IN_FORCE = { GTC: "until cancelled", IOC: "now or never" };

export class Timeline {
  #orderId = "";
  /** @type {Map<number, any>} */
  #events = new Map();
  #reading = false;
  #error = "";

  /**
   * @param {import("./orders.js").Orders} orders
   * @param {(orderId: string) => Promise<any[]>} readEvents
   * @param {(orderId: string) => Promise<void>} cancel
   */
  constructor(orders, readEvents, cancel) {
    this.orders = orders;
    this.readEvents = readEvents;
    this.cancel = cancel;
    this.dialog = /** @type {HTMLDialogElement} */ (byId("timeline"));
    this.head = element("div", { class: "timeline-head" });
    this.body = element("div", { class: "timeline-body" });
    this.close = button("Close", { class: "secondary" }, () => this.dialog.close());
    this.cancelButton = button("Cancel the order", { class: "secondary danger" }, async () => {
      this.cancelButton.disabled = true;
      await this.cancel(this.#orderId);
      this.cancelButton.disabled = false;
    });
    const foot = element("div", { class: "timeline-foot" }, this.cancelButton, this.close);
    this.dialog.append(this.head, this.body, foot);
    // A click on the backdrop is one on the dialog itself: its contents cover it.
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.dialog.close());
    orders.addEventListener("change", (event) => event.detail.orderId === this.#orderId && this.#update());
    orders.addEventListener("clear", () => this.dialog.close());
  }

  /** @param {string} orderId */
  open(orderId) {
    if (orderId !== this.#orderId) {
      this.#orderId = orderId;
      this.#events.clear();
    }
    this.#error = "";
    this.#draw();
    this.dialog.showModal();
    this.#update();
  }

  /** Take an event that came by the stream. */
  take(event) {
    if (event.orderId === this.#orderId) this.#events.set(Number(event.seq), event);
  }

  /** Draw, and read the history if an event of it is missing. */
  async #update() {
    const order = this.orders.get(this.#orderId);
    if (!order || !this.dialog.open) return;
    this.#draw();
    if (this.#reading || this.#events.size >= order.seq) return;
    this.#reading = true;
    try {
      for (const event of await this.readEvents(order.orderId)) this.take(event);
      this.#error = "";
    } catch (error) {
      this.#error = error.message;
    } finally {
      this.#reading = false;
      this.#draw();
    }
  }

  #draw() {
    const order = this.orders.get(this.#orderId);
    if (!order) return;
    this.head.replaceChildren(
      element("h2", { id: "timeline-title" }, element("span", { class: `side ${order.side === "buy" ? "buy" : "sell"}` }, order.side), pairOf(order)),
      element("p", { class: "status", "data-outcome": hasEnded(order) ? order.status : "moving" }, labelOf(order)),
      factsOf(order),
    );
    const events = [...this.#events.values()].sort((one, other) => Number(one.seq) - Number(other.seq));
    this.body.replaceChildren(
      element("ol", { class: "events" }, ...events.map((event, index) => entry(event, events[index - 1]))),
      ...(this.#error ? [element("p", { class: "refusal" }, `The history could not be read. ${this.#error}`)] : []),
      ...(!this.#error && events.length < order.seq ? [element("p", { class: "hint" }, "Reading the history …")] : []),
    );
    this.cancelButton.hidden = !isCancellable(order);
  }
}

function factsOf(order) {
  const waits = order.orderType !== "market";
  const facts = {
    Order: order.orderId,
    Type: order.orderType,
    User: order.userId,
    Key: order.clientOrderId,
    Amount: order.amountIn && `${exact(order.amountIn)} ${order.tokenIn}`,
    Limit: order.limitPrice && `${exact(order.limitPrice)} ${order.tokenOut}`,
    Trigger: order.triggerPrice && `${exact(order.triggerPrice)} ${order.tokenOut}`,
    "In force": order.expiresAt ? `until ${time(order.expiresAt)}` : waits && IN_FORCE[order.timeInForce],
    Tries: order.attempts ? `${order.attempts}${order.maxRetries ? ` of ${order.maxRetries}` : ""}` : null,
  };
  const given = Object.entries(facts).filter(([, value]) => value);
  return element("dl", { class: "facts-grid" }, ...given.map(([name, value]) => pairElement(name, String(value))));
}

function pairElement(name, ...value) {
  return element("div", {}, element("dt", {}, name), element("dd", {}, ...value));
}

function entry(event, before) {
  const since = before ? `+${duration(Date.parse(event.timestamp) - Date.parse(before.timestamp))}` : "";
  return element(
    "li",
    { "data-event": event.event, "data-seq": event.seq },
    element(
      "div",
      { class: "event-head" },
      element("strong", {}, WORDS[event.event] ?? event.event),
      element("span", { class: "hint seq" }, `#${event.seq}`),
      element("time", { datetime: event.timestamp, title: event.timestamp }, preciseTime(event.timestamp)),
      element("span", { class: "hint since" }, since),
    ),
    detailsOf(event.details),
  );
}

function detailsOf({ quotes, chosen, errors, ...details }) {
  return element(
    "div",
    { class: "details" },
    quotes ? quoteLines({ quotes, chosen, errors }) : null,
    element("dl", {}, ...Object.entries(details).map(([name, value]) => pairElement(spaced(name), ...shown(name, value)))),
  );
}

/** Return what to show of a detail, whatever it holds. */
function shown(name, value) {
  if (name === "txHash") return [transaction(String(value), { whole: true })];
  if (name === "explorerUrl") return [outside(String(value))];
  if (name === "delayMs") return [duration(Number(value))];
  if (value === null) return ["–"];
  if (Array.isArray(value)) return [value.map(String).join(", ")];
  if (typeof value === "object") return [element("dl", {}, ...Object.entries(value).map(([key, inner]) => pairElement(spaced(key), ...shown(key, inner))))];
  return [/^-?\d/.test(String(value)) ? exact(String(value)) : String(value)];
}

/** Return a link that leads away from here, if it is one that may be followed. */
function outside(address) {
  if (!address.startsWith("https://")) return address;
  return element("a", { href: address, target: "_blank", rel: "noopener noreferrer" }, new URL(address).host);
}

/** Write a field's name in words: minAmountOut as min amount out. */
function spaced(name) {
  return name.replace(/([A-Z])/g, " $1").toLowerCase().replace(/ ms$/, "");
}
