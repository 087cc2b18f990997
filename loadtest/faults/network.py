"""A network namespace for each zone, joined to the gateway's by a pair of virtual links.

Owns namespaces, addresses, routes, and what is done to packets. Nothing has a name
that outlives us: this process moves into a namespace of its own, and each zone's is
held by a child that ends with it, however it ends. Zone n is 10.200.n.0/24, its
gateway's side .1; 10.(100+n).0.0/16 is all its own too, for a thousand endpoints.
"""

import ctypes
import os
import subprocess
import time
from dataclasses import dataclass

import peers

# The child dies with us, also when we are killed and it is stopped.
DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL")


@dataclass
class Zone:
    """A namespace: its number, and the process that holds it."""

    number: int
    holder: subprocess.Popen[bytes]

    @property
    def enter(self) -> list[str]:
        """What stands before a command that is to run in the zone."""
        return ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net"]

    def address(self, host: int) -> str:
        """The address of one of its hosts."""
        return f"10.200.{self.number}.{host}"

    def many(self, nth: int) -> str:
        """The nth of 65,000 more addresses."""
        return f"10.{100 + self.number}.{nth // 250}.{nth % 250 + 1}"

    def drops(self, share: int = 100) -> None:
        """So many of a hundred packets to the zone vanish; of 100 those from it too, and nobody is told."""
        few = f"numgen random mod 100 < {share} " if share < 100 else ""
        self.filter(f"{few}drop", "drop" if share == 100 else "accept")

    def resets(self) -> None:
        """Every segment to the zone is answered by a reset."""
        self.filter("meta l4proto tcp reject with tcp reset", "accept")

    def loses(self, addresses: list[str], how: str) -> None:
        """Packets to these addresses are dropped (`drop`) or answered (`reject with tcp reset`)."""
        self.filter(f"ip daddr {{ {', '.join(addresses)} }} meta l4proto tcp {how}")

    def filter(self, into: str, out: str = "accept") -> None:
        """Rules for what comes to the zone and what goes from it; they add up until it heals."""
        run([*self.enter, "nft", "-f", "-"], f"""
            add table inet fault
            add chain inet fault into {{ type filter hook input priority 0; }}
            add chain inet fault out {{ type filter hook output priority 0; }}
            add rule inet fault into iifname "eth0" {into}
            add rule inet fault out oifname "eth0" {out}
        """)

    def link(self, state: str) -> None:
        """Pulls the zone's cable (`down`), or plugs it in (`up`)."""
        run([*self.enter, "ip", "link", "set", "eth0", state])
        if state == "up":
            self.routes()

    def routes(self) -> None:
        run([*self.enter, "ip", "route", "replace", "default", "via", self.address(1)])

    def heals(self) -> None:
        """Packets come and go as they did."""
        subprocess.run([*self.enter, "nft", "delete", "table", "inet", "fault"], capture_output=True, check=False)


class Network:
    """Our own namespace and the zones; `end` gives all of it back."""

    def __init__(self, numbers: tuple[int, ...]) -> None:
        self.zones: dict[str, Zone] = {}
        if os.geteuid():
            raise peers.PeerFailed("network namespaces need root")
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
            raise peers.PeerFailed(f"no network namespace: {os.strerror(ctypes.get_errno())}")
        run(["ip", "link", "set", "lo", "up"])
        for number in numbers:
            self.zones[f"z{number}"] = self.add(number)

    def add(self, number: int) -> Zone:
        command = ["unshare", "--net", *DIES_WITH_US, "cat"]
        holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)
        zone, ours = Zone(number, holder), os.readlink("/proc/self/ns/net")
        deadline = time.monotonic() + 5
        while os.readlink(f"/proc/{holder.pid}/ns/net") == ours:
            if time.monotonic() > deadline or holder.poll() is not None:
                raise peers.PeerFailed(f"no namespace for zone {number}")
            time.sleep(0.005)
        run(["ip", "link", "add", f"v{number}", "type", "veth", "peer", "name", "eth0", "netns", str(holder.pid)])
        run(["ip", "address", "add", f"{zone.address(1)}/24", "dev", f"v{number}"])
        run(["ip", "link", "set", f"v{number}", "up"])
        for command in (
            *(["address", "add", f"{zone.address(host)}/24", "dev", "eth0"] for host in HOSTS),
            ["link", "set", "eth0", "up"],
            ["link", "set", "lo", "up"],
            ["route", "add", "local", f"10.{100 + number}.0.0/16", "dev", "lo"],
        ):
            run([*zone.enter, "ip", *command])
        zone.routes()
        run(["ip", "route", "add", f"10.{100 + number}.0.0/16", "via", zone.address(2)])
        return zone

    def end(self) -> None:
        """The zones go with their holders, ours with this process."""
        for zone in self.zones.values():
            zone.holder.kill()
            zone.holder.wait()


def run(command: list[str], text: str | None = None) -> str:
    """What the command printed; one that fails ends the run."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise peers.PeerFailed(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


# The zone itself, and three endpoints.
HOSTS = (2, 11, 12, 13)
CLONE_NEWNET = 0x40000000
