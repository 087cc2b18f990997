"""Many routes, in each proxy's own best form: a prefix of the path for each.

Owns their names and texts: nginx has a tree of locations, HAProxy a map, Tollgate its
table. Envoy's list is looked through from its beginning: that is how it is told by most
control planes; its generic matcher, which has a tree of prefixes, is not compared.
"""

# What stands at the end of each path.
REST = "orders"


def setup(count):
    """The texts of a setup with so many routes to the origin."""
    return lambda name, bench: TEXTS[name](count, bench)


def prefix(number):
    return f"/r{number:05d}/"


def nginx(count, _bench):
    return {"LIMITED": lines(count, lambda at: f"        location {at} {{ proxy_pass http://origin; }}")}


def haproxy(count, bench):
    table = bench.dir / f"routes-{count}.map"
    table.write_text(lines(count, lambda at: f"{at} origin") + "\n")
    return {"LIMITED": f"    use_backend %[path,map_beg({table})]"}


def envoy(count, _bench):
    return {"ROUTES": lines(count, lambda at: f"{{ match: {{ prefix: {at} }}, route: {{ cluster: origin }} }},")}


def tollgate(count, _bench, more=""):
    """`more` stands in each route: its limits, its signer."""
    return {"LIMITED": lines(
        count, lambda at: f"  - {{ name: {at.strip('/')}, match: {{ path: {at[:-1]} }}, {more} to: [ {{ upstream: origin }} ] }}"
    )}


def lines(count, form):
    return "\n".join(form(prefix(number)) for number in range(count))


TEXTS = {"nginx": nginx, "haproxy": haproxy, "envoy": envoy, "tollgate": tollgate}
