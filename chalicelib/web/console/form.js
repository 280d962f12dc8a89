/** The ticket: what is asked for, what it would cost now, and what the engine says to it. */

import { Problem, Unreachable } from "./api.js";
import { button, byId, element, write } from "./dom.js";
import { shifted } from "./exact.js";
import { exact, signed } from "./format.js";
import { announce } from "./notices.js";
import { whileVisible } from "./polling.js";
import { quoteLines } from "./quote.js";

const DEFAULT_SIDES = { market: "sell", stop: "sell", limit: "buy", sniper: "buy" };
const HINTS = {
  market: "Executes now, at the best net price of all venues.",
  limit: "Executes when its net price is the limit or better; never worse.",
  stop: "Executes like a market order once the price reaches the trigger against its side.",
  sniper: "Executes when the token launches, before all other orders.",
};
const SPELLED = { type: "orderType", amountIn: "amount", targetPrice: "limitPrice" };
const QUOTE_SECONDS = 3;
const TYPING_MS = 350;
const USER = "console user";

/** Fires `placed` with `{ orderId, status, asked }`, and `pair` when another pair or side is chosen. */
export class Ticket extends EventTarget {
  /** @type {{ key: string, body: Record<string, any> } | null} a submit that nobody knows the outcome of */
  #unanswered = null;
  #sideChosen = false;
  /** @type {AbortController | null} */
  #asking = null;
  #typing = 0;

  /**
   * @param {import("./api.js").Api} api
   * @param {{ tokens: Record<string, number>, authMode: string }} settings
   */
  constructor(api, settings) {
    super();
    this.api = api;
    this.form = /** @type {HTMLFormElement} */ (byId("ticket"));
    this.open = settings.authMode === "open";
    for (const name of ["tokenIn", "tokenOut"]) {
      this.form[name].append(...Object.keys(settings.tokens).map((token) => element("option", { value: token }, token)));
    }
    this.form.tokenOut.value = "USDC";
    this.form.userId.value = remembered() || "trader";
    byId("user-field").hidden = !this.open;
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit(this.#request());
    });
    this.form.addEventListener("input", (event) => this.#changed(/** @type {any} */ (event.target)));
    byId("swap").addEventListener("click", () => this.#swap());
    this.#arrange();
  }

  /** Begin to ask for quotes. */
  start() {
    this.quotes ??= whileVisible(QUOTE_SECONDS, () => this.#quote());
  }

  stop() {
    this.quotes?.stop();
    this.quotes = undefined;
  }

  /** Forget what became of what was sent: the next user is not to send it again. */
  forget() {
    this.#unanswered = null;
    this.#clearErrors();
  }

  get type() {
    return this.form.orderType.value;
  }

  get side() {
    return this.form.side.value;
  }

  get pair() {
    return { tokenIn: this.form.tokenIn.value, tokenOut: this.form.tokenOut.value };
  }

  /** The order as it is sent: what applies and is filled in; numbers as they were typed. */
  get order() {
    const shown = (name) => !this.form[name].closest("[hidden]") && this.form[name].value.trim();
    /** @type {Record<string, any>} */
    const order = { orderType: this.type, side: this.side, ...this.pair, amount: this.form.amount.value.trim() };
    for (const name of ["limitPrice", "triggerPrice"]) {
      if (shown(name)) order[name] = shown(name);
    }
    if (shown("timeInForce") && shown("timeInForce") !== "GTC") order.timeInForce = shown("timeInForce");
    if (shown("expiresAt")) order.expiresAt = new Date(shown("expiresAt")).toISOString();
    if (shown("slippageTolerance")) order.slippageTolerance = shifted(shown("slippageTolerance"), -2);
    if (this.open) order.userId = this.form.userId.value.trim();
    // What is empty is left out: the engine says of that that it is required.
    return Object.fromEntries(Object.entries(order).filter(([, value]) => value));
  }

  #changed(field) {
    if (field.name === "side") this.#sideChosen = true;
    if (field.name === "orderType" && !this.#sideChosen) this.form.side.value = DEFAULT_SIDES[this.type];
    if (field.name === "userId") remember(field.value.trim());
    this.#clearError(field.name);
    this.#arrange();
    this.#requote();
  }

  #swap() {
    const { tokenIn, tokenOut } = this.pair;
    this.form.tokenIn.value = tokenOut;
    this.form.tokenOut.value = tokenIn;
    this.#changed(this.form.tokenIn);
  }

  /** Show the fields that apply, and say in words what the order does. */
  #arrange() {
    const { tokenIn, tokenOut } = this.pair;
    for (const part of this.form.querySelectorAll("[data-for]")) {
      part.hidden = !part.dataset.for.split(" ").includes(this.type);
    }
    byId("expires").hidden ||= this.form.timeInForce.value !== "GTD";
    for (const unit of this.form.querySelectorAll("[data-unit]")) write(unit, this.pair[unit.dataset.unit]);
    write(byId("type-hint"), HINTS[this.type]);
    const verb = this.side === "buy" ? "Buy" : "Sell";
    byId("submit").dataset.side = this.side;
    write(byId("submit"), this.type === "market" ? `${verb} ${tokenIn}` : `Place ${this.type} ${verb.toLowerCase()}`);
    const market = `${tokenIn}/${tokenOut} ${this.side}`;
    if (market !== this.market) {
      this.market = market;
      this.dispatchEvent(new Event("pair"));
    }
  }

  // --- Placing ---

