"""Counts instructions per request under callgrind, and says which functions they are in.

Owns the two runs per cell, with 500 and with 2500 requests: their difference by
2000 is what one request costs, without start-up, handshakes and shutdown (the
`handshake` duty: 50 and 250). User space only, every thread counted, immune to
load. Valgrind knows no AVX-512: a binary built for the native CPU dies under it.
"""

import re
import subprocess
from collections import defaultdict

import duties
import limits
import signing
from peers import PeerFailed
from table import align

# How many requests the shorter and the longer run of a cell make.
RUNS = {"plain": (500, 2500), "tls": (500, 2500), "handshake": (50, 250), **dict.fromkeys([*limits.DUTIES, *signing.DUTIES], (500, 2500))}


def measure_instructions(bench, names, kinds, progress):
    """`{duty: {name: {"per_request": n, "runs": {count: file}}}}`."""
    found = {}
    for duty in kinds:
        found[duty] = {}
        for name in names:
            runs = {count: one_run(bench, name, duty, count) for count in RUNS[duty]}
            few, many = runs
            per_request = (total(runs[many]) - total(runs[few])) / (many - few)
            found[duty][name] = {"per_request": per_request, "runs": runs}
            progress(f"{duty} {name}: {per_request:.0f} instructions per request")
    return found


def one_run(bench, name, duty, count, send=duties.exactly, texts=None):
    """Starts the proxy under callgrind, sends exactly `count` requests, ends it; the file it dumped."""
    out = bench.dir / f"callgrind.{name}.{duty}.{count}"
    wrapper = [
        "valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--dump-instr=no",
        "--separate-threads=no", "--fair-sched=yes", "--quiet",
    ]
    running = bench.start(name, wrapper, patience=90, texts=texts)
    send(count, duty, bench, running)
    if not bench.stop(running, patience=60):
        raise PeerFailed(f"{name} did not end on SIGINT, so callgrind dumped nothing")
    if not out.exists():
        raise PeerFailed(f"callgrind dumped nothing for {name}:\n{bench.output(name)}")
    return out


def total(path):
    """Instructions of a whole run, over all threads."""
    for line in path.read_text(errors="replace").splitlines():
        if line.startswith(("summary:", "totals:")):
            return int(line.split()[1])
    raise PeerFailed(f"no total in {path}")


def functions(runs):
    """`{function: instructions per request}` of one cell, self cost."""
    costs = defaultdict(float)
    few, many = runs
    for count, sign in ((many, 1), (few, -1)):
        for name, instructions in annotated(runs[count]):
            costs[name] += sign * instructions / (many - few)
    return costs


def annotated(path):
    """`(function, instructions)` of every function of a run."""
    done = subprocess.run(
        ["callgrind_annotate", "--threshold=100", "--auto=no", str(path)],
        capture_output=True, text=True, check=True,
    )
    for line in done.stdout.splitlines():
        match = LINE.match(line)
        if match and match["name"] != "PROGRAM TOTALS":
            yield plain_name(match["name"]), int(match["ir"].replace(",", ""))


def plain_name(name):
    """The function without file, object, hash, recursion depth and whose proxy it is: comparable in two builds."""
    name = re.sub(r" \[[^\[\]]*\]$", "", name)
    name = re.sub(r"HttpProxy<[\w:]+>", "HttpProxy<SV>", name)
    name = re.sub(r"^[^ ]*?:(?!:)", "", name)
    return re.sub(r"(::h[0-9a-f]{16}|'\d+)+$", "", name)


def difference(ours, bare, names=("tollgate", "bare"), top=40):
    """A table of where two cells, Tollgate and the bare proxy if not told otherwise, differ most, in instructions per request."""
    rows = sorted(
        ((name, ours.get(name, 0.0), bare.get(name, 0.0)) for name in ours.keys() | bare.keys()),
        key=lambda row: -abs(row[1] - row[2]),
    )
    lines = [[f"{name[:110]}", *cells(mine, theirs)] for name, mine, theirs in rows[:top]]
    whole = ["all functions", *cells(sum(ours.values()), sum(bare.values()))]
    return align([["function", *names, "difference"], *lines, whole])


def by_crate(ours, bare):
    """The same difference, summed by the first word of the function's path."""
    sums = defaultdict(lambda: [0.0, 0.0])
    for column, costs in enumerate((ours, bare)):
        for name, instructions in costs.items():
            sums[crate(name)][column] += instructions
    rows = sorted(sums.items(), key=lambda item: -abs(item[1][0] - item[1][1]))
    lines = [[name, *cells(mine, theirs)] for name, (mine, theirs) in rows if mine >= 20 or theirs >= 20]
    return align([["crate", "tollgate", "bare", "difference"], *lines])


def crate(name):
    path = re.match(r"^[<&(\[ ]*(?:dyn |mut |\*const )*([A-Za-z_]\w*)::", name)
    return path[1] if path else "C (libc, BoringSSL, mimalloc)"


def cells(mine, theirs):
    return [f"{mine:.0f}", f"{theirs:.0f}", f"{mine - theirs:+.0f}"]


LINE = re.compile(r"^\s*(?P<ir>[\d,]+) (?:\(\s*[\d.]+%\)\s+)?(?P<name>\S.*)$")
