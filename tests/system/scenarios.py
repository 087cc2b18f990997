"""What an operator, a package manager or misfortune does to the service, and what must hold.

Each function is a scenario: it gets a fresh machine with the package installed, in
which `config()` serves (not in those of `AS_INSTALLED`), and returns how requests ended
meanwhile, where there were any. What does not hold is raised as `Failed`. Its first
line is the table's.
"""

import json
import subprocess
import time
from collections.abc import Callable

import packages
from load import CLIENTS, Counts, Load, Origin, Request
from machine import Failed, Machine, tail

CONFIG = "/etc/tollgate/tollgate.yaml"
DROP_IN = "/etc/systemd/system/tollgate.service.d/test.conf"
SLOW = "/origin?origin=delay=3s"
SLOWER = "/origin?origin=delay=9s"
LONG = "/origin?origin=delay=20s"
# The listener, readiness and metrics.
SOCKETS = "3"


def install(machine: Machine) -> None:
    """install: enabled, running as its own user, serving"""
    must(machine.unit("ActiveState") == "active", "the package starts the service")
    must(machine.unit("UnitFileState") == "enabled", "the package enables the service")
    must(machine.run("ps", "-o", "user=", "-p", main_pid(machine)).stdout.strip() == "tollgate", "it runs as its user")
    must(Request(machine, "/").outcome() == "200", "the default configuration serves")
    must(Request(machine, "/readyz", 8081).outcome() == "200", "readiness answers")
    machine.run("tollgate", "status")
    machine.run("tollgate", "check", "--strict")
    must(machine.read("/proc/sys/net/core/somaxconn").strip() == "65535", "the sysctl file is in force")
    must(machine.run("stat", "--format=%U:%G %a", "/etc/tollgate/jwt").stdout.strip() == "root:tollgate 750",
         "keys have a folder that the gateway reads")
    for unit in ("tollgate.service", "tollgate-upgrade.service", "tollgate.socket"):
        found = machine.run("systemd-analyze", "verify", "--man=no", f"/usr/lib/systemd/system/{unit}").stdout
        must(not found, f"systemd has nothing to say of {unit}: {found}")
    for unit in ("tollgate.service", "tollgate-upgrade.service"):
        machine.run("systemd-analyze", "security", "--no-pager", "--threshold=20", unit)
    must(machine.run("systemctl", "--failed", "--no-legend").stdout == "", "no unit has failed")


def port_80(machine: Machine) -> None:
    """a listener at port 80, and start with what a file says"""
    machine.write(CONFIG, config(listeners='[{ name: web, address: "0.0.0.0:80" }]'))
    machine.run("systemctl", "restart", "tollgate")
    must(Request(machine, "/", 80).outcome() == "200", "the unit lets it bind a port below 1024")


def reload_good(machine: Machine) -> Counts:
    """reload, 10 times"""
    with Load(machine) as load:
        for nth in range(1, 11):
            machine.write(CONFIG, config(header=f"x-nth: {nth}"))
            machine.run("systemctl", "reload", "tollgate")
    must(status(machine)["generation"] == 11, "each reload counts")
    must(machine.unit("NRestarts") == "0", "the process stays")
    return nothing_lost(load)


def reload_bad(machine: Machine) -> Counts:
    """reload of a bad file: fails, the journal says why, nothing changes"""
    with Load(machine) as load:
        machine.write(CONFIG, config().replace("respond:", "repsond:"))
        done = machine.run("systemctl", "reload", "tollgate", check=False)
    must(done.returncode != 0, "`systemctl reload` fails")
    told(machine.journal(), "tollgate.yaml:", "repsond", "goes on with what it had")
    must(machine.unit("ActiveState") == "active" and status(machine)["generation"] == 1, "what served serves on")
    machine.write(CONFIG, config())
    machine.run("systemctl", "reload", "tollgate")
    return nothing_lost(load)


