"""The targets that the comparison judges, and by which figures.

Owns each target's number, its pair of cells and its verdict. A pair is of one suite,
whose rounds it shares, so that drift cancels. Does not own how cells are measured.
"""

from statistics import median

import table

# Cost of the first by cost of the second, round by round.
PAIRS = {
    "full by stock": (("full", "tollgate"), ("full", "stock")),
    "full by bare": (("full", "tollgate"), ("full", "bare")),
    "full by nginx": (("full", "tollgate"), ("full", "nginx")),
    "full by envoy": (("full", "tollgate"), ("full", "envoy")),
    "usual by stock": (("full-usual", "tollgate"), ("full", "stock")),
    "5,000/s: full by nginx": (("rate-full", "tollgate"), ("rate", "nginx")),
    "5,000/s: full by envoy": (("rate-full", "tollgate"), ("rate", "envoy")),
    "kept ES256 by lua HS256": (("sign-kept", "tollgate"), ("sign-hs256", "lua")),
    "kept ES256 by lua ES256": (("sign-kept", "tollgate"), ("sign-es256", "lua")),
    "kept ES256 by lua RS256": (("sign-kept", "tollgate"), ("sign-rs256", "lua")),
    "kept ES256 by lua kept": (("sign-kept", "tollgate"), ("sign-kept", "lua")),
    "each ES256 by lua ES256": (("sign-es256", "tollgate"), ("sign-es256", "lua")),
    "each RS256 by lua RS256": (("sign-rs256", "tollgate"), ("sign-rs256", "lua")),
    "handshake by nginx": (("handshake", "tollgate"), ("handshake", "nginx")),
    "X25519MLKEM768 by nginx's X25519": (("handshake-pq", "tollgate"), ("handshake-pq", "nginx")),
    "resumed by nginx": (("resumed", "tollgate"), ("resumed", "nginx")),
    "routes 10,000 by 1": (("routes-10000", "tollgate"), ("routes-1", "tollgate")),
    "endpoints 10,000 by 1": (("endpoints-10000", "tollgate"), ("endpoints-1", "tollgate")),
}
# Latency at the fixed rate, against nginx: what is more in p50, and p99 by p99.
LATE = (("rate-full", "tollgate"), ("rate", "nginx"))


def ratios(blocks):
    """All that the cells of a suite have figures for: `{name: {median, low, high}}`."""
    found = {name: told([table.cost(a) / table.cost(b) for a, b in zip(blocks[one], blocks[other])])
             for name, (one, other) in PAIRS.items() if one in blocks and other in blocks}
    if all(cell in blocks for cell in LATE):
        ours, theirs = (blocks[cell] for cell in LATE)
        found["5,000/s: p50 above nginx's, µs"] = told([late(a, "p50_us") - late(b, "p50_us") for a, b in zip(ours, theirs)])
        found["5,000/s: p99 by nginx's"] = told([late(a, "p99_us") / late(b, "p99_us") for a, b in zip(ours, theirs)])
    return found


def told(values):
    low, high = table.bootstrap(values)
    return {"median": median(values), "low": low, "high": high}


def late(slices, which):
    return median(one[which] for one in slices)


def judged(report):
    """`[number, duty, target, measured, verdict, command]` of each, with the header."""
    rows = [["#", "duty", "target", "measured [95 %]", "", "bare Pingora, our build", "`make compare-all FLAGS=…`"]]
    rows += [instructions(report, "1", "user instructions, full by bare Pingora with the same flags, without a profile", ("unguided", "bare"), 1.10)]
    rows += [instructions(report, "2", "user instructions, full, as it ships, by bare Pingora as cargo builds it", ("tollgate", "stock"), 0.95)]
    for number, duty, pair, limit, form, suite in TARGETS:
        figure = report.get("ratios", {}).get(pair)
        rows.append(row(number, duty, limit, figure, form, suite, bare(report, pair)))
    return rows + idle(report)


def instructions(report, number, duty, pair, limit):
    cells = report.get("instructions", {}).get("full", {})
    exact = cells[pair[0]] / cells[pair[1]] if set(pair) <= cells.keys() else None
    figure = None if exact is None else {"median": exact, "low": exact, "high": exact}
    return row(number, duty, limit, figure, "{:.3f}", "instructions")


def idle(report):
    cells = report.get("idle", {}).get("peers", {})
    if "tollgate" not in cells:
        return []
    each, mb = cells["tollgate"]["per_connection_kib"], cells["tollgate"]["rss_mb"]
    back = mb["after 60 s"] / mb["start"]
    exact = [{"median": value, "low": value, "high": value} for value in (each, back)]
    return [
        row("8", "an idle TLS connection", 34, exact[0], "{:.1f} KiB", "idle"),
        row("8", "memory 60 s after all closed, by that at the start", 2, exact[1], "{:.2f}", "idle"),
    ]


def bare(report, pair):
    """What the empty proxy itself stands at: no gateway on it can be below that for long."""
    duty, base = PAIRS[pair][1] if pair in PAIRS else ("", "")
    ratio = report.get("duties", {}).get(duty, {}).get("peers", {}).get("bare", {}).get("by", {}).get(base)
    return f"{ratio['median']:.2f}" if ratio else ""


def row(number, duty, limit, figure, form, suite, empty=""):
    command = f"`\"--only {suite}\"`"
    said = "≤ " + form.replace(".3f", ".2f").format(limit)
    if figure is None:
        return [number, duty, said, "not measured", "", empty, command]
    span = "" if figure["low"] == figure["high"] else f" [{form.format(figure['low'])} {form.format(figure['high'])}]"
    return [number, duty, said, f"**{form.format(figure['median'])}**{span}", verdict(figure, limit), empty, command]


def verdict(figure, limit):
    """Met when the median is, proven when the interval's upper end is too."""
    if figure["median"] > limit:
        return "**missed**" if figure["low"] > limit else "missed, within the interval"
    return "met" if figure["high"] <= limit else "met, not proven"


X, US = "{:.2f}", "{:+.0f} µs"
TARGETS = (
    ("2", "CPU, full by bare Pingora as cargo builds it", "full by stock", 0.95, X, "full"),
    ("3", "CPU, full, saturated TLS, by nginx's plain TLS proxying", "full by nginx", 1.7, X, "full"),
    ("3", "the same by Envoy without features", "full by envoy", 0.7, X, "full"),
    ("4", "CPU, full at 5,000 requests a second with TLS, by nginx", "5,000/s: full by nginx", 1.2, X, "rate"),
    ("4", "the same by Envoy", "5,000/s: full by envoy", 0.75, X, "rate"),
    ("5", "CPU, limit and kept ES256 token by nginx with Lua signing HS256 for each", "kept ES256 by lua HS256", 0.7, X, "signing"),
    ("5", "by nginx with Lua signing ES256 for each", "kept ES256 by lua ES256", 0.4, X, "signing"),
    ("5", "by nginx with Lua signing RS256 for each", "kept ES256 by lua RS256", 0.08, X, "signing"),
    ("6", "CPU, new TLS handshake (ECDSA) by nginx", "handshake by nginx", 0.82, X, "handshakes"),
    ("6", "X25519MLKEM768 by nginx's X25519", "X25519MLKEM768 by nginx's X25519", 0.90, X, "handshakes"),
    ("6", "resumed by nginx's resumed", "resumed by nginx", 0.80, X, "handshakes"),
    ("7", "p50 above nginx's at 5,000 a second with TLS, full", "5,000/s: p50 above nginx's, µs", 30, US, "rate"),
    ("7", "p99 by nginx's", "5,000/s: p99 by nginx's", 1.2, X, "rate"),
)
