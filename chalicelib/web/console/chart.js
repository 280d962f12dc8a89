/**
 * The price of a pair as it moves, drawn by hand in SVG: what each venue quotes for one token, the best of them, the
 * prices that waiting orders wait for, and the fills.
 *
 * There is no history to ask for, so a chart begins when its pair is first looked at, and goes on while it is.
 */

import { byId, element, svg, write } from "./dom.js";
import { exact, rounded, signed, time } from "./format.js";
import { hasEnded, pairOf } from "./orders.js";
import { whileVisible } from "./polling.js";

const SECONDS = 2;
const SAMPLE = "1"; // token: small enough to move no pool, and worth more than a base unit of any other
const SHORTEST_MS = 30_000;
const LONGEST_MS = 300_000;
/** A price farther away than this is marked at the edge: drawn to scale, it would flatten all others. */
const NEAR = 0.05;
const MOST_LINES = 8;
const LABEL = 14;
const MARGIN = { top: 14, right: 78, bottom: 22, left: 10 };
const TICKS_MS = [5_000, 10_000, 15_000, 30_000, 60_000];

/** @typedef {{ at: number, best: number, exactBest: string, venues: Record<string, number> }} Point */

export class Chart {
  /** @type {Map<string, Point[]>} */
  #series = new Map();
  #drawing = 0;
  #problem = "";

  /**
   * @param {import("./api.js").Api} api
   * @param {import("./orders.js").Orders} orders
   */
  constructor(api, orders) {
    this.api = api;
    this.orders = orders;
    this.canvas = byId("chart-canvas");
    this.market = { tokenIn: "SOL", tokenOut: "USDC", side: "sell" };
    orders.addEventListener("change", () => this.draw());
    orders.addEventListener("clear", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(this.canvas);
  }

  start() {
    this.polling ??= whileVisible(SECONDS, () => this.#look());
  }

  stop() {
    this.polling?.stop();
    this.polling = undefined;
  }

  /** Look at another pair, from the side of who would trade it. */
  choose(market) {
    this.market = market;
    this.#problem = "";
    this.draw();
    this.polling?.now();
  }

  get #key() {
    const { tokenIn, tokenOut, side } = this.market;
    return `${tokenIn}/${tokenOut} ${side}`;
  }

  get #points() {
    return this.#series.get(this.#key) ?? [];
  }

  async #look() {
    const { tokenIn, tokenOut, side } = this.market;
    const key = this.#key;
    if (tokenIn === tokenOut) {
      this.#problem = "Choose two different tokens.";
      return this.draw();
    }
    try {
      const route = await this.api.get("api/quotes", { tokenIn, tokenOut, side, amount: SAMPLE });
      const points = this.#series.get(key) ?? [];
      points.push(pointOf(route));
      this.#series.set(key, points.filter(({ at }) => at > Date.now() - LONGEST_MS - 10_000));
      this.#problem = "";
    } catch (error) {
      if (key === this.#key) this.#problem = error.status === 422 ? `${tokenIn}/${tokenOut} has no pool yet.` : error.message;
    }
    this.draw();
  }

