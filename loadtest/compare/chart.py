"""The whole comparison as one picture: CPU per request, nginx being 1.

Owns the drawing, SVG of plain rectangles and text. Figures come from the JSON alone.
"""

from xml.sax.saxutils import escape

import suites

# Proxy, legend, colour. The order is that of the bars.
SHOWN = (
    ("haproxy", "HAProxy", "#9aa7b4"),
    ("envoy", "Envoy", "#c79bd6"),
    ("stock", "Pingora, cargo's build", "#f0c27b"),
    ("bare", "Pingora, our build", "#e39a3b"),
    ("tollgate", "Tollgate", "#1f77b4"),
)
# Of the longest bar; longer ones end in an arrow and have their figure.
MOST, PER_ONE, LEFT, TOP, BAR, GAP = 4.0, 130, 216, 78, 11, 12


def svg(report):
    """The picture of a report, as text."""
    groups = [(duty, report["duties"][duty]["peers"]) for duty in drawn(report)]
    parts, y = [], TOP
    for duty, peers in groups:
        bars = [(colour, by(peers[name])) for name, _, colour in SHOWN if name in peers and by(peers[name])]
        middle = y + len(bars) * BAR / 2 + 4
        parts.append(text(LEFT - 10, middle, LABELS.get(duty, duty), "end"))
        for colour, value in bars:
            parts += bar(y, colour, value)
            y += BAR
        y += GAP
    height, width = y + 20, LEFT + MOST * PER_ONE + 70
    one = LEFT + PER_ONE
    line = f'<line x1="{one}" y1="{TOP - 8}" x2="{one}" y2="{y}" stroke="#333" stroke-dasharray="3 3"/>'
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" '
        'font-family="sans-serif" font-size="12" fill="#222">',
        '<rect width="100%" height="100%" fill="#fff"/>',
        text(12, 22, "CPU per request, nginx = 1 (shorter is better)", "start", 'font-size="15" font-weight="bold"'),
        *legend(), line, text(one, TOP - 12, "nginx", "middle", 'font-size="10"'), *parts,
        text(12, height - 8, below(report), "start", 'font-size="10" fill="#666"'), "</svg>\n",
    ])


def drawn(report):
    order = [duty for suite in suites.SUITES.values() for duty in suite.duties]
    return [duty for duty in order if duty in LABELS and duty in report.get("duties", {})]


def by(figures):
    return (figures["by"].get("nginx") or figures["by"].get("lua") or {}).get("median")


def bar(y, colour, value):
    length = min(value, MOST) * PER_ONE
    more = " ▸" if value > MOST else ""
    return [
        f'<rect x="{LEFT}" y="{y:.0f}" width="{length:.1f}" height="{BAR - 1}" fill="{colour}"/>',
        text(LEFT + length + 4, y + BAR - 2, f"{value:.2f}{more}", "start", 'font-size="9"'),
    ]


def legend():
    parts, x = [], 12
    for _, name, colour in SHOWN:
        parts += [f'<rect x="{x}" y="34" width="11" height="11" fill="{colour}"/>', text(x + 16, 44, name)]
        x += 34 + 6.6 * len(name)
    return parts


def below(report):
    runs = list(report.get("measured", {}).values())
    if not runs:
        return ""
    return f"{runs[0]['cpu']}, {runs[0]['cores']} cores, {runs[0]['date'][:10]}; one thread each; medians of interleaved rounds"


def text(x, y, words, anchor="start", more=""):
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" {more}>{escape(words)}</text>'


LABELS = {
    "plain": "cleartext", "tls": "TLS", "http2": "HTTP/2", "log": "TLS, access log",
    "handshake": "handshake, ECDSA", "handshake-rsa": "handshake, RSA", "resumed": "handshake, resumed",
    "handshake-pq": "handshake, X25519MLKEM768", "limit-1m": "limit, a million keys",
    "sign-kept": "signed, token kept (Lua = 1)", "sign-es256": "signed, ES256 each (Lua = 1)",
    "verified-es256": "token verified before (Lua = 1)", "verified-each-es256": "ES256 verified each (Lua = 1)",
    "verified-each-rs256": "RS256 verified each (Lua = 1)",
    "routes-1000": "1,000 routes", "routes-10000": "10,000 routes", "endpoints-10000": "10,000 endpoints",
    "body-64k": "64 KiB answers, TLS", "body-10m": "10 MiB answers, TLS",
    "full": "full; the others TLS alone", "rate": "TLS, 5,000 a second",
}
