#!/usr/bin/env python3
"""Generates one full TLS 1.3 handshake per request and proves that none was resumed.

Owns the `handshake` duty's traffic: each of N forked clients connects, shakes
hands with a fresh session, sends one GET with `Connection: close`, reads the
whole answer and closes. Does not own ciphers and groups (OPENSSL_CONF does) nor
the peers' CPU. Prints one line of JSON: `resumed` counts the sessions that
OpenSSL says were reused, `tickets` the clients that were sent a ticket all the
same (work that the others are not asked to do); both must be 0. With `--resume`
it is the other way round: each takes the last one's ticket along, the first
connection of a client is not counted, and a session that was not reused is an error.
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
    parser.add_argument("--count", type=int, help="exactly so many requests, by one client, however long it takes")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--resume", action="store_true", help="take the last session's ticket along")
    args = parser.parse_args()
    if args.count:
        began = time.monotonic()
        results = [client(args.port, lambda done: done < args.count)]
        print("REPORT " + json.dumps(merge(results, time.monotonic() - began)))
    else:
        serve = resuming if args.resume else client
        report_closed_loop(lambda goes_on: serve(args.port, goes_on), args.clients, args.seconds)


def report_closed_loop(serve, clients, seconds):
    """Every client makes its next request when the last is answered, until the clock says stop."""
    began = time.monotonic()
    pipes = [fork_client(serve, lambda _: time.monotonic() < began + seconds) for _ in range(clients)]
    results = [json.loads(read_all(pipe)) for pipe in pipes]
    for _ in pipes:
        os.wait()
    print("REPORT " + json.dumps(merge(results, time.monotonic() - began)))


def fork_client(serve, goes_on):
    """Starts a client process; returns the pipe on which it will report."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        try:
            os.close(reader)
            report = serve(goes_on)
            with os.fdopen(writer, "w") as out:
                json.dump(report, out)
        finally:
            os._exit(0)
    os.close(writer)
    return reader


def client(port, goes_on):
    """Makes requests as long as `goes_on(how many so far)`; what it saw."""
    context = unverified()
    return loop(goes_on, lambda report: one_request(context, port, report))


def loop(goes_on, request):
    report = {"latencies": [], "errors": 0, "resumed": 0, "tickets": 0, "session": None}
    while goes_on(len(report["latencies"]) + report["errors"]):
        try:
            request(report)
        except OSError:
            report["errors"] += 1
    return report


def unverified():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def resuming(port, goes_on):
    """The same with the ticket that the last answer brought."""
    context, kept = unverified(), [None]

    def request(report):
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", port), timeout=5) as tcp:
            tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with context.wrap_socket(tcp, session=kept[0]) as tls:
                tls.sendall(REQUEST)
                answer = tls.recv(65536)
                while part := tls.recv(65536):
                    answer += part
                first, kept[0] = kept[0] is None, tls.session
                if not first and not tls.session_reused:
                    raise OSError("a full handshake")
                report["session"] = f"{tls.version()} {tls.cipher()[0]}, resumed"
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise OSError("not a good answer")
        if not first:
            report["latencies"].append(round((time.monotonic() - began) * 1e6))

    return loop(goes_on, request)


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
            if report["session"] is None:  # once per client: Python copies the session to look at it
                report["session"] = f"{tls.version()} {tls.cipher()[0]}"
                report["tickets"] += bool(tls.session and tls.session.has_ticket)
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise OSError("not a good answer")
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
