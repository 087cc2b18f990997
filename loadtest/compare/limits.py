"""What each proxy is told when limits are compared.

Owns the limits: one that counts all together, one with a count for each of a million
keys, and one that is used up, on a path each; every other path has none. All are so
wide that nothing is refused, but for the last. Owns no figures (limit_costs.py).
"""

# The base is the first: the same requests, which no limit counts.
DUTIES = {
    "unlimited": "cleartext, one of a million keys in a header of each request, no limit",
    "limit": "the same requests through a limit that counts all of them together",
    "limit-1m": "the same requests through a limit that counts by that header, all 1,048,576 keys active",
    "refused": "the same requests, all answered 429",
}
PEERS = ("nginx", "haproxy", "tollgate")
# The generator's header, and how many different values it has.
FIELD = "x-consumer"
KEYS = 1 << 20


def path(duty):
    # As long as the others: what a longer path costs is no limit's.
    return "/other" if duty == "unlimited" else f"/{duty}"


def texts(name, on):
    """What stands in a proxy's configuration for its limits; nothing unless they are on."""
    return TEXTS[name] if on and name in TEXTS else {"LIMITS": "", "LIMITED": ""}


NGINX_PROXY = 'proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection "";'
TEXTS = {
    "nginx": {
        "LIMITS": """
    limit_req_status 429;
    limit_req_log_level info;
    limit_req_zone $server_port zone=one:1m rate=1000000r/s;
    limit_req_zone $http_x_consumer zone=million:256m rate=1r/m;
    limit_req_zone $server_port zone=none:1m rate=1r/m;""",
        "LIMITED": f"""
        location = /limit {{ limit_req zone=one burst=1000000 nodelay; {NGINX_PROXY} }}
        location = /limit-1m {{ limit_req zone=million burst=100000 nodelay; {NGINX_PROXY} }}
        location = /refused {{ limit_req zone=none; {NGINX_PROXY} }}""",
    },
    "haproxy": {
        "LIMITS": """
backend one
    stick-table type integer size 1k expire 1h store http_req_rate(10s)

backend million
    stick-table type string len 24 size 2m expire 1h store http_req_rate(10s)""",
        "LIMITED": """
    http-request track-sc0 int(1) table one if { path /limit }
    http-request track-sc0 int(2) table one if { path /refused }
    http-request track-sc0 req.hdr(x-consumer) table million if { path /limit-1m }
    http-request deny deny_status 429 if { path /limit } { sc_http_req_rate(0) gt 100000000 }
    http-request deny deny_status 429 if { path /limit-1m } { sc_http_req_rate(0) gt 100000 }
    http-request deny deny_status 429 if { path /refused } { sc_http_req_rate(0) gt 1 }""",
    },
    "tollgate": {
        "LIMITS": """
limits:
  - { name: one, rate: 1000000/s }
  - { name: million, key: [ { header: x-consumer } ], rate: 1/h, burst: 100000, memory: 40MiB }
  - { name: none, rate: 1/h, burst: 1 }""",
        "LIMITED": """
  - { name: limit, match: { path: { exact: /limit } }, limits: [one], to: [ { upstream: origin } ] }
  - { name: limit-1m, match: { path: { exact: /limit-1m } }, limits: [million], to: [ { upstream: origin } ] }
  - { name: refused, match: { path: { exact: /refused } }, limits: [none], to: [ { upstream: origin } ] }""",
    },
}
