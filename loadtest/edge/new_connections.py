#!/usr/bin/env python3
"""Makes one request per new TLS connection, as a load balancer hands them on.

Owns the traffic of proxy_cost.py: one client, one connection after the other, with
a PROXY header of version 2 in front or without, with a full handshake or a ticket.
The header goes out in one segment with the first TLS record, as an NLB sends it.
Prints one line of JSON; `resumed` counts what OpenSSL says was.
"""

import argparse
import json
import socket
import ssl
import struct
import time


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--proxy", action="store_true", help="with a PROXY header")
    parser.add_argument("--resume", action="store_true", help="with the ticket of the one before; the first has none")
    args = parser.parse_args()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    header, session, resumed, latencies = nlb_header() if args.proxy else b"", None, 0, []
    for _ in range(args.count):
        began = time.monotonic()
        with connect(context, args.port, header, session) as tls:
            exchange(tls)
            latencies.append((time.monotonic() - began) * 1e6)
            resumed += tls.session_reused
            session = tls.session if args.resume else None
            end(tls)
    latencies.sort()
    p50 = latencies[len(latencies) // 2]
    print("REPORT " + json.dumps({"requests": args.count, "resumed": resumed, "p50_us": p50}))


def connect(context, port, header, session):
    tcp = socket.create_connection(("127.0.0.1", port), timeout=20)
    tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if header:
        tcp.send(header, socket.MSG_MORE)
    return context.wrap_socket(tcp, session=session)


def exchange(tls):
    """One request, up to the end of its answer."""
    tls.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    answer = b""
    while not answer.endswith(b"]}"):
        part = tls.recv(65536)
        if not part:
            raise OSError(f"closed after {answer[:100]!r}")
        answer += part
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise OSError(f"not a good answer: {answer[:100]!r}")


def end(tls):
    while tls.recv(65536):
        pass


def nlb_header():
    """What an NLB sends for a client that came through a VPC endpoint: address, checksum, endpoint, padding."""
    endpoint = b"\x01vpce-0a1b2c3d4e5f60718"
    block = bytes([203, 0, 113, 7, 10, 0, 0, 5]) + struct.pack(">HH", 47110, 443)
    values = [(3, bytes(4)), (0xEA, endpoint), (4, bytes(11))]
    block += b"".join(struct.pack(">BH", kind, len(value)) + value for kind, value in values)
    header = bytearray(b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack(">H", len(block)) + block)
    header[31:35] = struct.pack(">I", crc32c(header))
    return bytes(header)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


if __name__ == "__main__":
    main()
