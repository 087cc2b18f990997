"""Starts, checks and stops the origin and the proxies, each alone in a temporary folder.

Owns ports (asked of the kernel), the certificate, generated configurations and
the life of every child: all of them end with `Bench`, however it ends. Does not
own traffic. A proxy counts as started when it passed one request through on
each of its two listeners.
"""

import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import limits
import setups

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
NAMES = ("nginx", "haproxy", "envoy", "bare", "tollgate")
# Who is another's program, built otherwise, and is told the same.
TWINS = {"unguided": "tollgate"}
PROXY_CPU = "1"
GENERATOR_CPU = "0"


class PeerFailed(Exception):
    """A child did not start, or answered wrongly; the message says which and shows its output."""


@dataclass
class Running:
    """A proxy that serves: its process and its two ports."""

    name: str
    process: subprocess.Popen
    plain: int
    tls: int

    @property
    def pid(self):
        return self.process.pid


class Bench:
    """The temporary folder, the origin and every child started so far; a context manager."""

    def __init__(self, binaries, texts=lambda name, _: limits.texts(name, False)):
        self.binaries = binaries
        # What stands in a proxy's configuration beside the usual, by its name and this folder.
        self.texts = texts
        self.children = []
        self.homes = 0

    def __enter__(self):
        self.dir = Path(tempfile.mkdtemp(prefix="tollgate-compare-"))
        try:
            self.certificate()
            self.openssl_conf = self.write("openssl.cnf.in", "openssl.cnf", {"GROUPS": "X25519"})
            self.origin_port = free_ports(1)[0]
            self.origin = self.start_origin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in reversed(self.children):
            stop(process, patience=3)
        shutil.rmtree(self.dir, ignore_errors=True)

    def missing(self, name):
        """Why the peer cannot run, or None."""
        binary = self.binaries[name]
        return None if shutil.which(binary) else f"{binary} is not there"

    def start(self, name, wrapper=(), patience=15, texts=None):
        """Starts a proxy on CPU 1, in a folder of its own, under `wrapper` if given (valgrind and its options)."""
        plain, tls, ready, metrics = free_ports(4)
        self.homes += 1
        home = self.dir / f"{name}-{self.homes}"
        home.mkdir()
        values = {
            **setups.plain(told(name)), **(self.texts(told(name), self.dir) if texts is None else texts), "HOME": home,
            "PLAIN": plain, "TLS": tls, "READY": ready, "METRICS": metrics, "MASTER": "off" if wrapper else "on",
        }
        command = [*wrapper, self.binaries[name], *self.arguments(name, values)]
        process = self.spawn(name, PROXY_CPU, command, values)
        running = Running(name, process, plain, tls)
        for port, secure in ((plain, False), (tls, True)):
            self.await_answer(running.process, name, port, secure, patience)
        return running

    def arguments(self, name, values):
        home = values["HOME"]
        if name in ("nginx", "lua"):
            return ["-e", f"{home}/nginx.err", "-c", self.write("nginx.conf.in", home / "nginx.conf", values)]
        if name == "haproxy":
            return ["-db", "-f", self.write("haproxy.cfg.in", home / "haproxy.cfg", values)]
        if name == "envoy":
            conf = self.write("envoy.yaml.in", home / "envoy.yaml", values)
            return ["--concurrency", "1", "--log-level", "error", "--use-dynamic-base-id", "-c", conf]
        if told(name) == "tollgate":
            return ["run", "--config", self.write("tollgate.yaml.in", home / "tollgate.yaml", values)]
        cert, key = self.pair(values)
        return [
            "--listen", f"127.0.0.1:{values['PLAIN']}", "--listen-tls", f"127.0.0.1:{values['TLS']}",
            "--cert", str(cert), "--key", str(key), "--tickets", values["TICKETS"],
            "--upstream", f"127.0.0.1:{self.origin_port}",
        ]

    def pair(self, values):
        """Certificate and key that a setup names: the usual ones are ECDSA."""
        return [self.dir / f"{values.get('PAIR', '')}{what}.pem" for what in ("cert", "key")]

    def start_origin(self):
        values = {"BODY": BODY, "LISTEN": "127.0.0.1", "ONLY": ""}
        conf = self.write("origin.conf.in", "origin.conf", values)
        command = [self.binaries["nginx"], "-e", f"{self.dir}/origin.err", "-c", conf]
        process = self.spawn("origin", GENERATOR_CPU, command)
        self.await_answer(process, "origin", self.origin_port, False, 10)
        return process

    def spawn(self, name, cpu, command, values=None):
        with open(self.dir / f"{name}.out", "ab") as out:
            process = subprocess.Popen(
                ["taskset", "-c", cpu, *command], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                cwd=self.dir, start_new_session=True, env=self.environment(name, values),
            )
        self.children.append(process)
        return process

    def environment(self, name, values):
        if name != "haproxy" or (values and "no-tls-tickets" not in values["TICKETS"]):
            return None
        return {**os.environ, "OPENSSL_CONF": self.write("haproxy-openssl.cnf.in", "haproxy-openssl.cnf", {})}

    def stop(self, running, patience=5):
        """Ends one proxy; true if it ended by itself after SIGINT."""
        self.children.remove(running.process)
        return stop(running.process, patience)

    def write(self, template, name, values):
        """Fills a template into the temporary folder; returns the path of the result."""
        cert, key = self.pair(values)
        known = {
            "DIR": self.dir, "HOME": self.dir, "HERE": HERE, "CERT": cert, "KEY": key,
            "BUNDLE": self.dir / f"{values.get('PAIR', '')}bundle.pem", "ORIGIN": getattr(self, "origin_port", 0),
            # Workers of a root nginx become `nobody`, who may not enter our folder.
            "USER": "user root;" if os.geteuid() == 0 else "",
        }
        text = (HERE / template).read_text()
        # What a setup says may itself name what is known.
        for key, value in {**values, **{key: value for key, value in known.items() if key not in values}}.items():
            text = text.replace(f"@{key}@", str(value))
        (self.dir / name).write_text(text)
        return str(self.dir / name)

    def certificate(self, prefix="", kind=("ec", "-pkeyopt", "ec_paramgen_curve:P-256")):
        """A certificate of our own for one day: ECDSA P-256, as the design asks."""
        cert, key = self.pair({"PAIR": prefix})
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", *kind, "-nodes", "-days", "2",
             "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", cert],
            check=True, capture_output=True,
        )
        (self.dir / f"{prefix}bundle.pem").write_text(cert.read_text() + key.read_text())

    def await_answer(self, process, name, port, secure, patience):
        """Returns after exactly one good answer; refused connections cost the peer nothing."""
        deadline = time.monotonic() + patience
        while True:
            if process.poll() is not None:
                raise PeerFailed(f"{name} ended with {process.returncode}:\n{self.output(name)}")
            try:
                answer = get(port, secure, deadline - time.monotonic())
                break
            except ConnectionRefusedError:
                if time.monotonic() > deadline:
                    raise PeerFailed(f"{name} does not listen on {port}:\n{self.output(name)}") from None
                time.sleep(0.02)
            except OSError as error:
                raise PeerFailed(f"{name} gave no answer on {port}: {error}\n{self.output(name)}") from None
        if not answer.startswith(b"HTTP/1.1 200 ") or not answer.endswith(BODY.encode()):
            raise PeerFailed(f"{name} answered wrongly on {port}: {answer[:300]!r}\n{self.output(name)}")

    def output(self, name):
        logs = [self.dir / f"{name}.out", self.dir / f"{name}.err"]
        return "".join(log.read_text(errors="replace")[-2000:] for log in logs if log.exists())


def told(name):
    """Whose configuration a proxy gets."""
    return TWINS.get(name, name)


def get(port, secure, patience, path="/", fields=""):
    """One GET with `Connection: close` and further fields, each with its end of line; the whole answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=max(1.0, patience)) as tcp:
        stream = tcp
        if secure:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            stream = context.wrap_socket(tcp)
        stream.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{fields}\r\n".encode())
        answer = b""
        while part := stream.recv(65536):
            answer += part
        return answer


def free_ports(count):
    """Distinct ports that nobody listens on, by asking the kernel."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [held.getsockname()[1] for held in sockets]
    for held in sockets:
        held.close()
    return ports


def stop(process, patience):
    """SIGINT (fast end for every peer here), then SIGKILL to the session that we made for it."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(patience)
            return True
        except subprocess.TimeoutExpired:
            print(f"pid {process.pid} ignored SIGINT for {patience} s: killed", file=sys.stderr)
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
    return False


# 121 bytes, as in every figure that these are compared with.
BODY = (
    '{"status":"ok","service":"origin","message":"the quick brown fox jumps over the lazy dog",'
    '"items":[1,2,3,4,5,6,7,8,9,10]}'
)
