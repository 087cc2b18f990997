"""The whole comparison's figures as Markdown, and where they stand in README.md.

Owns what a reader sees: CPU by duty, the fixed rate, memory, instructions, the targets.
Statistics are table.py's, verdicts are targets.py's.
"""

from statistics import median

import suites
import table
import targets

# As they are called for readers, in their order.
NAMES = {
    "nginx": "nginx", "lua": "nginx + Lua", "haproxy": "HAProxy", "envoy": "Envoy",
    "stock": "Pingora, cargo's build", "bare": "Pingora, our build",
    "unguided": "Tollgate, no profile", "tollgate": "**Tollgate**",
}
RATES = ("rate", "rate-full")
BASES = ("nginx", "lua", "envoy", "stock", "bare")
BEGIN, END = "<!-- compare-all: made by loadtest/compare/everything.py -->", "<!-- compare-all: end -->"


def summary(blocks):
    """`{proxy: [slices of a round]}` of one duty as `{proxy: figures}`."""
    costs = {name: [table.cost(slices) for slices in of_name] for name, of_name in blocks.items()}
    found = {}
    for name, figures in table.summarise(blocks).items():
        kept = {key: figures[key] for key in KEPT}
        low, high = table.bootstrap(costs[name])
        ratios = {base: table.ratio(costs, name, base) for base in BASES if base in costs}
        late = sum(one.get("late", 0) for of_round in blocks[name] for one in of_round)
        found[name] = {**kept, "cpu_us_low": low, "cpu_us_high": high, "by": ratios, "rounds": len(costs[name]), "late": late}
    return found


KEPT = (
    "cpu_us_per_request", "requests_per_second", "p50_us", "p99_us", "rss_mb", "utilisation", "foreign_cpu",
    "requests", "errors", "session",
)


def errors(report):
    """Everything that makes a figure worthless, in words."""
    return [
        f"{duty}: {name} had {figures['errors']} errors in {figures['requests']} requests"
        for duty, what in report.get("duties", {}).items() for name, figures in what["peers"].items() if figures["errors"]
    ]


def markdown(report):
    parts = [heading(report), conditions(report), costs(report), rate(report), memory(report), instructions(report), judged(report), notes(report)]
    return "\n\n".join(part for part in parts if part)


def heading(report):
    runs = report.get("measured", {})
    if not runs:
        return "Nothing was measured."
    one = next(iter(runs.values()))
    dates = sorted(run["date"] for run in runs.values())
    commits = ", ".join(sorted({run["commit"] for run in runs.values()}))
    versions = ", ".join(f"{name} {number}" for name, number in report.get("versions", {}).items())
    return (f"{one['cpu']}, {one['cores']} cores, {one['system']}, Linux {one['kernel']}; {dates[0][:16]} to {dates[-1][:16]}, "
            f"commit {commits}; {versions}. {asleep(runs)} {built(runs)}")


def asleep(runs):
    """Where idle CPUs slept, so that whoever woke them paid."""
    timed = [name for name in runs if name != "instructions"]
    slept = [f"`{name}`" for name in timed if not runs[name].get("idle_cpus_poll")]
    if slept and len(slept) == len(timed):
        return "Idle CPUs slept, and whoever woke one paid for it."
    return "Idle CPUs polled (`/dev/cpu_dma_latency` was held)" + (f", but not in {', '.join(slept)}." if slept else ".")


def built(runs):
    """Which suites had the build that ships."""
    plain = [f"`{name}`" for name in runs if not runs[name].get("by_profile")]
    return "Tollgate is built by a profile (`make pgo`), the bare proxies are not" + (f"; in {', '.join(plain)} it was not yet." if plain else ".")


def costs(report):
    """CPU per request: duties down, proxies across, and Tollgate by the others."""
    duties = {name: report["duties"][name] for name in order() if name in report.get("duties", {}) and name not in RATES}
    if not duties:
        return ""
    shown = [name for name in NAMES if any(name in what["peers"] for what in duties.values())]
    head = ["CPU µs per request", *(NAMES[name] for name in shown), "by nginx [95 %]", "by Envoy", "by Pingora, our build"]
    rows = [head]
    for duty, what in duties.items():
        peers = what["peers"]
        cells = [number(peers[name]["cpu_us_per_request"]) if name in peers else "" for name in shown]
        by = peers.get("tollgate", {}).get("by", {})
        rows.append([f"`{duty}`", *cells, span(by.get("nginx") or by.get("lua")), mid(by.get("envoy")), mid(by.get("bare"))])
    meanings = "\n".join(f"- `{duty}`: {what['meaning']}" for duty, what in duties.items())
    return grid(rows) + "\n\n" + "Of `sign-…` and `verified-…` *by nginx* is by nginx with Lua.\n\n" + meanings