def reload_nobody(machine: Machine) -> None:
    """reload and upgrade when nothing runs: which socket, which unit"""
    machine.run("systemctl", "stop", "tollgate")
    done = machine.run("tollgate", "reload", check=False)
    must(done.returncode == 75, f"`tollgate reload` exits 75, not {done.returncode}")
    told(done.stdout, "/run/tollgate/admin.sock")
    done = machine.run("systemctl", "start", "tollgate-upgrade", check=False)
    must(done.returncode != 0, "there is nothing to upgrade")
    told(machine.journal("tollgate-upgrade") + done.stdout, "tollgate")
    must(machine.unit("ActiveState") == "inactive", "an upgrade starts nothing")


def start_bad(machine: Machine) -> None:
    """start with a bad file: 78, told once and for all"""
    machine.run("systemctl", "stop", "tollgate")
    machine.write(CONFIG, config().replace("respond:", "repsond:"))
    done = machine.run("systemctl", "start", "tollgate", check=False)
    must(done.returncode != 0, "`systemctl start` fails")
    must(machine.unit("ExecMainStatus") == "78", "the exit code is the configuration's")
    told(machine.run("systemctl", "status", "tollgate", check=False).stdout, "repsond")
    time.sleep(1.5)  # three times RestartSec=
    must(machine.unit("NRestarts") == "0" and machine.unit("ActiveState") == "failed", "nobody tries the same again")


def credential(machine: Machine) -> None:
    """a credential: read when it is there, named when it is missing"""
    machine.write(DROP_IN, "[Service]\nLoadCredential=greeting\n")
    machine.write(CONFIG, config(body='"${file:/run/credentials/tollgate.service/greeting}"'))
    machine.run("systemctl", "daemon-reload")
    done = machine.run("systemctl", "restart", "tollgate", check=False)
    must(done.returncode != 0, "without it there is no start")
    told(machine.journal(), "/run/credentials/tollgate.service/greeting")

    machine.write("/etc/credstore/greeting", "hello\n", "0400")
    machine.run("systemctl", "restart", "tollgate")
    must(Request(machine, "/").outcome() == "200", "it starts with it")
    machine.run("systemctl", "reload", "tollgate")


def signing_key(machine: Machine) -> None:
    """a signing key made by root in the package's folder: the gateway takes it"""
    machine.run("tollgate", "keys", "generate", "--out", "/etc/tollgate/jwt")
    machine.write(CONFIG, config() + "signers: [{ name: default, issuer: https://gw.test, keys: jwt }]\n")
    machine.run("tollgate", "check")
    machine.run("systemctl", "reload", "tollgate")
    told(machine.run("tollgate", "keys", "status").stdout, "signing")


def upgrade(machine: Machine) -> Counts:
    """upgrade by package, twice, a request of 3 s under way"""
    invocation = machine.unit("InvocationID")
    with Origin(machine) as origin, Load(machine) as load:
        for nth, package in enumerate((packages.LATER, packages.CURRENT), 1):
            before = main_pid(machine)
            slow = Request(machine, SLOW)
            machine.until("the slow request is under way", lambda nth=nth: origin.heard() == nth)
            machine.run("dpkg", "--install", f"/packages/{package}")
            after = main_pid(machine)
            must(before != after, "another process serves")
            must(machine.run("readlink", f"/proc/{after}/exe").stdout.strip() == "/usr/bin/tollgate", "of the new binary")
            must(slow.outcome() == "200", "what was under way ends well")
            machine.until("the process before ends", lambda: len(processes(machine)) == 1)
            must(status(machine)["pid"] == int(after), "the operator's socket is the new process's")
    must("x-nth" in machine.read(CONFIG), "the operator's configuration stays")
    machine.run("systemctl", "reload", "tollgate")
    must(machine.unit("InvocationID") == invocation, "it was no restart")
    return nothing_lost(load)


def upgrade_verb(machine: Machine) -> Counts:
    """systemctl start tollgate-upgrade, 5 times"""
    with Load(machine) as load:
        for _ in range(5):
            before = main_pid(machine)
            machine.run("systemctl", "start", "tollgate-upgrade")
            must(before != main_pid(machine), "another process serves")
    must(machine.unit("NFileDescriptorStore") == SOCKETS, "systemd keeps each socket once")
    must("not our child" not in machine.journal(), "systemd looks after the new process")
    machine.until("only one process is left", lambda: len(processes(machine)) == 1)
    return nothing_lost(load)