  /** The same order as one whose answer was lost is that order, whichever button sends it again. */
  #request() {
    const body = this.order;
    const repeats = this.#unanswered && JSON.stringify(this.#unanswered.body) === JSON.stringify(body);
    return repeats ? this.#unanswered : { key: newKey(), body };
  }

  /** @param {{ key: string, body: Record<string, any> }} request */
  async #submit(request) {
    this.#clearErrors();
    byId("submit").disabled = true;
    byId("submit").dataset.busy = "true";
    try {
      const { orderId, status } = await this.api.post("api/orders", request.body, { "Idempotency-Key": request.key });
      this.#unanswered = null;
      announce(`The order was accepted: ${this.type} ${this.side} ${request.body.tokenIn}.`);
      this.dispatchEvent(new CustomEvent("placed", { detail: { orderId, status, asked: request.body } }));
    } catch (error) {
      this.#refuse(error, request);
    } finally {
      byId("submit").disabled = false;
      delete byId("submit").dataset.busy;
    }
  }

  #refuse(error, request) {
    if (error.name === "AbortError") return;
    if (error instanceof Unreachable || (error instanceof Problem && error.passes)) {
      this.#unanswered = request;
      this.#summarize(
        `${error.message} Whether the order was placed is not known; trying again places it once at most.`,
        button("Try again", { class: "secondary", id: "retry" }, () => this.#submit(request)),
      );
    } else if (error instanceof Problem) {
      const others = Object.entries(error.errors).filter(([name, reason]) => !this.#showError(name, reason));
      const told = others.length < Object.keys(error.errors).length;
      const reasons = others.map(([name, reason]) => `${name} ${reason}`);
      if (others.length || !told) this.#summarize(told ? reasons.join(" · ") : [error.message, ...reasons].join(" "));
      (this.form.querySelector("[aria-invalid=true]") ?? byId("ticket-error")).focus();
    } else {
      this.#summarize(`The page has failed: ${error.message}`);
      throw error;
    }
  }

  #summarize(text, action) {
    const summary = byId("ticket-error");
    summary.replaceChildren(element("span", {}, text), ...(action ? [action] : []));
    summary.hidden = false;
  }

  /** Put what is wrong beside its field; returns whether that is on the screen. */
  #showError(name, reason) {
    const field = this.form.elements.namedItem(SPELLED[name] ?? name);
    if (!field || !(field instanceof HTMLElement) || field.closest("[hidden]")) return false;
    const label = this.form.querySelector(`label[for="${field.id}"]`)?.firstChild?.textContent ?? name;
    const id = `${field.id}-error`;
    field.closest(".field")?.append(element("p", { class: "field-error", id }, sentence(name, label, reason)));
    field.setAttribute("aria-invalid", "true");
    field.setAttribute("aria-describedby", id);
    return true;
  }

  #clearError(name) {
    const field = this.form.elements.namedItem(name);
    if (field instanceof HTMLElement) {
      field.removeAttribute("aria-invalid");
      field.removeAttribute("aria-describedby");
      field.closest(".field")?.querySelector(".field-error")?.remove();
    }
    byId("ticket-error").hidden = true;
  }

  #clearErrors() {
    for (const field of this.form.elements) this.#clearError(field.name);
  }

  // --- The live quote ---

  #requote() {
    clearTimeout(this.#typing);
    this.#asking?.abort();
    this.#typing = setTimeout(() => this.quotes?.now(), TYPING_MS);
  }

  async #quote() {
    const amount = this.form.amount.value.trim();
    if (!(Number(amount) > 0) || this.pair.tokenIn === this.pair.tokenOut) {
      return this.#showQuote("", element("p", { class: "hint" }, "Enter an amount to see what each venue offers."));
    }
    const asked = new AbortController();
    this.#asking = asked;
    try {
      const route = await this.api.get("api/quotes", { ...this.pair, side: this.side, amount }, asked.signal);
      this.#showQuote(this.#outcome(route), quoteLines(route));
    } catch (error) {
      if (!asked.signal.aborted) this.#showQuote("", element("p", { class: "hint" }, noQuote(error, this.type)));
    }
  }

  #showQuote(hint, body) {
    write(byId("quote-hint"), hint);
    byId("quote-body").replaceChildren(body);
  }

  /** Say what would be received or paid, and how far a limit is away. */
  #outcome(route) {
    const best = route.quotes[route.chosen];
    const total = `${this.side === "buy" ? "pay" : "receive"} ≈ ${exact(best.amountOut)} ${route.tokenOut}`;
    const limit = Number(this.form.limitPrice.closest("[hidden]") ? "" : this.form.limitPrice.value);
    if (!(limit > 0)) return total;
    return `${total} · limit ${signed((limit / Number(best.netPrice) - 1) * 100, 2)} % from it`;
  }
}

/** Say why there is no quote, in the form's own words where it is one of its fields. */
function noQuote(error, type) {
  if (!(error instanceof Problem)) return error.message;
  if (error.status === 422 && type === "sniper") return "No pool yet: the order waits for the launch.";
  return Object.values(error.errors).join(" · ") || error.message;
}

/** Make a sentence of what the engine says of a field. */
function sentence(name, label, reason) {
  if (name === "slippageTolerance") return "Slippage is 0 to 50 %, with at most 4 digits after the point.";
  return /^(is|has|differs|goes) /.test(reason) ? `${label} ${reason}.` : `${reason}.`;
}

/** Return a key that no other submit has; `crypto.randomUUID` is there over https only. */
function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function remembered() {
  try {
    return localStorage.getItem(USER);
  } catch {
    return ""; // the browser keeps nothing for this page
  }
}

function remember(user) {
  try {
    localStorage.setItem(USER, user);
  } catch {
    // It is asked for again next time.
  }
}

