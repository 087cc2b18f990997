// A small upstream with verify.js in it, set by the environment: see ../README.md.
"use strict";
const http = require("node:http");
const { KINDS, Keys, PARTS, Refused, Verifier } = require("./verify.js");

const MAX_BODY = 1 << 20;
const { env } = process;

function fail(text) {
  console.error(text);
  process.exit(1);
}

/** A setting that is a list; with a word that is misspelt nothing starts. */
function words(name, otherwise, allowed) {
  const found = (env[name] ?? otherwise).split(",").filter(Boolean);
  const wrong = found.find((word) => !allowed.includes(word));
  return wrong ? fail(`${name}: \`${wrong}\` is none of ${allowed.join(" ")}`) : found;
}

for (const name of ["JWKS", "ISSUER", "AUDIENCE"]) if (!env[name]) fail(`${name} is not set`);
const header = env.HEADER ?? "JWT";
const before = env.BEARER === "1" ? "Bearer " : "";
const algorithms = words("ALGORITHMS", "ES256", [...KINDS.keys()]);
if (!algorithms.length) fail("ALGORITHMS is empty");
const ages = { refetch: Number(env.JWKS_REFETCH ?? 5), maxAge: Number(env.JWKS_MAX_AGE ?? 300) };
const verifier = new Verifier(new Keys(env.JWKS, algorithms, ages), env.ISSUER, env.AUDIENCE, {
  requireBind: words("REQUIRE_BIND", "", PARTS),
  once: env.ONCE === "1",
  scheme: env.SCHEME ?? "http",
});

function tokenOf(request) {
  // `request.headers` would join two fields, or drop one: then it is not what came.
  const lines = request.headersDistinct[header.toLowerCase()] ?? [];
  if (lines.length !== 1) throw new Refused(`${lines.length} fields \`${header}\` instead of one`);
  if (!lines[0].startsWith(before)) throw new Refused(`\`${header}\` does not begin with \`${before}\``);
  return lines[0].slice(before.length);
}

/** All of it; null if it is too long. */
async function bodyOf(request) {
  const pieces = [];
  let length = 0;
  for await (const piece of request.iterator({ destroyOnReturn: false })) {
    length += piece.length;
    if (length > MAX_BODY) return null;
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

function answer(response, status, value) {
  const type = status === 200 ? "application/json" : "application/problem+json";
  if (status === 401) response.setHeader("WWW-Authenticate", 'Bearer error="invalid_token"');
  if (status === 413) response.setHeader("Connection", "close"); // The rest of the body is not read.
  response.writeHead(status, { "Content-Type": type }).end(JSON.stringify(value));
}

async function serve(request, response) {
  const { method, url: target } = request;
  try {
    const body = await bodyOf(request);
    if (!body) return answer(response, 413, { title: "Content Too Large", status: 413 });
    const token = tokenOf(request);
    answer(response, 200, await verifier.verify(token, { method, target, host: request.headers.host, body }));
  } catch (why) {
    if (!(why instanceof Refused)) throw why;
    answer(response, 401, { title: "Unauthorized", status: 401, detail: why.message });
  }
}

const server = http.createServer((request, response) => {
  serve(request, response).catch((why) => {
    console.error(why);
    response.destroy(); // The client went away, or there is a mistake here: no answer is no yes.
  });
});
const [, host, port] = /^(.*):(\d+)$/.exec(env.LISTEN ?? "127.0.0.1:8080") ?? fail("LISTEN is no HOST:PORT");
server.listen(Number(port), host, () => console.log(`listening on ${host}:${server.address().port}`));