def upgrade_unasked(machine: Machine) -> Counts:
    """upgrade by package where policy-rc.d forbids, and of a stopped gateway"""
    before = main_pid(machine)
    with Load(machine) as load:
        machine.write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", "0755")
        done = machine.run("dpkg", "--install", f"/packages/{packages.LATER}")
        told(done.stdout, "policy-rc.d forbids the hand-over", "systemctl start tollgate-upgrade")
        must(main_pid(machine) == before, "the process before serves on")
        machine.run("rm", "/usr/sbin/policy-rc.d")
        machine.run("systemctl", "start", "tollgate-upgrade")
        must(main_pid(machine) != before, "by hand it goes")
    machine.run("systemctl", "stop", "tollgate")
    machine.run("dpkg", "--install", f"/packages/{packages.CURRENT}")
    must(machine.unit("ActiveState") == "inactive", "what was stopped stays stopped")
    return nothing_lost(load)


def upgrade_listener(machine: Machine) -> Counts:
    """upgrade to one listener more, kill -9, and back"""
    with Load(machine) as load:
        machine.write(CONFIG, config(listeners='[{ name: internal, address: "0.0.0.0:8080" }, '
                                               '{ name: more, address: "127.0.0.1:8090" }]'))
        done = machine.run("tollgate", "reload", check=False)
        must(done.returncode == 78, "a reload cannot add a listener")
        told(done.stdout, "listeners", "upgrade")
        machine.run("systemctl", "start", "tollgate-upgrade")
        must(Request(machine, "/", 8090).outcome() == "200", "the new listener serves")
    machine.run("kill", "-KILL", main_pid(machine))
    waits = Request(machine, "/", 8090)
    must(waits.outcome() == "200", "who connects to it after the crash waits")
    machine.until("it comes back", lambda: is_back(machine, 1))
    machine.write(CONFIG, config())
    machine.run("systemctl", "start", "tollgate-upgrade")
    must(machine.unit("NFileDescriptorStore") == SOCKETS, "systemd does not keep what is not listened at")
    machine.until("only one process is left", lambda: len(processes(machine)) == 1)
    must("connect" in Request(machine, "/", 8090).outcome(), "nobody listens there any more")
    return nothing_lost(load)


def upgrade_bad_config(machine: Machine) -> Counts:
    """upgrade with a bad file: fails, its journal says why, the old one serves"""
    before = main_pid(machine)
    with Load(machine) as load:
        machine.write(CONFIG, config().replace("respond:", "repsond:"))
        done = machine.run("systemctl", "start", "tollgate-upgrade", check=False)
        must(done.returncode != 0, "the verb fails")
        told(machine.journal("tollgate-upgrade"), "tollgate.yaml:", "repsond", "the old process goes on")
        told(machine.unit("StatusText"), "upgrade")
        must(main_pid(machine) == before, "the process before serves on")
        machine.write(CONFIG, config())
        machine.run("systemctl", "start", "tollgate-upgrade")
        must(main_pid(machine) != before, "it can be tried again")
    return nothing_lost(load)


def upgrade_wrong_machine(machine: Machine) -> Counts:
    """upgrade to a binary that cannot run: STATUS=, metric, journal, dpkg"""
    return upgrade_broken(machine, "wrong-machine.deb", "Exec format error", result="not_started")


def upgrade_ends_at_once(machine: Machine) -> Counts:
    """upgrade to a binary that ends at once: STATUS=, journal, dpkg"""
    return upgrade_broken(machine, "ends-at-once.deb", "127", result="ended")


