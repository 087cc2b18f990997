"""What stands in each proxy's configuration, beside ports, in each setup.

Owns what a setup changes: certificate, tickets, log, endpoints. A proxy is started
once for each setup that its duties need. Limits, routes, signers and what is verified are
those of limits.py, routes.py, signers.py and verified.py.
"""


def plain(name):
    """What everybody has unless a setup says otherwise: no log but Tollgate's own, no tickets."""
    return PLAIN.get(name, {})


def rsa(name, _bench):
    return {"PAIR": "rsa-"}


def tickets(name, _bench):
    return TICKETS.get(name, {})


def log(name, _bench):
    return LOGS.get(name, {})


def endpoints(count):
    """So many addresses of one origin, and room to keep a connection to each."""
    def texts(name, bench):
        port = bench.everywhere(name)
        addresses = [f"127.{1 + n // 62500}.{n // 250 % 250}.{1 + n % 250}:{port}" for n in range(count)]
        one, between = ENDPOINT[name]
        filled = between.join(one.replace("#", a).replace("%", str(n)).replace("^", a.split(":")[0]).replace("~", str(port))
                              for n, a in enumerate(addresses))
        return {
            "ENDPOINTS": filled, "POOL": 10240, "KEPT": ", upstream_connections: 10240",
            "GLOBAL": "tune.pool-low-fd-ratio 85\n    tune.pool-high-fd-ratio 90",
        }

    return texts


# A form for each address: # is the address, % its number, ^ and ~ its two halves.
ENDPOINT = {
    "nginx": ("server #;", "\n        "),
    "haproxy": ("server s% # pool-max-conn 512", "\n    "),
    "envoy": ("{ endpoint: { address: { socket_address: { address: ^, port_value: ~ } } } }", ",\n        "),
    "tollgate": ("{ address: # }", ", "),
}
NGINX = {
    "MODULES": "", "LOG": "access_log off;", "POOL": 512, "LIMITS": "", "LIMITED": "",
    "ENDPOINTS": "server 127.0.0.1:@ORIGIN@;",
    # `tickets off` alone still sends two that nobody can use: 7 % of a handshake.
    "TICKETS": "ssl_session_tickets off;\n        ssl_conf_command NumTickets 0;",
}
PLAIN = {
    "nginx": NGINX,
    "lua": NGINX,
    "haproxy": {
        "GLOBAL": "", "LOG": "", "LIMITS": "", "LIMITED": "", "TICKETS": "no-tls-tickets",
        "ENDPOINTS": "server one 127.0.0.1:@ORIGIN@ pool-max-conn 512",
    },
    "envoy": {
        "LOG": "", "ROUTES": "", "FILTERS": "",
        "TICKETS": "disable_stateless_session_resumption: true, disable_stateful_session_resumption: true,",
        "ENDPOINTS": "{ endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: @ORIGIN@ } } } }",
    },
    "bare": {"TICKETS": "off"},
    "stock": {"TICKETS": "off"},
    "tollgate": {
        "LOG": "@HOME@/access.log", "LIMITS": "", "LIMITED": "", "TICKETS": "off", "KEPT": "", "ANYBODY": "",
        "ENDPOINTS": "{ address: 127.0.0.1:@ORIGIN@ }",
    },
}
TICKETS = {
    "nginx": {"TICKETS": "ssl_session_tickets on;"},
    "haproxy": {"TICKETS": ""},
    "envoy": {"TICKETS": "disable_stateful_session_resumption: true,"},
    "bare": {"TICKETS": "on"},
    "stock": {"TICKETS": "on"},
    "tollgate": {"TICKETS": "on"},
}
# Lines are written together where that can be said: Tollgate does so, and without it
# each costs a system call.
LOGS = {
    "nginx": {"LOG": "access_log @HOME@/access.log combined buffer=64k flush=1s;"},
    "haproxy": {
        "GLOBAL": "log stdout format raw local0 info",
        "LOG": "log global\n    option httplog",
    },
    "envoy": {
        "LOG": 'access_log: [ { name: file, typed_config: { "@type": '
        "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: @HOME@/access.log } } ],",
    },
}
