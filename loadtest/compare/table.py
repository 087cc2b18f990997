"""Turns slices into figures, and figures into a table.

Owns the statistics: a block is one comparison, so ratios are taken per block and
their median is told with a 95 % bootstrap interval; drift over minutes cancels.
Knows nothing of processes.
"""

import random
from statistics import median


def summarise(blocks):
    """`{name: [[slice, ..] per block]}` of one duty, as `{name: figures}`."""
    costs = {name: [cost(slices) for slices in of_name] for name, of_name in blocks.items()}
    figures = {}
    for name, of_name in blocks.items():
        slices = [one for block in of_name for one in block]
        figures[name] = {
            "cpu_us_per_request": median(costs[name]),
            "requests_per_second": median(one["requests"] / one["seconds"] for one in slices),
            "p50_us": median(one["p50_us"] for one in slices),
            "p99_us": median(one["p99_us"] for one in slices),
            "rss_mb": max(one["rss_mb"] for one in slices),
            "utilisation": median(one["utilisation"] for one in slices),
            "foreign_cpu": median(one["foreign_cpu"] for one in slices),
            "origin_cpu_us_per_request": median(one["origin_cpu_us"] / one["requests"] for one in slices),
            "requests": sum(one["requests"] for one in slices),
            "errors": sum(one["errors"] for one in slices),
            "resumed": sum(one["resumed"] for one in slices) if "resumed" in slices[0] else None,
            "tickets": sum(one.get("tickets", 0) for one in slices),
            "session": slices[0].get("session"),
            "ratio_to_nginx": ratio(costs, name, "nginx"),
            "ratio_to_bare": ratio(costs, name, "bare"),
            "blocks": of_name,
        }
    return figures


def cost(slices):
    """CPU µs per request over the slices of one block."""
    return sum(one["cpu_us"] for one in slices) / sum(one["requests"] for one in slices)


def ratio(costs, name, base):
    """Median over blocks of this proxy's cost by the base's, with its interval."""
    if base not in costs:
        return None
    ratios = [mine / theirs for mine, theirs in zip(costs[name], costs[base])]
    low, high = bootstrap(ratios)
    return {"median": median(ratios), "low": low, "high": high}


def bootstrap(values, rounds=2000):
    """The 95 % interval of the median; the same values give the same interval."""
    dice = random.Random(0)
    medians = sorted(median(dice.choices(values, k=len(values))) for _ in range(rounds))
    return medians[int(rounds * 0.025)], medians[int(rounds * 0.975)]


def over(base, blocks):
    """Cells of a table: what the base costs, and what the blocks cost more, in µs and by the base."""
    pairs = [(cost(with_it), cost(without)) for with_it, without in zip(blocks, base)]
    more, by = [a - b for a, b in pairs], [a / b for a, b in pairs]
    spans = [bootstrap(more), bootstrap(by)]
    return [
        f"{median(without for _, without in pairs):.2f}",
        f"{median(more):+.2f} [{spans[0][0]:+.2f} {spans[0][1]:+.2f}]",
        f"{median(by):.3f} [{spans[1][0]:.3f} {spans[1][1]:.3f}]",
    ]


def comparison(report):
    """The table of a comparison, as text."""
    parts = [heading(report)]
    for duty, figures in report["duties"].items():
        rows = [COLUMNS, *(row(name, of_name) for name, of_name in figures.items())]
        parts.append(f"{duty}: {report['meaning'][duty]}\n{align(rows)}")
        parts += remarks(duty, figures)
    parts += [f"skipped: {name}: {why}" for name, why in report["skipped"].items()]
    return "\n\n".join(parts)


def heading(report):
    machine, versions = report["machine"], report["versions"]
    return "\n".join([
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}, Linux {machine['kernel']}, "
        f"idle CPUs {'polled' if machine['idle_cpus_poll'] else 'slept'}",
        f"{machine['date']}, {report['method']}",
        *(f"{name}: {text}" for name, text in versions.items()),
    ])


def row(name, figures):
    return [
        name,
        f"{figures['cpu_us_per_request']:.1f}",
        f"{figures['requests_per_second']:.0f}",
        f"{figures['p50_us']:.0f}",
        f"{figures['p99_us']:.0f}",
        f"{figures['rss_mb']:.1f}",
        f"{figures['utilisation']:.2f}",
        interval(figures["ratio_to_nginx"]),
        interval(figures["ratio_to_bare"]),
    ]


def interval(found):
    return "-" if found is None else f"{found['median']:.2f} [{found['low']:.2f} {found['high']:.2f}]"


def remarks(duty, figures):
    """What a reader must know before believing a duty's figures."""
    said = []
    foreign = median(of_name["foreign_cpu"] for of_name in figures.values())
    if foreign > QUIET:
        said.append(f"{duty}: neighbours used {foreign:.2f} of a core: trust the ratios, not µs, rps or p99")
    for name, of_name in figures.items():
        if of_name["errors"]:
            said.append(f"{duty}: {name} had {of_name['errors']} errors in {of_name['requests']} requests")
        if of_name["resumed"]:
            said.append(f"{duty}: {name} resumed {of_name['resumed']} sessions: not full handshakes, VOID")
        if of_name["tickets"]:
            said.append(f"{duty}: {name} sent session tickets although they are off: it did more than the others")
    resumed = {name: f["resumed"] for name, f in figures.items() if f["resumed"] is not None}
    if resumed and not any(resumed.values()):
        total = sum(figures[name]["requests"] for name in resumed)
        sessions = sorted({figures[name]["session"] for name in resumed})
        said.append(f"{duty}: 0 of {total} sessions were resumed; {', '.join(sessions)}")
    return said


def align(rows):
    """Columns as wide as their widest cell; names to the left, figures to the right."""
    widths = [max(len(line[i]) for line in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:]))]).rstrip()
        for line in rows
    )


COLUMNS = ["", "CPU µs/req", "rps", "p50 µs", "p99 µs", "RSS MB", "util", "to nginx [95 %]", "to bare [95 %]"]
# Foreign CPU, in cores, below which absolute figures may be quoted.
QUIET = 0.15
