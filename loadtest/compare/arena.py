"""All proxies of a suite at once, one for each setup; only the one that is asked works.

Owns which of them run, the origins (one for all, and one for each proxy that has
10,000 endpoints, as its connections would not fit into one process) and what the
generators offer. Starting and stopping is peers.py's.
"""

import peers
import suites


class Arena(peers.Bench):
    """A bench that starts proxies when they are first asked for."""

    def __init__(self, binaries):
        super().__init__(binaries)
        self.running, self.origins = {}, {}

    def start_origin(self):
        (self.dir / "64k").write_bytes(b"x" * (64 << 10))
        (self.dir / "10m").write_bytes(b"x" * (10 << 20))
        self.certificate("rsa-", ("rsa:2048",))
        self.offers = {groups: self.write("openssl.cnf.in", f"openssl-{len(groups)}.cnf", {"GROUPS": groups})
                       for groups in ("X25519", "X25519MLKEM768:X25519")}
        return super().start_origin()

    def proxy(self, name, setup):
        """The proxy with that setup; starts it."""
        if (name, setup) not in self.running:
            texts = suites.SETUPS[setup](peers.told(name), self)
            self.running[name, setup] = self.start(name, patience=60, texts=texts)
        return self.running[name, setup]

    def everywhere(self, name):
        """The port of an origin that answers on every address of 127.0.0.0/8, for this proxy alone."""
        if name not in self.origins:
            port = peers.free_ports(1)[0]
            # All of the machine's addresses are in 0.0.0.0; only loopback's are answered.
            values = {"BODY": peers.BODY, "LISTEN": "0.0.0.0", "ORIGIN": port, "ONLY": "if ($remote_addr !~ ^127\\.) { return 444; }"}
            home = self.dir / f"origin-of-{name}"
            home.mkdir()
            conf = self.write("origin.conf.in", home / "origin.conf", {**values, "HOME": home})
            command = [self.binaries["nginx"], "-e", f"{home}/origin.err", "-c", conf]
            process = self.spawn(f"origin-of-{name}", peers.GENERATOR_CPU, command)
            self.await_answer(process, "origin", port, False, 10)
            self.origins[name] = process, port
        return self.origins[name][1]

    def origin_of(self, running):
        far = [key for key, one in self.running.items() if one is running and key[1].startswith("endpoints")]
        return self.origins[running.name][0] if far else self.origin

    def stop_all(self):
        for running in self.running.values():
            self.stop(running)
        self.running.clear()