def upgrade_broken(machine: Machine, package: str, *reasons: str, result: str) -> Counts:
    before = main_pid(machine)
    with Load(machine) as load:
        done = machine.run("dpkg", "--install", f"/packages/{package}")
        told(done.stdout, "DOES NOT SERVE", "systemctl start tollgate-upgrade", *reasons)
        must(machine.unit("ActiveState", "tollgate-upgrade") == "failed", "the upgrade's unit has failed")
        must(main_pid(machine) == before, "the process before serves on")
        machine.until("the status says so", lambda: "upgrade refused" in machine.unit("StatusText"))
        told(machine.unit("StatusText"), *reasons)
        told(machine.journal(), "upgrade refused", *reasons)
        told(metrics(machine), f'tollgate_upgrades_total{{result="{result}"}} 1')
        machine.run("dpkg", "--install", f"/packages/{packages.LATER}")
        must(main_pid(machine) != before, "a good version repairs it")
    return nothing_lost(load)


def restart(machine: Machine) -> Counts:
    """systemctl restart: connections wait"""
    with Load(machine) as load:
        before = main_pid(machine)
        machine.run("systemctl", "restart", "tollgate")
        must(main_pid(machine) != before, "another process serves")
    machine.run("systemctl", "reload", "tollgate")
    return nothing_lost(load)


def crash(machine: Machine) -> Counts:
    """kill -9, 3 times: nothing refused; lost is what was under way"""
    with Load(machine) as load:
        for nth in range(1, 4):
            machine.run("kill", "-KILL", main_pid(machine))
            machine.until("it comes back", lambda nth=nth: is_back(machine, nth))
            must(Request(machine, "/").outcome() == "200", "it serves again")
    machine.run("systemctl", "reload", "tollgate")
    return nothing_refused(load, 3 * CLIENTS)


def crash_after_upgrade(machine: Machine) -> Counts:
    """kill -9 right after an upgrade, while the process before still drains"""
    with Origin(machine) as origin, Load(machine) as load:
        Request(machine, LONG)
        machine.until("the long request is under way", lambda: origin.heard() == 1)
        machine.run("systemctl", "start", "tollgate-upgrade")
        machine.run("kill", "-KILL", main_pid(machine))
        machine.until("it comes back", lambda: is_back(machine, 1))
    machine.run("systemctl", "reload", "tollgate")
    # Two processes are killed, one after the other: who was cut off by the first may have
    # been taken by the one that drained before systemd ended that too.
    return nothing_refused(load, 2 * CLIENTS)


def socket_unit(machine: Machine) -> Counts:
    """tollgate.socket, without capabilities: first connection, kill -9, restart"""
    machine.run("systemctl", "disable", "--now", "tollgate.service")
    machine.write(DROP_IN, "[Service]\nPrivateUsers=yes\nAmbientCapabilities=\nCapabilityBoundingSet=\n")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "enable", "--now", "tollgate.socket")
    must(machine.unit("ActiveState") == "inactive", "nobody has connected yet")
    must(Request(machine, "/").outcome() == "200", "the first connection starts it")
    with Load(machine) as load:
        machine.run("kill", "-KILL", main_pid(machine))
        machine.until("it comes back", lambda: is_back(machine, 1))
        machine.run("systemctl", "restart", "tollgate")
        machine.run("systemctl", "start", "tollgate-upgrade")
    must(machine.run("systemctl", "is-active", "tollgate.socket").stdout.strip() == "active", "the socket unit stays")
    return nothing_refused(load, CLIENTS)


def watchdog(machine: Machine) -> Counts:
    """a process that hangs (SIGSTOP), also after an upgrade: ended and started again"""
    must(machine.unit("WatchdogUSec") == "15s", "the package's unit has a watchdog")
    machine.write(DROP_IN, "[Service]\nWatchdogSec=2s\n")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", "tollgate")
    machine.run("systemctl", "start", "tollgate-upgrade")
    time.sleep(5)  # twice and a half WatchdogSec=
    must(machine.unit("NRestarts") == "0", "the watchdog leaves alone who serves")
    with Load(machine) as load:
        machine.run("kill", "-STOP", main_pid(machine))
        machine.until("it comes back", lambda: is_back(machine, 1))
    told(machine.journal(), "Watchdog timeout")
    return nothing_refused(load, CLIENTS)


