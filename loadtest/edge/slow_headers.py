#!/usr/bin/env python3
"""Measures what 10,000 connections that send a header a byte a second do to other clients.

Owns the phases, quiet and attack, and the table. Clients: 200 requests a second
on one connection, 20 a second each on a new one, and 200 a second straight to the
origin, which tells what the machine alone does to latencies. The gateway has CPU 1;
clients, attackers (attackers.py, nice 19) and origin share CPU 0. Exits 1 when a
client's request failed. README.md one folder up says how to read it.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from statistics import median

import gateway
import measure
import peers
import table


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tollgate", default=gateway.TOLLGATE, metavar="PATH")
    parser.add_argument("--attackers", type=int, default=10_000)
    parser.add_argument("--quiet", type=float, default=30, help="seconds before the attack (default 30)")
    parser.add_argument("--attack", type=float, default=60, help="seconds with all attackers connected (default 60)")
    args = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # The gateway keeps a second file for each connection; beyond that it refuses, which is not what is measured.
    if (fit := (hard - 128) // 2 - 150) < args.attackers:
        print(f"{hard} open files are enough for {fit} attackers, not {args.attackers}", file=sys.stderr)
        args.attackers = fit
    # Twice as many as attack: one that was cut is back before its old place is free.
    room = f"{{ max: {2 * args.attackers + 1000}, max_per_client: {args.attackers} }}"
    with gateway.EdgeBench(args.tollgate, room) as bench:
        return measured(bench, bench.start("tollgate"), args)


def measured(bench, running, args):
    clients = {
        "keep-alive, 200/s": child(bench, "open_loop.py", "--port", running.plain, "--rate", 200),
        "new connection, 20/s": child(bench, "open_loop.py", "--port", running.plain, "--rate", 20, "--new"),
        "straight to origin, 200/s": child(bench, "open_loop.py", "--port", bench.origin_port, "--rate", 200),
    }
    first = all([go_first(one.pid) for one in (running.process, bench.origin, *clients.values())])
    pids = {name: one.pid for name, one in clients.items()}
    pids = {"gateway": running.pid, "origin": bench.origin.pid, **pids}
    time.sleep(2)
    quiet = phase(bench, pids, args.quiet)
    ended = bench.ended_early("plain")
    attack = child(bench, "attackers.py", "--port", running.plain, "--count", args.attackers, "--ramp", RAMP)
    time.sleep(RAMP + 1)
    during = phase(bench, {**pids, "attackers": attack.pid}, args.attack)
    ended = {reason: count - ended.get(reason, 0) for reason, count in bench.ended_early("plain").items()}
    attackers = finish(attack)
    reports = {name: finish(one) for name, one in clients.items()}
    print(told(reports, quiet, during, attackers, ended))
    print(f"gateway, origin, clients {'go' if first else 'could not go (only root may)'} before neighbours (SCHED_RR)")
    return 1 if any(report["failed"] for report in reports.values()) else 0


def child(bench, script, *arguments):
    command = ["taskset", "-c", peers.GENERATOR_CPU, sys.executable, str(gateway.HERE / script), *map(str, arguments)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )
    bench.children.append(process)
    return process


def go_first(pid):
    """Others who compile on this machine do so in both phases, never alike: they wait. False: not allowed.

    A nice value would not do: each child is a session, and those share alike.
    """
    try:
        for member in measure.tree(pid):
            for task in measure.listing(f"/proc/{member}/task"):
                os.sched_setscheduler(int(task), os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        return False
    return True


def finish(process):
    out, _ = process.communicate(timeout=30)
    if not out.startswith("REPORT "):
        raise peers.PeerFailed(f"{process.args[4]} ended with {process.returncode}: {out}")
    return json.loads(out.removeprefix("REPORT "))


def phase(bench, pids, seconds):
    """Lets time pass; its ends, everybody's share of a CPU in it, the gateway's memory and connections."""
    began, busy = time.monotonic(), measure.busy_seconds()
    cpu, waited = {name: measure.cpu_ns(pid) for name, pid in pids.items()}, waited_ns(pids["gateway"])
    open_now, rss = [], []
    while time.monotonic() < began + seconds:
        time.sleep(1)
        open_now.append(bench.total("tollgate_connections_open", 'listener="plain"'))
        rss.append(resident_mb(pids["gateway"]))
    wall = time.monotonic() - began
    shares = {name: (measure.cpu_ns(pid) - cpu[name]) / 1e9 / wall for name, pid in pids.items()}
    shares["all others"] = (measure.busy_seconds() - busy) / wall - sum(shares.values())
    waited = (waited_ns(pids["gateway"]) - waited) / 1e9 / wall
    return {"from": began, "to": began + wall, "shares": shares, "waited": waited, "open": open_now, "rss": max(rss)}


def waited_ns(pid):
    """How long threads of the process were ready to run and did not, all together."""
    tasks = measure.listing(f"/proc/{pid}/task")
    return sum(int((measure.content(f"/proc/{pid}/task/{task}/schedstat").split() or [0, 0])[1]) for task in tasks)


def resident_mb(pid):
    # Not Pss as elsewhere: adding that up every second holds a lock that the gateway needs.
    lines = measure.content(f"/proc/{pid}/status").splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0) / 1024


def told(reports, quiet, during, attackers, ended):
    quantiles = ("p50", "p99", "p99.9", "p99 of 5 s")
    rows = [["µs", *(f"{when} {at}" for when in ("quiet", "attack", "ratio") for at in quantiles)]]
    for name, report in reports.items():
        before, now = (figures(report["samples"], when) for when in (quiet, during))
        ratios = [f"{b / a:.2f}" for a, b in zip(before, now)]
        rows.append([name, *(f"{us:.0f}" for us in (*before, *now)), *ratios])
    held = [one for one in attackers["held"] if during["from"] <= one[0] <= during["to"]]
    rate = (held[-1][2] - held[0][2]) / (held[-1][0] - held[0][0])
    return "\n".join([
        table.align(rows),
        f"failed requests: {sum(len(report['failed']) for report in reports.values())}"
        f" of {sum(len(report['samples']) for report in reports.values())}",
        f"attackers: {min(one[1] for one in held)} to {max(one[1] for one in held)} connected,"
        f" {rate / held[-1][1]:.2f} bytes a second each; {attackers['opened']} connections in all,"
        f" cut: {attackers['cut']}",
        f"gateway: {min(during['open'])} to {max(during['open'])} connections open; ended early: {ended};"
        f" RSS {quiet['rss']:.0f} MB quiet, {during['rss']:.0f} MB under attack",
        f"CPU, share of a core, quiet: {cpu_told(quiet)}",
        f"CPU, share of a core, attack: {cpu_told(during)}",
        *(f"failed: {name}, {began - during['from']:.1f} s into the attack: {why}"
          for name, report in reports.items() for began, why in report["failed"][:10]),
    ])


def cpu_told(phase):
    shares = ", ".join(f"{name} {share:.2f}" for name, share in phase["shares"].items())
    return f"{shares}; the gateway was ready and waited for its CPU {phase['waited'] * 1e3:.1f} ms a second"


def figures(samples, when):
    """p50, p99 and p99.9 of the requests that began in a phase, and the median of the p99 of its windows of 5 s.

    The last is what a phase has between a neighbour's interruptions. Of too few the quantile is the maximum.
    """
    of_phase = [one for one in samples if when["from"] <= one[0] < when["to"]]
    windows = {}
    for began, us in of_phase:
        windows.setdefault(int((began - when["from"]) / 5), []).append(us)
    whole = [us for _, us in of_phase]
    of_windows = median(quantile(of, 0.99) for of in windows.values())
    return [*(quantile(whole, share) for share in (0.5, 0.99, 0.999)), of_windows]


def quantile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


# Seconds over which attackers connect: their cuts then come as spread.
RAMP = 10

if __name__ == "__main__":
    gateway.run("slow_headers", main)
