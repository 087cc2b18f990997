// Verifies the token that Tollgate puts on a request: copy this file.
//
//     const verifier = new Verifier(new Keys(url, ["ES256"]), issuer, audience, { requireBind: ["path"] });
//     const claims = await verifier.verify(token, { method, target, host, body }); // or Refused
//
// Needs panva's `jose` (Debian: node-jose; npm: jose). server.js shows it at work,
// ../README.md says what each check is for.
"use strict";
const { createHash } = require("node:crypto");
const { readFile } = require("node:fs/promises");
const { decodeProtectedHeader, importJWK, jwtVerify } = require("jose");

const LEEWAY = 5; // seconds that clocks may differ
// What kind of key each algorithm takes. No `none`, and nothing with a shared secret.
const KINDS = new Map([
  ["ES256", "EC P-256"],
  ["EdDSA", "OKP Ed25519"],
  ["RS256", "RSA"],
  ["PS256", "RSA"],
]);
const PARTS = ["method", "path", "query", "host", "body"];
// jose overlooks letters that are no base64url.
const TOKEN = /^[\w-]+\.[\w-]+\.[\w-]+$/;

/** Why a token is not good: answer 401. */
class Refused extends Error {}

/** The gateway's public keys by `kid`, from a URL or a file, fetched again when needed. */
class Keys {
  constructor(source, algorithms, { refetch = 5, maxAge = 300 } = {}) {
    Object.assign(this, { source, algorithms, refetch, maxAge });
    this.keys = new Map();
    this.fetched = this.tried = -Infinity;
    this.fetching = null;
  }

  /** The algorithm and the key of this name; undefined if there is none. */
  async get(kid) {
    const known = this.keys.has(kid);
    const now = performance.now() / 1000;
    const wanted = !known || now - this.fetched >= this.maxAge;
    // Made-up names must not make us flood the gateway.
    if (wanted && !this.fetching && now - this.tried >= this.refetch) {
      this.fetching = this.fetch(now).finally(() => (this.fetching = null));
    }
    if (!known) await this.fetching; // Nobody waits whose key is here already.
    return this.keys.get(kid);
  }

  async fetch(now) {
    this.tried = now;
    try {
      const found = JSON.parse(await this.read()).keys.filter((key) => this.fits(key));
      const keys = found.map(async (key) => [key.kid, [key.alg, await importJWK(key)]]);
      this.keys = new Map(await Promise.all(keys));
      this.fetched = now;
    } catch (why) {
      console.error("key set not fetched:", why.cause ?? why); // The keys that are here stay good.
    }
  }

  async read() {
    if (!this.source.includes("://")) return readFile(this.source, "utf8");
    const answer = await fetch(this.source, { signal: AbortSignal.timeout(5000) });
    if (!answer.ok) throw new Error(`${this.source} answers ${answer.status}`);
    return answer.text();
  }

  fits({ kid, alg, kty, crv }) {
    const kind = [kty, crv].filter(Boolean).join(" ");
    return typeof kid === "string" && this.algorithms.includes(alg) && KINDS.get(alg) === kind;
  }
}

class Verifier {
  constructor(keys, issuer, audience, { requireBind = [], once = false, scheme = "http" } = {}) {
    Object.assign(this, { keys, issuer, audience, requireBind, scheme });
    this.seen = once ? new Map() : null;
  }

  /**
   * The claims of a token that is for exactly this request; else it throws Refused.
   * `target` is path and query as they came, neither decoded nor tidied.
   */
  async verify(token, request) {
    if (!TOKEN.test(token)) throw new Refused("it is no JWT");
    let claims;
    try {
      const { kid } = decodeProtectedHeader(token);
      const [algorithm, key] = (await this.keys.get(kid)) ?? [];
      if (!key) throw new Refused("the key is unknown");
      // The algorithm is the key's own; what the token says can only agree.
      const expected = { issuer: this.issuer, audience: this.audience, clockTolerance: LEEWAY };
      claims = (await jwtVerify(token, key, { algorithms: [algorithm], ...expected })).payload;
    } catch (why) {
      throw why instanceof Refused ? why : new Refused(why.message);
    }
    // jose takes a token without these, and one of tomorrow.
    for (const name of ["exp", "iat"]) {
      if (typeof claims[name] !== "number") throw new Refused(`\`${name}\` is missing`);
    }
    if (claims.iat > Date.now() / 1000 + LEEWAY) throw new Refused("it is not valid yet");
    this.checkRequest(claims, request);
    if (this.seen) this.checkOnce(claims); // Last: only a good token is used up.
    return claims;
  }

  checkRequest(claims, { method, target, host, body }) {
    const mark = target.indexOf("?");
    const [path, query] = mark < 0 ? [target, ""] : [target.slice(0, mark), target.slice(mark + 1)];
    const wholeUrl = !String(claims.htu ?? "/").startsWith("/");
    // Profile `kong_upstream_jwt`: in hex, and nothing of nothing.
    const plugins = body.length ? createHash("sha256").update(body).digest("hex") : "";
    const request = [
      ["method", "htm", method],
      ["path", "htu", wholeUrl ? `${this.scheme}://${host}${path}` : path],
      ["query", "qh", sha256(Buffer.from(query, "latin1"))],
      "payloadhash" in claims ? ["body", "payloadhash", plugins] : ["body", "bh", sha256(body)],
    ];
    for (const [part, claim, value] of request) {
      const required = this.requireBind.includes(part);
      if (!(claim in claims) && required) throw new Refused(`\`${claim}\` is missing`);
      // The gateway did not know the body: good only where nobody asks for it.
      if (part === "body" && claims[claim] === "UNSIGNED" && !required) continue;
      if (claim in claims && claims[claim] !== value) throw new Refused(`\`${claim}\` is of another request`);
    }
    if (this.requireBind.includes("host") && !wholeUrl) throw new Refused("`htu` names no host");
  }

  checkOnce({ jti, exp }) {
    if (typeof jti !== "string") throw new Refused("`jti` is missing");
    // In the order in which they came, so nearly in that of their ends.
    for (const [oldest, end] of this.seen) {
      if (end >= Date.now() / 1000) break;
      this.seen.delete(oldest);
    }
    if (this.seen.has(jti)) throw new Refused("the token was used before");
    this.seen.set(jti, exp + LEEWAY + 1);
  }
}

const sha256 = (data) => createHash("sha256").update(data).digest("base64url");

module.exports = { KINDS, Keys, PARTS, Refused, Verifier };
