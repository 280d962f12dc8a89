/** Quotes side by side: in the ticket what the router would choose now, in the table what it chose. */

import { element, number } from "./dom.js";
import { numberParts } from "./format.js";

/**
 * Return a line for each venue, the chosen one marked.
 *
 * @param {{ quotes: Record<string, any>, chosen: string, errors?: Record<string, string> }} route
 * @param {{ compact?: boolean }} [options] compact: for a cell of the table
 */
export function quoteLines(route, { compact = false } = {}) {
  const venues = Object.keys(route.quotes).sort();
  const lines = venues.map((venue) => {
    const quote = route.quotes[venue];
    const chosen = venue === route.chosen;
    return element(
      "div",
      { class: "quote-line", "data-chosen": chosen },
      element("span", { class: "venue" }, venue),
      number(numberParts(quote.netPrice)),
      compact ? null : element("span", { class: "hint" }, `fee ${percent(quote.fee)} · impact ${impact(quote)}`),
      chosen ? element("span", { class: "best" }, compact ? "✓" : "best", compact && unseen(" chosen")) : null,
    );
  });
  const refusals = Object.entries(route.errors ?? {}).map(([venue, reason]) =>
    element(
      "div",
      { class: "quote-line" },
      element("span", { class: "venue" }, venue),
      element("span", { class: "hint" }, compact ? "no quote" : reason),
    ),
  );
  return element("div", { class: "quote-lines" }, ...lines, ...refusals);
}

function unseen(text) {
  return element("span", { class: "unseen" }, text);
}

function percent(fraction) {
  return `${Number((Number(fraction) * 100).toFixed(3))} %`;
}

/** Return how much the amount itself moves the price, besides the fee. */
function impact({ price, netPrice, fee }) {
  const better = Math.min(Number(price), Number(netPrice));
  const worse = Math.max(Number(price), Number(netPrice));
  const share = Math.max(1 - better / worse - Number(fee), 0) * 100;
  return share > 0 && share < 0.01 ? "< 0.01 %" : `${share.toFixed(2)} %`;
}