def stop(machine: Machine) -> None:
    """stop: what is under way is answered, then it ends"""
    with Origin(machine) as origin:
        slow = Request(machine, SLOW)
        machine.until("the request is under way", lambda: origin.heard() == 1)
        machine.run("systemctl", "stop", "tollgate")
        must(slow.outcome() == "200", "the request under way is answered")
    must(machine.unit("Result") == "success", "a stop is no failure")
    must("connect" in Request(machine, "/").outcome(), "nobody listens any more")
    begun = time.monotonic()
    machine.run("systemctl", "start", "tollgate")
    machine.run("systemctl", "stop", "tollgate")
    must(time.monotonic() - begun < 10, "an idle gateway ends at once")


def stop_after_upgrade(machine: Machine) -> None:
    """stop right after an upgrade: what is under way in both processes is answered"""
    with Origin(machine) as origin:
        requests = [Request(machine, SLOW)]
        machine.until("the first request is under way", lambda: origin.heard() == 1)
        machine.run("systemctl", "start", "tollgate-upgrade")

        def reaches_the_new() -> bool:
            """For a moment both processes accept. The one that answers `status` counts its own."""
            requests.append(Request(machine, SLOW))
            machine.until("one more is under way", lambda: origin.heard() == len(requests))
            return status(machine)["connections"] > 0

        machine.until("a request reaches the new process", reaches_the_new)
        must(len(processes(machine)) == 2, "the process before has work, too")
        machine.run("systemctl", "stop", "tollgate")
        outcomes = [request.outcome() for request in requests]
    must(set(outcomes) == {"200"}, f"all of them are answered: {outcomes}")
    must(machine.unit("Result") == "success", "a stop is no failure")


def stop_before_the_old_has_drained(machine: Machine) -> None:
    """stop right after an upgrade, with work in the process before alone"""
    with Origin(machine) as origin:
        slow = Request(machine, SLOWER)
        machine.until("the request is under way", lambda: origin.heard() == 1)
        for _ in range(2):
            machine.run("systemctl", "start", "tollgate-upgrade")
        machine.until("the second process, which had no work, ends", lambda: len(processes(machine)) == 2)
        machine.run("systemctl", "restart", "tollgate")
        must(slow.outcome() == "200", "it is answered")
    must(Request(machine, "/").outcome() == "200", "another process serves")
    must(machine.unit("Result") == "success", "a restart is no failure")


def drain(machine: Machine) -> None:
    """tollgate drain: ends for good"""
    machine.run("tollgate", "drain")
    machine.until("it ends", lambda: machine.unit("ActiveState") == "inactive")
    time.sleep(1.5)  # three times RestartSec=
    must(machine.unit("ActiveState") == "inactive" and machine.unit("Result") == "success", "nobody starts it again")


def logrotate(machine: Machine) -> Counts:
    """logrotate, 3 times: every request has its line"""
    log = "/var/log/tollgate/access.log"
    machine.write(CONFIG, config(log=log))
    machine.run("systemctl", "restart", "tollgate")
    with Load(machine) as load:
        for _ in range(3):
            machine.until("lines are written", lambda: machine.run("test", "-s", log, check=False).returncode == 0)
            machine.run("logrotate", "--force", "/etc/logrotate.d/tollgate")
    machine.run("systemctl", "stop", "tollgate")
    lines = int(machine.run("sh", "-c", "zcat --force /var/log/tollgate/* | wc -l").stdout)
    must(lines == load.counts.answered, f"{load.counts.answered} requests have {lines} lines")
    files = machine.run("ls", "/var/log/tollgate").stdout.split()
    must(len(files) == 4, f"three files were put aside: {files}")
    return nothing_lost(load)