  draw() {
    this.#drawing ||= requestAnimationFrame(() => {
      this.#drawing = 0;
      this.#draw();
    });
  }

  #draw() {
    const { tokenIn, tokenOut, side } = this.market;
    const points = this.#points;
    const last = points.at(-1);
    write(byId("chart-title"), `${tokenIn}/${tokenOut}`);
    write(byId("chart-last"), last ? exact(last.exactBest) : "–");
    const spoken = last ? `best net price to ${side}` : "";
    write(byId("chart-change"), points.length > 1 ? `${changeOf(points)} · ${spoken}` : spoken);
    byId("chart-empty").hidden = points.length > 1 && !this.#problem;
    byId("chart-empty").toggleAttribute("data-over", points.length > 1);
    write(byId("chart-empty"), this.#problem || "Waiting for the first prices …");
    const { width, height } = this.canvas.getBoundingClientRect();
    if (points.length < 2 || width < 50 || height < 50) return this.canvas.replaceChildren();
    this.#legend(Object.keys(last.venues));
    this.canvas.replaceChildren(this.#picture(points, width, height));
  }

  #legend(venues) {
    const items = venues.sort().map((venue, index) => element("li", { class: `series-${index + 1}` }, venue));
    byId("chart-legend").replaceChildren(element("li", { class: "series-best" }, "best"), ...items);
  }

  #picture(points, width, height) {
    const now = points.at(-1).at;
    const from = now - Math.min(Math.max(now - points[0].at, SHORTEST_MS), LONGEST_MS);
    const seen = points.filter(({ at }) => at >= from - 5000);
    const fills = this.#fills().filter(({ at }) => at >= from && at <= now + 5000);
    const lines = this.#lines(seen.at(-1).best);
    const near = lines.filter((line) => line.near);
    const scale = scaleOf(from, now, [
      ...seen.flatMap(({ best, venues }) => [best, ...Object.values(venues)]),
      ...fills.map(({ price }) => price),
      ...near.map(({ price }) => price),
    ], width, height);
    const picture = svg("svg", {
      class: "picture",
      role: "img",
      width,
      height,
      viewBox: `0 0 ${width} ${height}`,
      "aria-label": this.#spoken(seen, lines, fills),
    });
    picture.append(
      ...gridOf(scale, scale.y(seen.at(-1).best)),
      ...Object.keys(seen.at(-1).venues).sort().map((venue, index) =>
        svg("path", { class: `venue-line series-${index + 1}`, d: pathOf(scale, seen.filter((point) => venue in point.venues), (point) => point.venues[venue]) }),
      ),
      svg("path", { class: "best-area", d: areaOf(scale, seen) }),
      svg("path", { class: "best-line", d: pathOf(scale, seen, (point) => point.best) }),
      ...linesOf(scale, lines),
      ...fills.map((fill) => fillMark(scale, fill)),
      ...lastPrice(scale, seen.at(-1)),
    );
    return picture;
  }

  /** What orders of this pair wait for, the nearest first. */
  #lines(price) {
    const waiting = this.orders.newestFirst.filter((order) => !hasEnded(order) && pairOf(order) === this.#pair);
    const lines = waiting.flatMap((order) => {
      const triggers = order.orderType === "stop" && !order.triggeredAt && order.triggerPrice;
      return [
        triggers ? lineOf(order, "stop", order.triggerPrice, price) : null,
        order.limitPrice ? lineOf(order, "limit", order.limitPrice, price) : null,
      ].filter(Boolean);
    });
    return merged(lines).sort((one, other) => Math.abs(one.price - price) - Math.abs(other.price - price)).slice(0, MOST_LINES);
  }

  #fills() {
    return this.orders.newestFirst
      .filter((order) => order.executedPrice && pairOf(order) === this.#pair)
      .map((order) => ({ at: Date.parse(order.updatedAt), price: Number(order.executedPrice), order }));
  }

  get #pair() {
    return `${this.market.tokenIn}/${this.market.tokenOut}`;
  }

  #spoken(points, lines, fills) {
    const prices = points.map(({ best }) => best);
    const waiting = lines.map(({ label }) => label).join("; ");
    return [
      `${this.#pair}, best net price to ${this.market.side}: ${exact(points.at(-1).exactBest)}`,
      `since ${time(new Date(points[0].at).toISOString())} between ${rounded(Math.min(...prices))} and ${rounded(Math.max(...prices))}`,
      waiting ? `orders wait: ${waiting}` : "no order waits for a price",
      `${fills.length} ${fills.length === 1 ? "fill" : "fills"}`,
    ].join("; ");
  }
}

/** @returns {Point} */
function pointOf(route) {
  const venues = Object.entries(route.quotes).map(([venue, quote]) => [venue, Number(quote.netPrice)]);
  const exactBest = route.quotes[route.chosen].netPrice;
  return { at: Date.now(), best: Number(exactBest), exactBest, venues: Object.fromEntries(venues) };
}

function changeOf(points) {
  const seconds = Math.round((points.at(-1).at - points[0].at) / 1000);
  const span = seconds < 90 ? `${seconds} s` : `${Math.round(seconds / 60)} min`;
  return `${signed((points.at(-1).best / points[0].best - 1) * 100, 2)} % in ${span}`;
}

function lineOf(order, kind, text, price) {
  const label = `${kind} ${order.side} ${exact(order.amountIn)} @ ${exact(text)}`;
  return { kind, side: order.side, text, price: Number(text), label, near: Math.abs(Number(text) / price - 1) <= NEAR, orders: [order] };
}

/** Make one line of those at the same price. */
function merged(lines) {
  const byPrice = new Map();
  for (const line of lines) {
    const key = `${line.kind} ${line.side} ${line.price}`;
    const same = byPrice.get(key);
    if (same) {
      same.orders.push(...line.orders);
      same.label = `${same.orders.length} × ${line.kind} ${line.side} @ ${exact(line.text)}`;
    } else byPrice.set(key, line);
  }
  return [...byPrice.values()];
}

// --- Geometry ---

