// A public key, PEM, as a JWK: with jose's own calculation.
const { calculateJwkThumbprint, exportJWK, importSPKI } = require("jose");
const [path, alg] = process.argv.slice(1);
(async () => {
  const jwk = await exportJWK(await importSPKI(require("node:fs").readFileSync(path, "utf8"), alg));
  const kid = await calculateJwkThumbprint(jwk);
  console.log(JSON.stringify({ ...jwk, kid, alg, use: "sig" }));
})();
