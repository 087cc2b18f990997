"""A gateway with limits in front of an origin, and its own account of what it decided.

Owns the reckoning: decisions by the metrics and refusals by the access log, since it
was last asked. Ports, origin and the life of every child are the comparison's
(compare/peers.py); what /metrics says is read as the edge's (edge/gateway.py).
"""

import json
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
LOADTEST = HERE.parent
sys.path += [str(LOADTEST / "compare"), str(LOADTEST / "edge")]

import gateway  # noqa: E402
import peers  # noqa: E402

DEBUG = str(peers.ROOT / "target" / "debug" / "tollgate")
RELEASE = str(peers.ROOT / "target" / "release" / "tollgate")


class LimitsBench(peers.Bench):
    """The temporary folder, the origin and the gateway."""

    def __init__(self, tollgate):
        super().__init__({"nginx": "nginx", "tollgate": tollgate})
        self.metrics_port, self.read, self.counted = None, 0, (0, 0, 0)
        self.ids = set()

    def serve(self, template):
        """Starts the gateway; it serves when the origin's answer came through it."""
        plain, ready, self.metrics_port = peers.free_ports(3)
        values = {"PLAIN": plain, "READY": ready, "METRICS": self.metrics_port}
        conf = self.write(HERE / template, "tollgate.yaml", values)
        process = self.spawn("tollgate", peers.PROXY_CPU, [self.binaries["tollgate"], "run", "--config", conf])
        self.await_answer(process, "tollgate", plain, False, 30)
        return peers.Running("tollgate", process, plain, 0)

    def reckon(self):
        """What was decided, and logged, since the last time; waits for the log's writer."""
        before, logged, strange, deadline = self.counted, 0, [], time.monotonic() + PATIENCE
        while True:
            self.counted = self.count()
            admitted, refused, dropped = (now - then for now, then in zip(self.counted, before))
            more, wrong = self.refusals()
            logged, strange = logged + more, strange + wrong
            # What was under way when the script left is logged, and counted, a moment later.
            if logged + dropped == refused or time.monotonic() > deadline:
                return {"admitted": admitted, "refused": refused, "logged": logged, "dropped": dropped, "strange": strange}
            time.sleep(0.05)

    def count(self):
        found = gateway.metrics(self.metrics_port)
        decided = [gateway.total(found, "tollgate_limit_decisions_total", f'result="{result}"')
                   for result in ("admitted", "refused")]
        return *decided, gateway.total(found, "tollgate_access_log_dropped_total")

    def refusals(self):
        """How many lines of a 429 came since the last look, and those that are not as they must be."""
        with open(self.dir / "access.log", "rb") as log:
            log.seek(self.read)
            text = log.read()
        whole = text[: text.rfind(b"\n") + 1]
        self.read += len(whole)
        lines = [json.loads(line) for line in whole.splitlines() if b'"status":429' in line]
        wrong = [line for line in lines if line.get("flag") != "rate_limited" or line.get("limit") != "orders"
                 or line["request_id"] in self.ids]
        self.ids.update(line["request_id"] for line in lines)
        return len(lines), wrong


# Seconds for the access log's writer to catch up.
PATIENCE = 10
