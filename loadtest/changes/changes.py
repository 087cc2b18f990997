#!/usr/bin/env python3
"""Changes a server under load, hundreds of times, and counts what that costs its clients.

Owns the order of a run: a server, clients of every kind (clients.py), reloads with
upgrades among them, the end of the clients, and what is left of the server. nginx
and HAProxy meet the same clients, each with fewer changes. Exits 1 when Tollgate
lost, refused or reset anything, cut a stream before its ceiling, or left a process
or a file behind.
"""

import argparse
import json
import random
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "edge"))

import gateway  # noqa: E402  (compare/ is importable from here on)
import account  # noqa: E402
import figures  # noqa: E402
import measure  # noqa: E402
import peers  # noqa: E402
import table  # noqa: E402
from servers import SERVERS, Change, ChangesBench, Server  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tollgate", default=gateway.TOLLGATE, metavar="PATH")
    parser.add_argument("--origin", default=str(peers.ROOT / "target" / "debug" / "origin"), metavar="PATH")
    parser.add_argument("--quick", action="store_true", help="a minute: 30 reloads, 4 upgrades, Tollgate alone")
    parser.add_argument("--servers", help="with commas (default all; --quick: tollgate)")
    parser.add_argument("--reloads", type=int, help="of Tollgate (default 200; --quick: 30)")
    parser.add_argument("--upgrades", type=int, help="of Tollgate (default 20; --quick: 4)")
    parser.add_argument("--peer-reloads", type=int, default=20, help="of each other server (default 20)")
    parser.add_argument("--peer-upgrades", type=int, default=3, help="of each other server (default 3)")
    parser.add_argument("--ceiling", type=int, help="seconds that old processes may take (default 30; --quick: 10)")
    parser.add_argument("--download", type=int, help="bytes (default 1 GiB; --quick: 128 MiB)")
    parser.add_argument("--json", metavar="FILE", help="where every figure goes")
    args = with_defaults(parser.parse_args())
    account.adopt()
    with ChangesBench(args.tollgate, args.origin, args.ceiling) as bench:
        runs = {name: run_of(bench, SERVERS[name], args) for name in args.servers}
    report = {"machine": measure.machine(), "quick": args.quick, "servers": runs}
    print(told(report))
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(report, file, indent=1)
    return 1 if runs.get("tollgate", {}).get("wrong") else 0


def with_defaults(args: argparse.Namespace) -> argparse.Namespace:
    for name, (full, quick) in DEFAULTS.items():
        if getattr(args, name) is None:
            setattr(args, name, quick if args.quick else full)
    args.servers = args.servers.split(",")
    if unknown := set(args.servers) - set(SERVERS):
        sys.exit(f"changes: no such server: {', '.join(sorted(unknown))}; write some of {', '.join(SERVERS)}")
    return args


def run_of(bench: ChangesBench, kind: type[Server], args: argparse.Namespace) -> dict:
    """One server, changed under load: what was seen, its figures, and what does not hold."""
    ours = kind.name == "tollgate"
    counts = (args.reloads, args.upgrades) if ours else (args.peer_reloads, args.peer_upgrades)
    if why := bench.missing(kind.program):
        raise peers.PeerFailed(why)
    with kind(bench) as server:
        start = server.account()
        clients = begun(bench, server, args.download)
        with account.Most(server.is_one) as most:
            changes = changed(server, order(*counts))
        report = finished(bench, clients)
        end = account.settled(server.account, start, args.ceiling + 10)
        left = [measure.content(f"/proc/{pid}/cmdline").replace("\0", " ") for pid in server.pids()]
    run = {
        "ceiling": args.ceiling, "changes": [asdict(one) for one in changes], "clients": report,
        "tells_websockets": server.tells_websockets, "start": asdict(start), "end": asdict(end), "left": left,
        "most": {"processes": most.processes, "megabytes": most.megabytes},
    }
    run["figures"] = figures.figures(run)
    run["wrong"] = figures.wrong(run)
    return run


def order(reloads: int, upgrades: int) -> list[str]:
    """The upgrades spread evenly among the reloads."""
    every = reloads / max(1, upgrades)
    places = {round(every * (nth + 1)) for nth in range(upgrades)}
    return [kind for nth in range(1, reloads + 1) for kind in (["reload", "upgrade"] if nth in places else ["reload"])]


def changed(server: Server, kinds: list[str]) -> list[Change]:
    """Makes one change after the other, with rests of chance between them."""
    changes, began = [], time.monotonic()
    for kind in kinds:
        time.sleep(random.uniform(0.1, 0.5) if kind == "reload" else 1)
        changes.append(server.change(kind))
        if sys.stderr.isatty():
            seconds = time.monotonic() - began
            print(f"\r{server.name}: {len(changes)} of {len(kinds)} changes, {len(server.pids())} processes, "
                  f"{seconds:.0f} s ", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    time.sleep(AFTER)
    return changes


def begun(bench: ChangesBench, server: Server, download: int) -> subprocess.Popen[str]:
    """Clients at work; returns once each kind was answered."""
    command = [
        "taskset", "-c", peers.GENERATOR_CPU, sys.executable, str(HERE / "clients.py"),
        "--plain", str(server.plain), "--tls", str(server.tls), "--download", str(download),
    ]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )
    bench.children.append(process)
    if process.stdout.readline() != "BEGUN\n":
        raise peers.PeerFailed(f"clients of {server.name} did not begin:\n{bench.output(server.program)}")
    return process


