/**
 * Who the user is: by OpenID Connect's authorization code with PKCE (RFC 7636), or by a token that was pasted.
 *
 * The page is a public client: it has no secret. The token is kept in memory only; while the browser is at the issuer,
 * session storage keeps what proves that its answer is for us, and nothing after that. Where the engine is open to all
 * there is nobody to sign in.
 */

const KEPT = "console sign-in";
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** @typedef {{ issuer: string, clientId: string, scopes: string, audience: string }} SignIn */

/** A sign-in that did not succeed; the message is for the user. */
export class SignInFailed extends Error {}

/** Fires `change` when somebody signs in or out, or the token expires. */
export class Session extends EventTarget {
  #token = "";
  #timer = 0;

  /** @param {{ authMode: string, signIn: SignIn | null }} settings */
  constructor(settings) {
    super();
    this.settings = settings;
    this.user = "";
    /** @type {"open" | "signed-out" | "signed-in" | "expired"} */
    this.state = settings.authMode === "open" ? "open" : "signed-out";
  }

  get needsTicket() {
    return this.state !== "open";
  }

  /** Whether calls are of use now. */
  get active() {
    return this.state === "open" || this.state === "signed-in";
  }

  get canRedirect() {
    return Boolean(this.settings.signIn?.clientId);
  }

  /** @returns {Record<string, string>} what proves to the engine who calls */
  get headers() {
    return this.#token ? { Authorization: `Bearer ${this.#token}` } : {};
  }

  /**
   * Use a token; what it says of its user and its end is for the screen only, the engine checks it.
   *
   * @param {string} token
   * @param {number} [seconds] for how long it is good, where the issuer said so
   */
  use(token, seconds) {
    const claims = claimsOf(token);
    const milliseconds = (claims.exp ? Number(claims.exp) * 1000 - Date.now() : (seconds ?? Infinity) * 1000);
    this.#token = token;
    this.user = String(claims.sub ?? "");
    clearTimeout(this.#timer);
    this.#become("signed-in");
    if (milliseconds < LONGEST_TIMER_MS) this.#timer = setTimeout(() => this.expire(), Math.max(milliseconds, 0));
  }

  /** Note that the token is good no longer. What is on the screen stays. */
  expire() {
    if (this.state === "signed-in") this.#end("expired");
  }

  signOut() {
    if (this.state !== "open") this.#end("signed-out");
  }

  #end(state) {
    this.#token = "";
    clearTimeout(this.#timer);
    this.#become(state);
  }

  #become(state) {
    this.state = state;
    this.dispatchEvent(new Event("change"));
  }

  /** Leave for the issuer's page, which comes back here. */
  async redirect() {
    const { clientId, scopes, audience } = this.#signIn();
    if (!globalThis.crypto?.subtle) {
      throw new SignInFailed("A browser signs in over https only (or on localhost). Open this page over https.");
    }
    const { authorization_endpoint: endpoint } = await this.#configuration();
    const state = randomText();
    const verifier = randomText();
    sessionStorage.setItem(KEPT, JSON.stringify({ state, verifier }));
    const address = webAddress(endpoint);
    for (const [name, value] of Object.entries({
      response_type: "code",
      client_id: clientId,
      redirect_uri: pageAddress(),
      scope: scopes,
      audience,
      state,
      code_challenge: await challengeOf(verifier),
      code_challenge_method: "S256",
    })) {
      address.searchParams.set(name, value);
    }
    location.assign(address.href);
  }

  /**
   * Finish what `redirect` began, if the issuer has just sent the browser back here.
   *
   * @throws {SignInFailed}
   */
  async comeBack() {
    const answer = new URLSearchParams(location.search);
    const kept = JSON.parse(sessionStorage.getItem(KEPT) ?? "null");
    sessionStorage.removeItem(KEPT);
    if (this.state === "open" || !answer.has("state") || !(answer.has("code") || answer.has("error"))) return;
    history.replaceState(null, "", location.pathname);
    if (kept === null || answer.get("state") !== kept.state) {
      throw new SignInFailed("This answer belongs to no sign-in of this tab. Sign in again.");
    }
    const issuer = this.#signIn().issuer;
    if (answer.has("iss") && answer.get("iss") !== issuer) {
      throw new SignInFailed(`This answer is from ${answer.get("iss")}, and the engine trusts ${issuer}.`);
    }
    if (answer.has("error")) {
      throw new SignInFailed(answer.get("error_description") ?? `The sign-in was refused: ${answer.get("error")}.`);
    }
    const { access_token: token, expires_in: seconds } = await this.#exchange(answer.get("code"), kept.verifier);
    this.use(token, seconds);
  }

  async #exchange(code, verifier) {
    const { token_endpoint: endpoint } = await this.#configuration();
    const granted = await fetchJson(
      webAddress(endpoint),
      "If that address is right, name its origin in CONSOLE_TOKEN_ORIGIN.",
      {
        method: "POST",
        body: new URLSearchParams({
          grant_type: "authorization_code",
          client_id: this.#signIn().clientId,
          redirect_uri: pageAddress(),
          code,
          code_verifier: verifier,
        }),
      },
    );
    if (typeof granted.access_token !== "string") {
      throw new SignInFailed(`The issuer gave no token: ${granted.error_description ?? granted.error ?? "no reason"}.`);
    }
    return granted;
  }

  async #configuration() {
    const { issuer } = this.#signIn();
    const address = webAddress(`${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`);
    const found = await fetchJson(address, "Is the issuer up, and does it allow this page's origin?");
    if (found.issuer !== issuer) {
      throw new SignInFailed(`${address} is the configuration of ${found.issuer}, and the engine trusts ${issuer}.`);
    }
    return found;
  }

  /** @returns {SignIn} */
  #signIn() {
    if (!this.settings.signIn) throw new SignInFailed("This engine has no issuer to sign in at.");
    return this.settings.signIn;
  }
}

async function fetchJson(address, hint, request = {}) {
  try {
    const answer = await fetch(address, { ...request, credentials: "omit", referrerPolicy: "no-referrer" });
    return await answer.json();
  } catch {
    throw new SignInFailed(`${address.origin}${address.pathname} does not answer as it should. ${hint}`);
  }
}

/** Read an address of the issuer's; one that is no web address is not to be gone to. */
function webAddress(text) {
  if (!/^https?:/.test(text ?? "")) throw new SignInFailed(`The issuer names ${text} as an address, which is none.`);
  return new URL(text);
}

function pageAddress() {
  return location.origin + location.pathname;
}

function randomText() {
  return base64url(crypto.getRandomValues(new Uint8Array(32)));
}

async function challengeOf(verifier) {
  return base64url(new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier))));
}

/** @param {Uint8Array} bytes */
function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

/** Return what a token says, unchecked; a token that is no JWT says nothing. */
function claimsOf(token) {
  try {
    const bytes = Uint8Array.from(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")), (character) =>
      character.charCodeAt(0),
    );
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return {};
  }
}
