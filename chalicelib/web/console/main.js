/** The console put together: who the user is, what is shown of their orders, and how it is kept up to date. */

import { Api, Problem } from "./api.js";
import { Chart } from "./chart.js";
import { byId, write } from "./dom.js";
import { Ticket } from "./form.js";
import { exact, time } from "./format.js";
import { announce, notify } from "./notices.js";
import { Orders, hasEnded, pairOf } from "./orders.js";
import { whileVisible } from "./polling.js";
import { Session } from "./session.js";
import { Stream } from "./stream.js";
import { Table } from "./table.js";
import { startTiles } from "./tiles.js";
import { Timeline } from "./timeline.js";

const LOOK_SECONDS = 4;
const PAGE = "50";
const CONNECTION = {
  connecting: "Connecting",
  live: "Live",
  reconnecting: "Reconnecting",
  offline: "Offline",
  closed: "Signed out",
};

const settings = JSON.parse(byId("settings").textContent ?? "");
const session = new Session(settings);
const api = new Api(session);
const orders = new Orders();
const table = new Table(orders, cancel);
const timeline = new Timeline(orders, readEvents, cancel);
const ticket = new Ticket(api, settings);
const chart = new Chart(api, orders);
const stream = new Stream({
  url: settings.webSocketUrl,
  most: settings.subscriptions,
  ticket: async () => (session.needsTicket ? (await api.post("api/stream/tickets")).ticket : null),
  wanted: () => orders.newestFirst.filter((order) => !hasEnded(order)),
});
/** The cursor of the next page of each filter: a text, null where there is none, absent where none was read. */
const cursors = new Map();
/** @type {{ stop: () => void, now: () => void }[]} */
let polls = [];
let shownUser = "";
let signsInBesides = false;

// --- Orders ---

/** Look for orders that others have placed, and for what the stream may have missed. */
async function look() {
  try {
    const page = await api.get("api/orders", { limit: PAGE });
    takePage("", page);
    table.become("loaded");
  } catch (error) {
    if (error.name !== "AbortError") table.become({ error: error.message });
  }
}

function takePage(filter, { orders: found, nextCursor }) {
  const behind = found.filter((order) => {
    const known = orders.get(order.orderId);
    const missed = known && Number(order.seq) > known.seq && stream.listensTo(order.orderId);
    return orders.takeSnapshot(order) && missed && Date.now() - Date.parse(order.updatedAt) > 2 * LOOK_SECONDS * 1000;
  });
  // Its subscriptions are lost where the engine has lost its Redis: nobody will push to them.
  if (behind.length) stream.restart();
  if (!cursors.has(filter)) cursors.set(filter, nextCursor);
  table.hasMore = Boolean(cursors.get(table.status.value));
  stream.synchronize();
}

/** Load the next page of what the filter shows; the first, where none was loaded. */
async function loadMore() {
  const filter = table.status.value;
  const status = filter === "open" ? "pending" : filter;
  const cursor = cursors.get(filter);
  const query = { limit: PAGE, ...(status && { status }), ...(cursor && { cursor }) };
  byId("load-more").disabled = true;
  try {
    const page = await api.get("api/orders", query);
    cursors.set(filter, page.nextCursor);
    takePage(filter, page);
    table.become("loaded");
  } catch (error) {
    notify(`Earlier orders could not be loaded. ${error.message}`, "bad");
  } finally {
    byId("load-more").disabled = false;
  }
}

async function cancel(orderId) {
  try {
    orders.takeSnapshot(await api.delete(`api/orders/${orderId}`));
  } catch (error) {
    notify(error instanceof Problem && error.status === 409 ? `Too late to cancel. ${error.message}` : error.message, "bad");
  }
}

async function readEvents(orderId) {
  return (await api.get(`api/orders/${orderId}/events`)).events;
}

/** Read what is missing between what is known of an order and what came. */
async function fillGap(orderId) {
  try {
    for (const event of await readEvents(orderId)) takeEvent(event);
  } catch {
    // The next look at the list brings the order up to date.
  }
}

function takeEvent(event) {
  timeline.take(event);
  const taken = orders.takeEvent(event);
  if (taken === "taken") tellOf(event);
  return taken;
}

function tellOf({ orderId, event, executedPrice, error, details }) {
  const order = orders.get(orderId);
  const what = `${order.side} ${pairOf(order)}`;
  if (event === "confirmed") announce(`${what} confirmed at ${exact(executedPrice)}.`);
  if (event === "failed") announce(`${what} failed: ${error}`);
  if (event === "cancelled" || event === "expired") announce(`${what} ${event}: ${details.reason}.`);
  if (event === "triggered") announce(`${what} was triggered.`);
}