def finished(bench: ChangesBench, clients: subprocess.Popen[str]) -> dict:
    """What clients saw, once the last of them ended."""
    report, _ = clients.communicate(timeout=60)
    bench.children.remove(clients)
    if not report.startswith("REPORT "):
        raise peers.PeerFailed(f"clients ended with {clients.returncode}: {report}")
    return json.loads(report.removeprefix("REPORT "))


def told(report: dict) -> str:
    """A table of the servers, one of each one's clients, and what does not hold."""
    machine, runs = report["machine"], report["servers"]
    names = list(runs)
    rows = [["", *names], *([what, *(form(runs[name]) for name in names)] for what, form in LINES.items())]
    parts = [f"{machine['cpu']}, {machine['cores']} cores, {machine['date']}", table.align(rows)]
    for name, run in runs.items():
        parts.append(f"{name}:\n{clients_told(run)}")
    failed = [f"tollgate: {why}" for why in runs.get("tollgate", {}).get("wrong", [])]
    return "\n\n".join([*parts, "\n".join(failed or ["everything that must hold does"])])


def clients_told(run: dict) -> str:
    rows = [["", *COLUMNS]]
    for kind, of_kind in run["clients"].items():
        rows.append([kind, *(str(of_kind["counts"].get(column, 0)) for column in COLUMNS)])
    ends = [f"{kind} ended: {', '.join(f'{count} {how}' for how, count in sorted(ends.items())) or 'none'}"
            for kind, ends in run["figures"]["ends"].items()]
    why = [f"{kind}: {why}" for kind, of_kind in run["clients"].items() for _, why in of_kind["failed"][:3]]
    return "\n".join([table.align(rows), *ends, *why])


def by_kind(kind: str, form: str):
    """A cell about the changes of one kind."""
    return lambda run: form.format(**numbers(run["figures"]["changes"][kind]))


def numbers(times: dict) -> dict:
    return {name: "-" if value is None else f"{value:.0f}" for name, value in times.items()}


def lost_in(kind: str):
    def cell(run: dict) -> str:
        found = run["figures"]
        lost, count = found["lost_by"].get(kind, 0), found["changes"][kind]["count"]
        return f"{lost}, {lost / max(1, count):.1f} each"

    return cell


DEFAULTS = {
    "reloads": (200, 30), "upgrades": (20, 4), "ceiling": (30, 10), "download": (1 << 30, 128 << 20),
    "servers": (",".join(SERVERS), "tollgate"),
}
# Seconds of clients after the last change.
AFTER = 5
COLUMNS = ["requests", "lost", "refused", "reset", "closed", "asked", "retryable"]
LINES = {
    "reloads, upgrades": lambda run: ", ".join(str(one["count"]) for one in run["figures"]["changes"].values()),
    "requests": lambda run: f"{run['figures']['requests']:,}",
    "under way at a change, median, most": lambda run: "{in_flight_median:.0f}, {in_flight_most}".format(
        **run["figures"]
    ),
    "lost by reloads": lost_in("reload"),
    "lost by upgrades": lost_in("upgrade"),
    "lost by clients that look first": lambda run: str(run["figures"]["lost_looking"]),
    "refused connections": lambda run: str(run["figures"]["refused"]),
    "reset connections": lambda run: str(run["figures"]["reset"]),
    "closed between requests": lambda run: str(run["figures"]["closed"]),
    "asked to end": lambda run: str(run["figures"]["asked"]),
    "reload until it serves, median, most ms": by_kind("reload", "{serves_median_ms}, {serves_most_ms}"),
    "reload until it says so": by_kind("reload", "{told_median_ms}, {told_most_ms}"),
    "upgrade until it serves, median, most ms": by_kind("upgrade", "{serves_median_ms}, {serves_most_ms}"),
    "upgrade until it says so": by_kind("upgrade", "{told_median_ms}, {told_most_ms}"),
    "processes at start, most, end": lambda run: f"{run['start']['processes']}, {run['most']['processes']}, "
                                                 f"{run['end']['processes']}",
    "open files at start, end": lambda run: f"{run['start']['files']}, {run['end']['files']}",
    "MiB at start, most, end": lambda run: f"{run['start']['megabytes']:.0f}, {run['most']['megabytes']:.0f}, "
                                           f"{run['end']['megabytes']:.0f}",
}

if __name__ == "__main__":
    gateway.run("changes", main)
