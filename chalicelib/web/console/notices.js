/** What is said to the reader: short notices on the screen, and announcements for who listens to it. */

import { button, byId, element } from "./dom.js";

const SHOWN_MS = 8000;
const MOST = 3;

/**
 * Show a notice for some seconds.
 *
 * @param {string} text
 * @param {"plain" | "bad"} kind one that is bad interrupts who listens
 */
export function notify(text, kind = "plain") {
  const shown = element("div", { class: "notice", "data-kind": kind, role: kind === "bad" ? "alert" : "status" });
  shown.append(element("span", {}, text), button("×", { class: "quiet", "aria-label": "Dismiss" }, () => shown.remove()));
  const all = byId("notices");
  all.append(shown);
  while (all.children.length > MOST) all.firstElementChild?.remove();
  setTimeout(() => shown.remove(), SHOWN_MS);
}

/** Tell who listens, when they pause. @param {string} text */
export function announce(text) {
  byId("announcements").textContent = text;
}