function receive(message) {
  if (message.event === "error") {
    if (message.error.status === "401") stream.restart(); // with a new ticket, or to learn that the token has expired
  } else if (message.orderId && message.seq && takeEvent(message) === "gap") {
    fillGap(message.orderId);
  }
}

// --- The page ---

function showConnection() {
  const state = session.state === "expired" ? "closed" : stream.state;
  byId("connection").dataset.state = state;
  write(byId("connection-text"), CONNECTION[state]);
  if (state === "live") byId("banner").dataset.since = "";
  else if (!byId("banner").dataset.since) byId("banner").dataset.since = new Date().toISOString();
  showBanner(state);
}

function showBanner(state) {
  const since = time(byId("banner").dataset.since || new Date().toISOString());
  const expired = session.state === "expired";
  const text = expired
    ? `Your session has expired. What you see is as it was at ${since}.`
    : { offline: `You are offline. What you see is as it was at ${since}; it goes on when you are back.`,
        reconnecting: "The connection is lost. Trying again …" }[state];
  byId("banner").hidden = !text;
  byId("banner").dataset.kind = expired ? "expired" : state;
  byId("banner-action").hidden = !expired;
  if (text) write(byId("banner-text"), text);
}

function showSession() {
  const signedOut = session.state === "signed-out";
  signsInBesides &&= session.state === "expired";
  byId("sign-in").hidden = !signedOut && !signsInBesides;
  byId("workspace").hidden = signedOut;
  byId("connection").hidden = signedOut;
  byId("account").hidden = session.state !== "signed-in";
  byId("sign-in-redirect").hidden = !session.canRedirect;
  write(byId("account-user"), session.user);
  if (session.active) begin();
  else end();
  showConnection();
}

function begin() {
  if (session.user !== shownUser) forget();
  shownUser = session.user;
  if (polls.length) return;
  stream.start();
  ticket.start();
  chart.start();
  polls = [whileVisible(LOOK_SECONDS, look), startTiles(api)];
}

function end() {
  for (const poll of polls) poll.stop();
  polls = [];
  stream.stop();
  ticket.stop();
  chart.stop();
  if (session.state === "signed-out") forget();
}

/** Keep nothing of a user for the next one. */
function forget() {
  orders.clear();
  cursors.clear();
  ticket.forget();
  shownUser = "";
  table.become("loading");
}

function refuseSignIn(error) {
  write(byId("sign-in-error"), error.message);
  byId("sign-in-error").hidden = false;
}

async function signIn() {
  byId("sign-in-error").hidden = true;
  try {
    await session.redirect();
  } catch (error) {
    offerSignIn();
    refuseSignIn(error);
  }
}

/** Show how to sign in, above what is on the screen. */
function offerSignIn() {
  signsInBesides = true;
  showSession();
  byId("token").focus();
}

session.addEventListener("change", showSession);
stream.addEventListener("state", () => {
  showConnection();
  if (stream.state === "live") for (const poll of polls) poll.now();
});
stream.addEventListener("message", (event) => receive(event.detail));
orders.addEventListener("change", () => queueMicrotask(() => stream.synchronize()));
table.addEventListener("open", (event) => timeline.open(event.detail));
table.addEventListener("filter", () => (cursors.has(table.status.value) ? look() : loadMore()));
table.addEventListener("more", loadMore);
ticket.addEventListener("pair", () => chart.choose({ ...ticket.pair, side: ticket.side }));
ticket.addEventListener("placed", (event) => {
  const { orderId, status, asked } = event.detail;
  orders.takePlaced(orderId, status, asked);
});
byId("sign-in-redirect").addEventListener("click", signIn);
byId("banner-action").addEventListener("click", () => (session.canRedirect ? signIn() : offerSignIn()));
byId("sign-out").addEventListener("click", () => session.signOut());
byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const field = /** @type {HTMLInputElement} */ (byId("token"));
  const token = field.value.trim().replace(/^Bearer /i, "");
  field.value = "";
  byId("sign-in-error").hidden = true;
  if (token) session.use(token);
});

chart.choose({ ...ticket.pair, side: ticket.side });
try {
  await session.comeBack();
} catch (error) {
  refuseSignIn(error);
}
showSession();
