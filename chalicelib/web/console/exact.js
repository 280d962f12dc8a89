/**
 * Numbers as the engine writes them: decimals with more digits than a JavaScript number keeps.
 *
 * They are texts from the moment an answer is read until they are shown or sent, so that no digit is lost; only what
 * is drawn or compared roughly is computed with.
 */

const STRING_OR_NUMBER = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
const DECIMAL = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,3}))?$/;

/**
 * Read JSON whose numbers become texts with the digits that were sent.
 *
 * JSON.parse tells a reviver the source of a number only in newer browsers; quoting numbers before works in all.
 *
 * @param {string} text
 * @returns {any}
 */
export function parseExact(text) {
  return JSON.parse(text.replace(STRING_OR_NUMBER, (found) => (found.startsWith('"') ? found : `"${found}"`)));
}

/**
 * Return a number without an exponent: 1.3E-7 as 0.00000013.
 *
 * @param {string} text
 */
export function plain(text) {
  return shifted(text, 0);
}

/**
 * Return a number times ten to the power of `places`, exactly; what is no number comes back as it is.
 *
 * @param {string} text
 * @param {number} places
 */
export function shifted(text, places) {
  const [found, sign, whole, fraction = "", exponent = "0"] = DECIMAL.exec(text.trim()) ?? [];
  if (found === undefined || whole + fraction === "") {
    return text;
  }
  const point = whole.length + Number(exponent) + places;
  const digits = (whole + fraction).padStart(whole.length + fraction.length - Math.min(point, 0), "0");
  const padded = digits.padEnd(Math.max(point, 0), "0");
  const split = Math.max(point, 0);
  const integer = padded.slice(0, split).replace(/^0+(?=\d)/, "") || "0";
  const rest = padded.slice(split);
  return `${sign === "-" ? "-" : ""}${integer}${rest ? `.${rest}` : ""}`;
}