function scaleOf(from, to, prices, width, height) {
  const low = Math.min(...prices);
  const high = Math.max(...prices);
  const padding = (high - low || high * 0.01) * 0.1;
  const [bottom, top] = [low - padding, high + padding];
  const plot = { left: MARGIN.left, right: width - MARGIN.right, top: MARGIN.top, bottom: height - MARGIN.bottom };
  return {
    ...plot,
    from,
    to,
    low: bottom,
    high: top,
    x: (at) => plot.left + ((at - from) / (to - from)) * (plot.right - plot.left),
    y: (price) => plot.bottom - ((price - bottom) / (top - bottom)) * (plot.bottom - plot.top),
  };
}

function gridOf(scale, lastY) {
  const wanted = Math.max(2, Math.floor((scale.bottom - scale.top) / 48));
  const step = niceStep((scale.high - scale.low) / wanted);
  const parts = [];
  for (let price = Math.ceil(scale.low / step) * step; price <= scale.high; price += step) {
    const y = scale.y(price);
    parts.push(
      svg("line", { class: "grid", x1: scale.left, x2: scale.right, y1: y, y2: y }),
      Math.abs(y - lastY) < 16 ? "" : svg("text", { class: "tick", x: scale.right + 8, y: y + 4 }, tickText(price, step)),
    );
  }
  const span = TICKS_MS.find((tick) => (scale.to - scale.from) / tick <= (scale.right - scale.left) / 80) ?? TICKS_MS.at(-1);
  for (let at = Math.ceil(scale.from / span) * span; at <= scale.to; at += span) {
    const x = scale.x(at);
    if (x < scale.left + 26 || x > scale.right - 10) continue;
    parts.push(svg("text", { class: "tick middle", x, y: scale.bottom + 16 }, time(new Date(at).toISOString())));
  }
  return parts;
}

function niceStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * ([1, 2, 5].find((factor) => factor * power >= rough) ?? 10);
}

function tickText(price, step) {
  return price.toFixed(Math.min(Math.max(-Math.floor(Math.log10(step) + 1e-9), 0), 15));
}

function pathOf(scale, points, priceOf) {
  return points.map((point, index) => `${index ? "L" : "M"}${at(scale.x(point.at))} ${at(scale.y(priceOf(point)))}`).join("");
}

function areaOf(scale, points) {
  const line = pathOf(scale, points, ({ best }) => best);
  return `${line}L${at(scale.x(points.at(-1).at))} ${scale.bottom}L${at(scale.x(points[0].at))} ${scale.bottom}Z`;
}

function at(coordinate) {
  return coordinate.toFixed(1);
}

/** Draw what is waited for: a line where it is near, a mark at the edge where it is not. */
function linesOf(scale, lines) {
  const placed = lines
    .map((line) => ({ line, away: !line.near && (line.price > scale.high || line.price < scale.low) }))
    .map(({ line, away }) => ({ line, away, y: Math.min(Math.max(scale.y(line.price), scale.top), scale.bottom) }))
    .sort((one, other) => other.line.price - one.line.price);
  const labels = labelHeights(scale, placed.map(({ y }) => y));
  return placed.map(({ line, away, y }, index) => {
    const attributes = { class: `waiting ${line.side === "buy" ? "buy" : "sell"}`, "data-kind": line.kind, "data-price": line.text };
    const stroke = away ? null : svg("line", { x1: scale.left, x2: scale.right, y1: y, y2: y });
    const text = away ? `${line.price > scale.high ? "↑" : "↓"} ${line.label}` : line.label;
    return svg("g", attributes, stroke, svg("text", { x: scale.left + 6, y: labels[index] }, text));
  });
}

/** Return where labels stand: above their lines, in the order of those, and none on another. */
function labelHeights(scale, heights) {
  const labels = [];
  heights.forEach((y, index) => labels.push(Math.max(y - 5, scale.top + 8, index ? labels[index - 1] + LABEL : 0)));
  return labels.map((label, index) => Math.min(label, scale.bottom - 5 - (labels.length - 1 - index) * LABEL));
}

function fillMark(scale, { at: when, price, order }) {
  const [x, y] = [scale.x(when), scale.y(price)];
  const tip = order.side === "buy" ? 1 : -1;
  return svg(
    "path",
    { class: `fill ${order.side === "buy" ? "buy" : "sell"}`, d: `M${at(x)} ${at(y - 6 * tip)}l6 ${10 * tip}h-12Z` },
    svg("title", {}, `${order.side} ${exact(order.amountIn)} ${order.tokenIn} @ ${exact(order.executedPrice)}`),
  );
}

function lastPrice(scale, point) {
  const y = scale.y(point.best);
  return [
    svg("circle", { class: "last-dot", cx: scale.x(point.at), cy: y, r: 3.5 }),
    svg("rect", { class: "last-tag", x: scale.right + 3, y: y - 10, width: MARGIN.right - 4, height: 20, rx: 4 }),
    svg("text", { class: "last-text", x: scale.right + 8, y: y + 4 }, rounded(point.best)),
  ];
}