def purge(machine: Machine) -> None:
    """remove and purge: drained, then nothing left but a locked user"""
    machine.write(DROP_IN, "[Service]\nLimitCORE=0\n")
    machine.write("/etc/tollgate/conf.d/team.yaml", "routes: []\n")
    machine.run("dpkg", "--remove", "tollgate")
    must(machine.unit("ActiveState") in ("inactive", ""), "removal stops it")
    must("respond" in machine.read(CONFIG), "removal keeps the configuration")
    machine.run("dpkg", "--purge", "tollgate")
    left = machine.run("sh", "-c", "find / -xdev \\( -path /proc -o -path /sys -o -path /packages -o -path /run/systemd "
                       "-o -path /var/log/journal \\) -prune -o -iname '*tollgate*' -print").stdout.split()
    must(not left, f"left behind: {left}")
    shell = machine.run("getent", "passwd", "tollgate").stdout.strip()
    must(shell.endswith("nologin"), "the user stays, locked")
    must(machine.run("systemctl", "--failed", "--no-legend").stdout == "", "no unit has failed")
    machine.run("dpkg", "--install", f"/packages/{packages.CURRENT}")
    must(Request(machine, "/").outcome() == "200", "it can be installed again")


def config(*, listeners: str = '[{ name: internal, address: "0.0.0.0:8080" }]', header: str = "x-nth: 0",
           body: str = '"hello\\n"', log: str = "off") -> str:
    """A configuration that serves `/`, and `/origin` from 127.0.0.1:7001."""
    name, value = header.split(": ")
    return f"""listeners: {listeners}
readiness: {{ address: "0.0.0.0:8081" }}
admin: {{ socket: /run/tollgate/admin.sock, metrics: "127.0.0.1:9901" }}
access_log: {{ path: "{log}" }}
upstreams:
  - {{ name: origin, endpoints: [{{ address: "127.0.0.1:7001" }}] }}
routes:
  - name: hello
    match: {{ path: {{ exact: / }} }}
    respond: {{ status: 200, body: {body} }}
    response_headers: {{ set: [{{ name: {name}, value: "{value}" }}] }}
  - name: origin
    match: {{ path: /origin }}
    to: [{{ upstream: origin }}]
"""


def serve_config(machine: Machine) -> None:
    machine.write(CONFIG, config())
    machine.run("systemctl", "restart", "tollgate")


def main_pid(machine: Machine) -> str:
    return machine.unit("MainPID")


def processes(machine: Machine) -> list[str]:
    """Those of the binary that serve."""
    return machine.run("pgrep", "--full", "tollgate run", check=False).stdout.split()


def is_back(machine: Machine, restarts: int) -> bool:
    return machine.unit("NRestarts") == str(restarts) and machine.unit("ActiveState") == "active"


def status(machine: Machine) -> dict:
    return json.loads(machine.run("tollgate", "status", "--json").stdout)


def metrics(machine: Machine) -> str:
    """From outside: a machine has no curl."""
    command = [*machine.enter("--net"), "curl", "--silent", "http://127.0.0.1:9901/metrics"]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def must(holds: bool, what: str) -> None:
    if not holds:
        raise Failed(f"it does not hold that {what}")


def told(text: str, *words: str) -> None:
    missing = [word for word in words if word not in text]
    if missing:
        raise Failed(f"nobody says {missing}: {tail(text)}")


def nothing_refused(load: Load, most_lost: int) -> Counts:
    """For a process that is killed: what it had begun is lost, and no more."""
    counts = load.counts
    must(counts.answered > 0 and counts.refused == counts.unreached == 0 and counts.lost <= most_lost,
         f"nothing is refused and at most {most_lost} lost: {counts}")
    return counts


def nothing_lost(load: Load) -> Counts:
    return nothing_refused(load, 0)


AS_INSTALLED = (install, purge)

ALL: list[Callable[[Machine], Counts | None]] = [
    install, port_80, reload_good, reload_bad, reload_nobody, start_bad, credential, signing_key, upgrade, upgrade_verb,
    upgrade_unasked, upgrade_listener, upgrade_bad_config, upgrade_wrong_machine, upgrade_ends_at_once, restart, crash, crash_after_upgrade, socket_unit, watchdog, stop,
    stop_after_upgrade, stop_before_the_old_has_drained, drain, logrotate, purge,
]
