/** How things are written on the screen. Amounts and prices keep every digit; times are the reader's own. */

import { plain } from "./exact.js";

/**
 * Write an exact number: without an exponent, thousands set apart.
 *
 * @param {string} text
 */
export function exact(text) {
  const [whole, fraction] = plain(text).split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  return fraction === undefined ? grouped : `${grouped}.${fraction}`;
}

/**
 * Write an exact number in parts: a line may end between them, never within one.
 *
 * @param {string} text
 */
export function numberParts(text) {
  const written = exact(text);
  return written.includes(",") ? written.split(/(?<=,)|(?=\.)/) : [written];
}

/** @param {string} text */
export function short(text, head = 6, tail = 4) {
  return text.length <= head + tail + 1 ? text : `${text.slice(0, head)}…${tail ? text.slice(-tail) : ""}`;
}

/** @param {string} timestamp */
export function time(timestamp) {
  const date = new Date(timestamp);
  const today = date.toDateString() === new Date().toDateString();
  const clock = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
  return today ? clock : `${date.toLocaleDateString([], { day: "numeric", month: "short" })} ${clock}`;
}

/**
 * Write the time of day with milliseconds, which is what tells two steps apart.
 *
 * @param {string} timestamp
 */
export function preciseTime(timestamp) {
  return `${time(timestamp)}.${String(new Date(timestamp).getMilliseconds()).padStart(3, "0")}`;
}

/** @param {number} milliseconds */
export function duration(milliseconds) {
  const seconds = milliseconds / 1000;
  if (seconds < 1) return `${Math.round(milliseconds)} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
}

/**
 * Return by how many basis points an executed price is better for the order's owner than the quoted one.
 *
 * Approximate, as it is for reading only: positive is better, whichever the side.
 *
 * @param {string} executed
 * @param {string} quoted
 * @param {string} side
 */
export function basisPoints(executed, quoted, side) {
  const change = (Number(executed) / Number(quoted) - 1) * 10_000;
  return side === "sell" ? change : -change;
}

/** Write a number with its sign, also when that is a plus. */
export function signed(number, digits = 1) {
  const text = Math.abs(number).toFixed(digits);
  return Number(text) === 0 ? text : `${number < 0 ? "−" : "+"}${text}`;
}

/** Write a number that was computed, and so is not exact, with so many digits that count. */
export function rounded(number, digits = 6) {
  if (!Number.isFinite(number)) return "–";
  const magnitude = number === 0 ? 0 : Math.floor(Math.log10(Math.abs(number)));
  return number.toFixed(Math.min(Math.max(digits - 1 - magnitude, 0), 18));
}
