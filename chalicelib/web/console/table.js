/** The table of orders: a row each, which changes as its order moves. On a narrow screen the rows become cards. */

import { button, byId, element, number, write } from "./dom.js";
import { basisPoints, exact, numberParts, preciseTime, short, signed, time } from "./format.js";
import { notify } from "./notices.js";
import { STEPS, hasEnded, isCancellable, pairOf, stepOf } from "./orders.js";
import { quoteLines } from "./quote.js";

/** Fires `open` with an order's id, `filter`, and `more`. */
export class Table extends EventTarget {
  /** @type {Map<string, Row>} */
  #rows = new Map();
  #drawing = 0;

  /**
   * @param {import("./orders.js").Orders} orders
   * @param {(orderId: string) => Promise<void>} cancel
   */
  constructor(orders, cancel) {
    super();
    this.orders = orders;
    this.cancel = cancel;
    this.body = byId("order-rows");
    this.status = /** @type {HTMLSelectElement} */ (byId("filter-status"));
    this.text = /** @type {HTMLInputElement} */ (byId("filter-text"));
    /** @type {"loading" | "loaded" | { error: string }} */
    this.state = "loading";
    orders.addEventListener("change", (event) => {
      this.#rows.get(event.detail.orderId)?.show(event.detail);
      this.draw();
    });
    for (const gone of ["clear", "drop"]) orders.addEventListener(gone, () => this.draw());
    this.status.addEventListener("change", () => {
      this.draw();
      this.dispatchEvent(new Event("filter"));
    });
    this.text.addEventListener("input", () => this.draw());
    byId("load-more").addEventListener("click", () => this.dispatchEvent(new Event("more")));
    this.draw();
  }

  /** Say whether there are earlier orders to load. */
  set hasMore(more) {
    byId("load-more").hidden = !more;
  }

  /** Say how loading goes. */
  become(state) {
    this.state = state;
    this.draw();
  }

  /** Draw with the next frame, once for however many changes. */
  draw() {
    this.#drawing ||= requestAnimationFrame(() => {
      this.#drawing = 0;
      this.#draw();
    });
  }

  #draw() {
    const all = this.orders.newestFirst;
    const shown = all.filter((order) => this.#matches(order));
    const ids = new Set(shown.map(({ orderId }) => orderId));
    for (const [orderId, row] of this.#rows) {
      if (!ids.has(orderId)) {
        row.element.remove();
        this.#rows.delete(orderId);
      }
    }
    let next = this.body.firstElementChild;
    for (const order of shown) {
      const row = this.#rows.get(order.orderId) ?? this.#add(order);
      // A row that is where it should be is left alone: moving it would take the focus from it.
      if (row.element === next) next = next.nextElementSibling;
      else this.body.insertBefore(row.element, next);
    }
    const open = all.filter((order) => !hasEnded(order)).length;
    write(byId("orders-count"), all.length ? `${shown.length} shown · ${open} open` : "");
    this.#explainEmptiness(shown.length, all.length);
  }

  #add(order) {
    const row = new Row(order, {
      open: () => this.dispatchEvent(new CustomEvent("open", { detail: order.orderId })),
      cancel: () => this.cancel(order.orderId),
    });
    this.#rows.set(order.orderId, row);
    return row;
  }

  /** @param {import("./orders.js").Order} order */
  #matches(order) {
    const wanted = this.status.value;
    if (wanted === "open" ? hasEnded(order) : wanted && order.status !== wanted) return false;
    const { orderType, side, orderId, userId, txHash, lastError, clientOrderId } = order;
    const words = [pairOf(order), orderType, side, orderId, userId, txHash, lastError, clientOrderId, labelOf(order)];
    return words.join(" ").toLowerCase().includes(this.text.value.trim().toLowerCase());
  }

  #explainEmptiness(shown, all) {
    const empty = byId("orders-empty");
    empty.hidden = shown > 0;
    byId("orders").toggleAttribute("data-empty", shown === 0);
    if (shown > 0) return;
    empty.dataset.state = typeof this.state === "string" ? this.state : "failed";
    if (this.state === "loading") {
      empty.replaceChildren(element("p", {}, "Loading the orders …"));
    } else if (typeof this.state === "object") {
      empty.replaceChildren(
        element("p", {}, element("strong", {}, "The orders could not be loaded. "), this.state.error),
        button("Try again", { class: "secondary" }, () => this.dispatchEvent(new Event("filter"))),
      );
    } else if (all > 0) {
      empty.replaceChildren(element("p", {}, "No order here fits the filter."));
    } else {
      empty.replaceChildren(
        element("p", {}, element("strong", {}, "No orders yet. ")),
        element("p", {}, "Place one, and watch each of its steps here as it happens."),
      );
    }
  }
}

/** An order's row. Its buttons stay the same elements, so that they keep the focus while the rest changes. */
class Row {
  /**
   * @param {import("./orders.js").Order} order
   * @param {{ open: () => void, cancel: () => Promise<void> }} actions
   */
  constructor(order, { open, cancel }) {
    this.cells = Object.fromEntries(
      ["order", "amount", "progress", "quotes", "executed", "transaction"].map((name) => [
        name,
        element("td", { role: "cell", class: `cell-${name}` }),
      ]),
    );
    this.details = button("", { class: "link" }, open);
    this.cancel = button("Cancel", { class: "quiet danger" }, async () => {
      this.cancel.disabled = true;
      await cancel();
      this.cancel.disabled = false;
    });
    this.facts = element("div", { class: "facts" });
    this.cells.order.append(this.details, this.facts);
    this.transaction = element("div");
    this.cells.transaction.append(this.transaction, this.cancel);
    this.element = element("tr", { role: "row", "data-order": order.orderId }, ...Object.values(this.cells));
    this.element.addEventListener("click", (event) => {
      const target = /** @type {Element} */ (event.target);
      if (!target.closest("button") && !getSelection()?.toString()) open();
    });
    this.show(order);
  }

