#!/usr/bin/env python3
"""Generates one full TLS 1.3 handshake per request and proves that none was resumed.

Owns the `handshake` duty's traffic: each of N forked clients connects, shakes
hands with a fresh session, sends one GET with `Connection: close`, reads the
whole answer and closes. Does not own ciphers and groups (OPENSSL_CONF does) nor
the peers' CPU. Prints one line of JSON: `resumed` counts the sessions that
OpenSSL says were reused, `tickets` those for which the server sent a ticket all
the same (work that the others are not asked to do); both must be 0.
"""

import argparse
import json
import os
import socket
import ssl
import time


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--clients", type=int, default=16)
    args = parser.parse_args()
    began = time.monotonic()
    until = began + args.seconds
    pipes = [fork_client(args.port, until) for _ in range(args.clients)]
    results = [json.loads(read_all(pipe)) for pipe in pipes]
    for _ in pipes:
        os.wait()
    print("REPORT " + json.dumps(merge(results, time.monotonic() - began)))


def fork_client(port, until):
    """Starts a client process; returns the pipe on which it will report."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        try:
            os.close(reader)
            report = client(port, until)
            with os.fdopen(writer, "w") as out:
                json.dump(report, out)
        finally:
            os._exit(0)
    os.close(writer)
    return reader


def client(port, until):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    report = {"latencies": [], "errors": 0, "resumed": 0, "tickets": 0, "session": None}
    while time.monotonic() < until:
        try:
            one_request(context, port, report)
        except OSError:
            report["errors"] += 1
    return report


def one_request(context, port, report):
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=5) as tcp:
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with context.wrap_socket(tcp) as tls:
            tls.sendall(REQUEST)
            answer = tls.recv(65536)
            while part := tls.recv(65536):
                answer += part
            report["resumed"] += bool(tls.session_reused)
            report["tickets"] += bool(tls.session and tls.session.has_ticket)
            report["session"] = report["session"] or "%s %s" % (tls.version(), tls.cipher()[0])
    if not answer.startswith(b"HTTP/1.1 200 "):
        report["errors"] += 1
    report["latencies"].append(round((time.monotonic() - began) * 1e6))


def read_all(fd):
    with os.fdopen(fd) as pipe:
        return pipe.read()


def merge(results, seconds):
    latencies = sorted(us for result in results for us in result["latencies"])
    return {
        "requests": len(latencies),
        "seconds": round(seconds, 6),
        "p50_us": at(latencies, 0.50),
        "p99_us": at(latencies, 0.99),
        "errors": sum(result["errors"] for result in results),
        "resumed": sum(result["resumed"] for result in results),
        "tickets": sum(result["tickets"] for result in results),
        "session": results[0]["session"],
    }


def at(ordered, share):
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0


REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"

if __name__ == "__main__":
    main()
