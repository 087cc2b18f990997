"""Instructions per request of the small duties, for the whole comparison.

Owns which proxies are counted at what, and the requests of `full`; how instructions
are counted is callgrind.py's. Nothing else that runs on the machine changes them.
"""

import callgrind
import duties
import limits
import peers
import routes
import signers

DUTIES = ("plain", "tls", "full")
PEERS = ("nginx", "stock", "bare", "unguided", "tollgate")
# 100 of the 1,000 routes, for callgrind is slow and a token lives for 30 s: each of 8
# connections asks for each route once before requests are counted.
ASKED, CLIENTS = 100, 8
FULL_RUNS = (1000, 3000)


def measured(bench, progress):
    """`{duty: {proxy: instructions per request}}`."""
    found = {}
    for duty in DUTIES:
        found[duty] = {}
        for name in PEERS:
            if why := bench.missing(name):
                progress(f"{name} is not counted: {why}")
                continue
            found[duty][name] = round(per_request(bench, name, duty))
            progress(f"{duty} {name}: {found[duty][name]} instructions per request")
    return found


def per_request(bench, name, duty):
    full = duty == "full"
    few, many = FULL_RUNS if full else callgrind.RUNS[duty]
    texts = signers.full(peers.told(name), bench) if full and peers.told(name) == "tollgate" else {}
    send = ask if full else duties.exactly
    low, high = (total(bench, name, duty, n, send, texts) for n in (few, many))
    return (high - low) / (many - few)


def total(*run):
    # Under valgrind nginx sometimes sleeps through the signal that ends it.
    try:
        return callgrind.total(callgrind.one_run(*run))
    except peers.PeerFailed:
        return callgrind.total(callgrind.one_run(*run))


def ask(count, _duty, bench, running):
    """Exactly so many requests, in turn for each of the routes that are asked for."""
    paths = bench.dir / "paths"
    paths.write_text("".join(f"https://127.0.0.1:{running.tls}{routes.prefix(n)}{routes.REST}\n" for n in range(ASKED)))
    done = duties.run(["h2load", "--h1", f"-n{count}", f"-c{CLIENTS}", "-t1", "-i", str(paths),
                       "-H", f"{limits.FIELD}: consumer-00004711"], bench, 600)
    if f"{count} succeeded" not in done.stdout:
        raise duties.GeneratorFailed(f"h2load on {running.name}: {done.stdout}{done.stderr}")
