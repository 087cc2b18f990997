#!/usr/bin/env bash
# `make run`: three origins in three zones, the gateway in front of them with
# conf/demo.yaml, and a handful of commands to try. Ctrl-C ends it all.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=target/debug
mkdir -p .demo/tls

if [ ! -s .demo/tls/demo.pem ] || ! openssl x509 -checkend 86400 -noout -in .demo/tls/demo.pem >/dev/null; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
    -subj "/CN=localhost" -addext "subjectAltName=DNS:localhost,DNS:*.localhost,DNS:*.plat-dev.localhost" \
    -keyout .demo/tls/demo.key -out .demo/tls/demo.pem 2>/dev/null
  chmod 600 .demo/tls/demo.key
fi

children=()
end() {
  trap - EXIT INT TERM
  # After an upgrade it is no child of this shell.
  "$bin/tollgate" drain --no-wait --socket .demo/admin.sock >/dev/null 2>&1 || true
  for pid in "${children[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
}
trap end EXIT
trap 'exit 0' INT TERM

for n in 1 2 3; do
  "$bin/origin" --listen "127.0.0.1:700$n" --name "origin-$n" --zone "use1-az$n" >/dev/null &
  children+=($!)
done
"$bin/tollgate" run --config conf/demo.yaml >.demo/access.log &
gateway=$!
children+=("$gateway")

for _ in $(seq 100); do
  curl -fs http://127.0.0.1:8081/readyz >/dev/null 2>&1 && break
  kill -0 "$gateway" 2>/dev/null || { echo "the gateway did not start; its words are above" >&2; exit 1; }
  sleep 0.1
done

cat <<TRY

Tollgate serves conf/demo.yaml. In another terminal:

  # routing: by method and path, the prefix taken off before it goes upstream
  curl -k https://localhost:8443/products/7
  curl -k https://localhost:8443/orders -d '{"item": 7}'

  # canary: everyone gets ping-stable, a tester with the header gets ping-canary
  curl -k https://api.plat-dev.localhost:8443/ping --resolve api.plat-dev.localhost:8443:127.0.0.1
  curl -k https://api.plat-dev.localhost:8443/ping --resolve api.plat-dev.localhost:8443:127.0.0.1 -H 'x-canary: 1'

  # headers that the gateway adds, and does not let a client forge (see "headers")
  curl -k https://localhost:8443/products/7 -H 'X-Forwarded-For: 6.6.6.6'

  # a refusal, and why
  curl -ik https://localhost:8443/orders
  $bin/tollgate explain --socket .demo/admin.sock --host localhost --path /orders

  # what it does: metrics, status, one line a request
  curl -s http://127.0.0.1:9901/metrics | grep tollgate_requests_total
  $bin/tollgate status --socket .demo/admin.sock --watch     # or http://127.0.0.1:9901/ in a browser
  tail -n 1 .demo/access.log

  # change conf/demo.yaml, then
  $bin/tollgate reload --dry-run --socket .demo/admin.sock
  $bin/tollgate reload --socket .demo/admin.sock
  $bin/tollgate rollback --socket .demo/admin.sock

  # a new process, and no connection is lost
  $bin/tollgate upgrade --socket .demo/admin.sock

Ctrl-C ends it all.
TRY
wait "$gateway" || true
# An upgrade: another process serves.
while "$bin/tollgate" status --socket .demo/admin.sock >/dev/null 2>&1; do sleep 1; done