def order():
    return [duty for suite in suites.SUITES.values() for duty in suite.duties]


def rate(report):
    """Latency at the fixed rate."""
    duties = {name: report["duties"][name]["peers"] for name in RATES if name in report.get("duties", {})}
    if not duties:
        return ""
    rows = [["5,000 requests a second, TLS, open loop", "CPU µs per request", "p50 µs", "p99 µs", "sent late"]]
    for duty, peers in duties.items():
        for name in [name for name in NAMES if name in peers]:
            figures = peers[name]
            label = NAMES[name] + (", full" if duty == "rate-full" else "")
            late = f"{figures['late']} of {figures['requests']:,}"
            rows.append([label, number(figures["cpu_us_per_request"]), *(f"{figures[p]:.0f}" for p in ("p50_us", "p99_us")), late])
    return grid(rows)


def memory(report):
    idle = report.get("idle")
    if not idle:
        return ""
    times = list(next(iter(idle["peers"].values()))["rss_mb"])
    times.sort(key=lambda when: ("start", "held").index(when) if when in ("start", "held") else 2 + int(when.split()[1]))
    rows = [[f"{idle['connections']:,} idle TLS connections", "KiB each", *(f"MB {when}" for when in times)]]
    rows += [[NAMES[name], f"{cell['per_connection_kib']:.1f}", *(f"{cell['rss_mb'][when]:.0f}" for when in times)]
             for name, cell in ordered(idle["peers"])]
    return grid(rows)


def instructions(report):
    counted = report.get("instructions")
    if not counted:
        return ""
    names = [name for name in NAMES if any(name in cells for cells in counted.values())]
    rows = [["user instructions per request", *(NAMES[name] for name in names), "no profile by Pingora, our build", "as it ships by cargo's build"]]
    for duty in [duty for duty in ("plain", "tls", "full") if duty in counted]:
        cells = counted[duty]
        by = [f"{cells[one] / cells[base]:.3f}" if {one, base} <= cells.keys() else "" for one, base in (("unguided", "bare"), ("tollgate", "stock"))]
        rows.append([f"`{duty}`", *(f"{cells[name]:,}" if name in cells else "" for name in names), *by])
    return grid(rows)


def judged(report):
    return "**Targets**\n\n" + grid(targets.judged(report))


def notes(report):
    """Who is not there, and which figures neighbours disturbed."""
    said = ["**Who is not there, and why**\n"]
    said += [f"- {what}: {why}." for what, why in suites.MISSING.items()]
    said += [f"- {NAMES.get(name, name).strip('*')}: {why}." for name, why in report.get("skipped", {}).items()]
    return "\n".join(said + [f"- {line}." for line in errors(report)])


def conditions(report):
    """What was different from one suite to the next, and which of them neighbours disturbed."""
    said = [f"- `{suite}`: {run['note']}." for suite, run in report.get("measured", {}).items() if run.get("note")]
    loud = []
    for duty, what in report.get("duties", {}).items():
        foreign = median(figures["foreign_cpu"] for figures in what["peers"].values())
        if foreign > table.QUIET:
            loud.append(f"`{duty}` ({foreign:.2f})")
    if loud:
        said.append(f"- Neighbours used more than {table.QUIET} of a core during {', '.join(loud)}: trust the ratios only.")
    return "\n".join(said)


def put(path, text):
    """Replaces what stands between the two marks of a file."""
    old = path.read_text()
    before, rest = old.split(BEGIN)
    path.write_text(before + BEGIN + "\n\n" + text + "\n\n" + END + rest.split(END)[1])


def ordered(peers):
    return [(name, peers[name]) for name in NAMES if name in peers]


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def span(ratio):
    return f"**{ratio['median']:.2f}** [{ratio['low']:.2f} {ratio['high']:.2f}]" if ratio else ""


def mid(ratio):
    return f"{ratio['median']:.2f}" if ratio else ""


def grid(rows):
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])
