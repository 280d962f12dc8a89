/** Elements. Whatever comes from outside becomes text: nothing here reads markup. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * @template {HTMLElement} T
 * @param {string} id
 * @returns {T}
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return /** @type {T} */ (found);
}

/**
 * Make an element; attributes that are null, undefined or false are left out.
 *
 * @param {string} name
 * @param {Record<string, string | number | boolean | null | undefined>} attributes
 * @param {...(Node | string | null | undefined | false)} children
 */
export function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** Make an SVG element, likewise. */
export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

/**
 * Make a button that does something.
 *
 * @param {string} text
 * @param {Record<string, any>} attributes
 * @param {(event: MouseEvent) => void} action
 */
export function button(text, attributes, action) {
  const made = /** @type {HTMLButtonElement} */ (element("button", { type: "button", ...attributes }, text));
  made.addEventListener("click", action);
  return made;
}

/** Show a number that is written in parts; only where it does not fit its line ends between them. */
export function number(parts) {
  const broken = parts.flatMap((part, index) => (index ? [document.createElement("wbr"), part] : [part]));
  return element("span", { class: "number" }, ...broken);
}

/** Write text into an element, if it is not there already: a screen reader speaks of what changes. */
export function write(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) {
      made.setAttribute(name, value === true ? "" : String(value));
    }
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}
