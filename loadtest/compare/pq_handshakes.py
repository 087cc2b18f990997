#!/usr/bin/env python3
"""Generates full handshakes by an OpenSSL that knows X25519MLKEM768: PyPI's cryptography.

Owns the `handshake-pq` duty's traffic: one ClientHello for all, with a share of
X25519MLKEM768 and one of X25519 (OPENSSL_CONF says so), of which each server takes
what it knows. Else as full_handshakes.py, and no connection is given a session to
resume. The line of JSON names the group that was used. Needs pyOpenSSL, which everything.py's environment has.
"""

import argparse
import socket
import time

from OpenSSL import SSL

import full_handshakes


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--clients", type=int, default=8)
    args = parser.parse_args()
    full_handshakes.report_closed_loop(lambda goes_on: client(args.port, goes_on), args.clients, args.seconds)


def client(port, goes_on):
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    return full_handshakes.loop(goes_on, lambda report: one_request(context, port, report))


def one_request(context, port, report):
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port)) as tcp:
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        tls = SSL.Connection(context, tcp)
        tls.set_connect_state()
        try:
            answer = exchange(tls)
        except SSL.Error as error:
            raise OSError(f"{error!r}") from error
        report["session"] = f"{tls.get_protocol_version_name()} {tls.get_cipher_name()} {tls.get_group_name()}"
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise OSError("not a good answer")
    report["latencies"].append(round((time.monotonic() - began) * 1e6))


def exchange(tls):
    tls.do_handshake()
    tls.sendall(full_handshakes.REQUEST)
    answer = b""
    try:
        while True:
            answer += tls.recv(65536)
    except SSL.ZeroReturnError:
        return answer


if __name__ == "__main__":
    main()