  /** @param {import("./orders.js").Order} order */
  show(order) {
    this.element.dataset.status = order.status;
    const name = `${order.side} ${pairOf(order)}`;
    this.details.replaceChildren(side(order), pairOf(order));
    this.details.setAttribute("aria-label", `${name}, ${order.orderType} order: its timeline`);
    this.facts.replaceChildren(...factsOf(order));
    this.cells.amount.replaceChildren(
      number(numberParts(order.amountIn)),
      element("span", { class: "hint" }, ` ${order.tokenIn}`),
    );
    this.cells.progress.replaceChildren(...progressOf(order));
    this.cells.quotes.replaceChildren(
      // Without quotes their place is free for why: what is said here is long.
      order.routeMeta ? quoteLines(order.routeMeta, { compact: true }) : (reasonOf(order) ?? dash()),
    );
    this.cells.executed.replaceChildren(...executionOf(order));
    this.cancel.hidden = !isCancellable(order);
    this.transaction.replaceChildren(...(order.txHash ? [transaction(order.txHash)] : this.cancel.hidden ? [dash()] : []));
    this.cancel.setAttribute("aria-label", `Cancel ${name}`);
  }
}

function side(order) {
  return element("span", { class: `side ${order.side === "buy" ? "buy" : "sell"}` }, order.side);
}

function factsOf(order) {
  const prices = [
    order.triggerPrice && `stop at ${exact(order.triggerPrice)}`,
    order.limitPrice && `limit ${exact(order.limitPrice)}`,
  ].filter(Boolean);
  return [
    element("span", {}, prices.length ? `${order.orderType === "sniper" ? "sniper, " : ""}${prices.join(", ")}` : order.orderType),
    element("span", {}, element("time", { datetime: order.createdAt, title: preciseTime(order.createdAt) }, time(order.createdAt))),
    order.userId ? element("span", { class: "owner" }, order.userId) : null,
  ].filter(Boolean);
}

/** Say in a word where an order is. */
export function labelOf(order) {
  if (order.status !== "pending") return order.status;
  if (order.waitsFor) return "waiting";
  return order.retry ? "retrying" : "pending";
}

function progressOf(order) {
  const at = stepOf(order);
  const outcome = hasEnded(order) ? order.status : order.waitsFor ? "waiting" : "moving";
  const bars = STEPS.map((step, index) =>
    element("span", { "data-done": index < at || order.status === "confirmed", "data-here": index === at, title: step }),
  );
  const label = labelOf(order);
  return [
    element("div", { class: "steps", "data-outcome": outcome, "aria-hidden": "true" }, ...bars),
    element("p", { class: "status", "data-outcome": outcome }, label, element("span", { class: "hint" }, explanation(order))),
    order.routeMeta ? reasonOf(order) : null,
    order.reason ? element("p", { class: "hint" }, order.reason) : null,
  ].filter(Boolean);
}

function reasonOf({ lastError, status }) {
  return lastError && status !== "confirmed" ? element("p", { class: "reason", title: lastError }, lastError) : null;
}

/** Say what the status alone does not. */
function explanation(order) {
  if (order.status === "pending" && order.waitsFor === "launch") return ` for the launch of ${order.tokenIn}`;
  if (order.status === "pending" && order.waitsFor) {
    const price = order.orderType === "stop" && !order.triggeredAt ? order.triggerPrice : order.limitPrice;
    return price ? ` for ${exact(price)}` : "";
  }
  if (order.retry) return `, try ${Number(order.retry.attempt) + 1} of ${order.maxRetries}`;
  return hasEnded(order) && order.attempts > 1 ? `, after ${order.attempts} tries` : "";
}

function executionOf(order) {
  if (!order.executedPrice) return [dash()];
  const quoted = order.routeMeta?.quotes?.[order.routeMeta.chosen]?.netPrice;
  return [
    element("div", {}, number(numberParts(order.executedPrice)), quoted ? pointsOf(order, quoted) : null),
    order.amountOut ? element("span", { class: "hint" }, `${exact(order.amountOut)} ${order.tokenOut}`) : null,
  ].filter(Boolean);
}

function pointsOf(order, quoted) {
  const points = basisPoints(order.executedPrice, quoted, order.side);
  return element(
    "span",
    {
      class: "points",
      "data-better": Math.abs(points) < 0.05 ? null : String(points > 0),
      title: "Basis points against the quote; plus is better for the order's owner",
    },
    `${signed(points)} bp`,
    element("span", { class: "unseen" }, points >= 0 ? " better than quoted" : " worse than quoted"),
  );
}

/** Return a hash, and a button that copies all of it where the browser lets a page do so. */
export function transaction(hash, { whole = false } = {}) {
  const copies = navigator.clipboard !== undefined;
  return element(
    "span",
    { class: "hash" },
    element("code", { title: hash }, whole ? hash : short(hash)),
    copies ? button("Copy", { class: "quiet copy", "aria-label": `Copy the transaction hash ${short(hash)}` }, () => copy(hash)) : null,
  );
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    notify("Copied the transaction hash.");
  } catch {
    notify("The browser did not let the page copy. The hash is in the order's timeline.", "bad");
  }
}

function dash() {
  return element("span", { class: "dash", "aria-label": "none yet" }, "–");
}
