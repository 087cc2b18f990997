// Signed identity: whatever a client writes into the token's field, the upstream gets one
// token, and it is the gateway's, for this request, at this time.
//
//   k6 run -e TARGET=https://gateway.example.com -e PATH_SIGNED=/orders -e JWKS=https://gateway.example.com/.well-known/jwks.json loadtest/k6/signed.js
//
// The upstream must answer with what it received, as target/debug/origin does: a member
// `headers`, a list of [name, value]. -e FIELD=jwt -e ISSUER= -e TTL=30 -e SECONDS=30;
// with -e UNSIGNED=/path also that a route without a signer passes no token on. The
// signature is verified where JWKS is given (ES256).

import http from 'k6/http';
import { check } from 'k6';
import encoding from 'k6/encoding';
import execution from 'k6/execution';
import { Counter } from 'k6/metrics';
import { RATE, TARGET, allGood, constant, inTime, judge, number, optionsOf, params } from './lib.js';

const SIGNED = __ENV.PATH_SIGNED || '/load/signed';
const UNSIGNED = __ENV.UNSIGNED || '';
const FIELD = (__ENV.FIELD || 'jwt').toLowerCase();
const ISSUER = __ENV.ISSUER || '';
const [TTL, SECONDS] = [number('TTL', 30), number('SECONDS', 30)];
// Clocks behind ours: a token counts from so many seconds before it was made.
const BACK = 5;

// k6 goes on where a script throws: what was not looked at must not look good.
const looked = new Counter('looked_at');

export const options = optionsOf(
  {
    signed: constant('signed', RATE, 0, SECONDS),
    ...(UNSIGNED ? { unsigned: constant('unsigned', RATE / 10, 0, SECONDS) } : {}),
  },
  { ...allGood('signed', RATE * SECONDS), ...inTime('signed'), looked_at: [`count>=${RATE * SECONDS}`] },
);

/** @returns {any} */
export function setup() {
  return __ENV.JWKS ? http.get(__ENV.JWKS, { headers: { Accept: 'application/json' } }).json('keys') : [];
}

/** @param {any[]} keys */
export async function signed(keys) {
  const nth = execution.scenario.iterationInTest;
  const path = `${SIGNED}/${nth}`;
  const method = nth % 2 === 0 ? 'GET' : 'POST';
  const answer = http.request(method, `${TARGET}${path}`, method === 'GET' ? null : '{}', params(forged(nth)));
  if (!judge(answer)) {
    return;
  }
  const tokens = received(answer);
  const ours = tokens.length === 1 ? parsed(tokens[0]) : null;
  check(ours, {
    'one token arrives, with three parts': (t) => t !== null,
    'its header says how and by which key it is signed': (t) =>
      t !== null && t.header.alg === 'ES256' && typeof t.header.kid === 'string' && t.header.kid !== '',
    'it is the gateway\'s and the upstream\'s': (t) =>
      t !== null && (ISSUER === '' ? typeof t.claims.iss === 'string' : t.claims.iss === ISSUER) &&
      typeof t.claims.aud === 'string' && typeof t.claims.jti === 'string',
    'it is for now and not for long': (t) => t !== null && inForce(t.claims),
    'it is for this request': (t) => t !== null && t.claims.htm === method && t.claims.htu === path,
    'nothing forged arrives': () => !String(answer.body).includes(FORGED),
  });
  if (__ENV.JWKS) {
    const verified = ours !== null && (await verifies(ours, keys));
    check(verified, { 'its signature verifies': (good) => good });
  }
  looked.add(1);
}

export function unsigned() {
  const answer = http.get(`${TARGET}${UNSIGNED}`, params(forged(execution.scenario.iterationInTest)));
  if (judge(answer)) {
    check(answer, {
      'no token arrives where none is made': (a) => received(a).length === 0,
      'nothing forged arrives there either': (a) => !String(a.body).includes(FORGED),
    });
  }
}

/** A client's own idea of the field, in another spelling each time.
 * @param {number} nth
 * @returns {Record<string, string>}
 */
function forged(nth) {
  const names = [FIELD, FIELD.toUpperCase(), FIELD[0].toUpperCase() + FIELD.slice(1)];
  return { [names[nth % names.length]]: `e30.e30.${FORGED}` };
}

/** @param {import('k6/http').Response} answer */
function received(answer) {
  /** @type {any} */
  const headers = answer.json('headers');
  return headers.filter((/** @type {string[]} */ field) => field[0].toLowerCase() === FIELD).map((/** @type {string[]} */ field) => field[1]);
}

/** @param {string} token */
function parsed(token) {
  const parts = token.split('.');
  if (parts.length !== 3) {
    return null;
  }
  const [header, claims] = parts.slice(0, 2).map((part) => JSON.parse(encoding.b64decode(part, 'rawurl', 's')));
  return { header, claims, text: `${parts[0]}.${parts[1]}`, signature: encoding.b64decode(parts[2], 'rawurl') };
}

/** @param {any} claims */
function inForce(claims) {
  const now = Date.now() / 1000;
  return claims.nbf <= now && now < claims.exp && claims.iat <= now && claims.exp - claims.iat <= TTL + BACK;
}

/**
 * @param {NonNullable<ReturnType<typeof parsed>>} token
 * @param {any[]} keys
 */
async function verifies(token, keys) {
  const jwk = keys.find((key) => key.kid === token.header.kid);
  if (jwk === undefined) {
    return false;
  }
  const { kty, crv, x, y } = jwk;
  const key = await crypto.subtle.importKey('jwk', { kty, crv, x, y }, { name: 'ECDSA', namedCurve: 'P-256' }, true, ['verify']);
  const bytes = new Uint8Array([...token.text].map((letter) => letter.charCodeAt(0)));
  return crypto.subtle.verify({ name: 'ECDSA', hash: 'SHA-256' }, key, token.signature, bytes);
}

const FORGED = 'f0rged-by-a-client';
