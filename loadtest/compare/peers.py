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

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
NAMES = ("nginx", "haproxy", "envoy", "bare", "tollgate")
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

    def __enter__(self):
        self.dir = Path(tempfile.mkdtemp(prefix="tollgate-compare-"))
        try:
            self.certificate()
            self.openssl_conf = self.write("openssl.cnf.in", "openssl.cnf", {})
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

    def start(self, name, wrapper=(), patience=15):
        """Starts a proxy on CPU 1, under `wrapper` if given (valgrind and its options)."""
        plain, tls, ready, metrics = free_ports(4)
        values = {
            "PLAIN": plain, "TLS": tls, "READY": ready, "METRICS": metrics,
            "MASTER": "off" if wrapper else "on", **self.texts(name, self.dir),
        }
        command = [*wrapper, self.binaries[name], *self.arguments(name, values)]
        running = Running(name, self.spawn(name, PROXY_CPU, command), plain, tls)
        for port, secure in ((plain, False), (tls, True)):
            self.await_answer(running.process, name, port, secure, patience)
        return running

    def arguments(self, name, values):
        if name == "nginx":
            return ["-e", f"{self.dir}/nginx.err", "-c", self.write("nginx.conf.in", "nginx.conf", values)]
        if name == "haproxy":
            return ["-db", "-f", self.write("haproxy.cfg.in", "haproxy.cfg", values)]
        if name == "envoy":
            conf = self.write("envoy.yaml.in", "envoy.yaml", values)
            return ["--concurrency", "1", "--log-level", "error", "--use-dynamic-base-id", "-c", conf]
        if name == "tollgate":
            return ["run", "--config", self.write("tollgate.yaml.in", "tollgate.yaml", values)]
        return [
            "--listen", f"127.0.0.1:{values['PLAIN']}", "--listen-tls", f"127.0.0.1:{values['TLS']}",
            "--cert", f"{self.dir}/cert.pem", "--key", f"{self.dir}/key.pem",
            "--upstream", f"127.0.0.1:{self.origin_port}",
        ]

    def start_origin(self):
        conf = self.write("origin.conf.in", "origin.conf", {"BODY": BODY})
        command = [self.binaries["nginx"], "-e", f"{self.dir}/origin.err", "-c", conf]
        process = self.spawn("origin", GENERATOR_CPU, command)
        self.await_answer(process, "origin", self.origin_port, False, 10)
        return process

    def spawn(self, name, cpu, command):
        with open(self.dir / f"{name}.out", "ab") as out:
            process = subprocess.Popen(
                ["taskset", "-c", cpu, *command], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                cwd=self.dir, start_new_session=True, env=self.environment(name),
            )
        self.children.append(process)
        return process

    def environment(self, name):
        if name != "haproxy":
            return None
        return {**os.environ, "OPENSSL_CONF": self.write("haproxy-openssl.cnf.in", "haproxy-openssl.cnf", {})}

    def stop(self, running, patience=5):
        """Ends one proxy; true if it ended by itself after SIGINT."""
        self.children.remove(running.process)
        return stop(running.process, patience)

    def write(self, template, name, values):
        """Fills a template into the temporary folder; returns the path of the result."""
        known = {
            "DIR": self.dir, "CERT": self.dir / "cert.pem", "KEY": self.dir / "key.pem",
            "BUNDLE": self.dir / "bundle.pem", "ORIGIN": getattr(self, "origin_port", 0),
            # Workers of a root nginx become `nobody`, who may not enter our folder.
            "USER": "user root;" if os.geteuid() == 0 else "", **values,
        }
        text = (HERE / template).read_text()
        for key, value in known.items():
            text = text.replace(f"@{key}@", str(value))
        (self.dir / name).write_text(text)
        return str(self.dir / name)

    def certificate(self):
        """A certificate of our own for one day: ECDSA P-256, as the design asks."""
        cert, key = self.dir / "cert.pem", self.dir / "key.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
             "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
             "-keyout", key, "-out", cert],
            check=True, capture_output=True,
        )
        (self.dir / "bundle.pem").write_text(cert.read_text() + key.read_text())

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


def get(port, secure, patience, path="/"):
    """One GET with `Connection: close`; the whole answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=max(1.0, patience)) as tcp:
        stream = tcp
        if secure:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            stream = context.wrap_socket(tcp)
        stream.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
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
