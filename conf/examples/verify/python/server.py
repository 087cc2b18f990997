#!/usr/bin/python3
"""A small upstream with verify.py in it, set by the environment: see ../README.md."""
import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from verify import KINDS, PARTS, Keys, Refused, Verifier

MAX_BODY = 1 << 20


class Handler(BaseHTTPRequestHandler):
    protocol_version, timeout = "HTTP/1.1", 30

    def do_GET(self):
        body = self.read_body()
        if body is None:
            self.close_connection = True
            return self.answer(413, {"title": "Content Too Large", "status": 413})
        # `self.path` is not what came: it has lost a second slash at its beginning.
        target = self.requestline.split()[1]
        try:
            claims = VERIFIER.verify(self.token(), self.command, target, self.headers.get("Host"), body)
        except Refused as why:
            return self.answer(401, {"title": "Unauthorized", "status": 401, "detail": str(why)})
        return self.answer(200, claims)

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_GET

    def token(self):
        lines = self.headers.get_all(HEADER) or []
        if len(lines) != 1:  # Of two, somebody else might read the other one.
            raise Refused(f"{len(lines)} fields `{HEADER}` instead of one")
        if not lines[0].startswith(BEFORE):
            raise Refused(f"`{HEADER}` does not begin with `{BEFORE}`")
        return lines[0][len(BEFORE):]

    def read_body(self):
        """All of it; None if it is too long. http.server knows no chunks."""
        if "Transfer-Encoding" not in self.headers:
            length = int(self.headers.get("Content-Length", 0))
            return self.rfile.read(length) if 0 <= length <= MAX_BODY else None
        body = b""
        while length := int(self.rfile.readline(100).split(b";")[0], 16):
            if not 0 <= length <= MAX_BODY - len(body):
                return None
            body += self.rfile.read(length)
            self.rfile.readline(100)
        while self.rfile.readline(8192).strip():  # trailers
            pass
        return body

    def answer(self, status, value):
        text = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if status == 200 else "application/problem+json")
        self.send_header("Content-Length", str(len(text)))
        if status == 401:
            self.send_header("WWW-Authenticate", 'Bearer error="invalid_token"')
        self.end_headers()
        self.wfile.write(text if self.command != "HEAD" else b"")


def words(name, default, allowed):
    """A setting that is a list; with a word that is misspelt nothing starts."""
    found = [word for word in os.environ.get(name, default).split(",") if word]
    for word in found:
        if word not in allowed:
            sys.exit(f"{name}: `{word}` is none of {' '.join(allowed)}")
    return found


if __name__ == "__main__":
    env = os.environ.get
    for name in ("JWKS", "ISSUER", "AUDIENCE"):
        env(name) or sys.exit(f"{name} is not set")
    HEADER, BEFORE = env("HEADER", "JWT"), "Bearer " if env("BEARER") == "1" else ""
    source = env("JWKS") if "://" in env("JWKS") else os.path.abspath(env("JWKS"))
    algorithms = words("ALGORITHMS", "ES256", KINDS) or sys.exit("ALGORITHMS is empty")
    keys = Keys(source, algorithms, int(env("JWKS_REFETCH", "5")), int(env("JWKS_MAX_AGE", "300")))
    VERIFIER = Verifier(
        keys, env("ISSUER"), env("AUDIENCE"), words("REQUIRE_BIND", "", PARTS),
        once=env("ONCE") == "1", scheme=env("SCHEME", "http"),
    )
    host, _, port = env("LISTEN", "127.0.0.1:8080").rpartition(":")
    server = ThreadingHTTPServer((host, int(port)), Handler)
    print(f"listening on {host}:{server.server_port}", flush=True)
    server.serve_forever()
