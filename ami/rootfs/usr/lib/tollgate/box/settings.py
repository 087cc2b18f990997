"""The settings of a machine: /etc/tollgate/box.yaml, which user data writes.

    config: ssm:/tollgate/prod/config
    files:
      jwt/2026-11.key: secretsmanager:tollgate/prod/jwt#2026-11
      conf.d/orders.yaml: s3://acme-config/tollgate/prod/orders.yaml
    certificates:
      - { name: api, acm: "arn:aws:acm:us-east-1:111122223333:certificate/..." }
      - { name: internal, private_ca: { authority: "arn:aws:acm-pca:...", names: [gw.internal], days: 60 } }
      - { name: vault, file: /run/vault-agent/api.pem }
    endpoints:
      - { name: orders, port: 8080, auto_scaling_group: orders-prod }
      - { name: users, port: 8080, tags: { service: users } }

No secret is in it, only where secrets are. Unknown keys are mistakes, and so is a key
that is written twice: what does not count must not look as if it did.

An ARN names its region; of a bucket in another one it stands behind the address:
s3://BUCKET/KEY?region=eu-west-1
"""

import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import yaml

from . import place
from .failure import Mistake

# For how long Private CA is asked. At a third of the least the alarms have not sounded yet.
DAYS, LEAST_DAYS, MOST_DAYS = 60, 45, 397
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
SCHEMES = "ssm:NAME, secretsmanager:NAME, s3://BUCKET/KEY or file:/PATH"
# Of a name in a folder, by Linux.
MOST_BYTES = 255
# Behind an object's address: another key may have a question mark, too.
REGION = re.compile(r"(.+)\?region=([a-z0-9-]+)")


@dataclass
class Source:
    """Where a text is; `key` picks one of a secret that is a JSON object, and an object of
    S3 may be in another region than the machine."""

    scheme: str
    name: str
    key: str = ""
    region: str = ""

    def __str__(self) -> str:
        return f"{self.scheme}:{self.name}" + (f"#{self.key}" if self.key else "") + (f"?region={self.region}" if self.region else "")


@dataclass
class PrivateCa:
    """What an authority of ACM Private CA is asked for."""

    authority: str
    names: list[str]
    days: int


@dataclass
class Certificate:
    """A certificate by name, and the one place that it comes from."""

    name: str
    acm: str = ""
    private_ca: PrivateCa | None = None
    file: str = ""


@dataclass
class Endpoints:
    """A file of endpoints by name: instances of a group, or those with all of the tags."""

    name: str
    port: int
    auto_scaling_group: str = ""
    tags: dict[str, str] = field(default_factory=dict)


@dataclass
class Settings:
    config: Source
    files: dict[str, Source]
    certificates: list[Certificate]
    endpoints: list[Endpoints]


def read() -> Settings:
    """The settings; everything else is a `Mistake` that says what to write."""
    try:
        text = place.SETTINGS.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise Mistake(f"there is no {place.SETTINGS}: user data has to write it") from None
    except (OSError, UnicodeDecodeError) as why:
        raise Mistake(f"{place.SETTINGS} cannot be read: {why}") from None
    try:
        document = yaml.load(text, Loader=Unique)
    except Exception as why:  # A day that is none is a ValueError; whatever it is, the text is the cause.
        raise Mistake(f"{place.SETTINGS} is no YAML: {' '.join(str(why).split())}") from None
    return settings(Part(document, str(place.SETTINGS)))


class Unique(yaml.SafeLoader):
    """Refuses a key that is written twice; YAML's own reader takes the last."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = [key for key in keys if keys.count(key) > 1]
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"`{twice[0]}` is written twice", node.start_mark)
        return super().construct_mapping(node, deep)


class Part:
    """A mapping of the settings, and how it is called in messages. Keys are taken out;
    those that nobody took are unknown."""

    def __init__(self, value, where: str) -> None:
        if not isinstance(value, dict):
            raise Mistake(f"{where}: is no mapping of keys")
        self.left, self.where, self.known = dict(value), where, []

    def text(self, key: str, default: str | None = None) -> str:
        value = self.take(key, default)
        if not isinstance(value, str) or (not value and default is None):
            raise self.wrong(key, "a text")
        return self.clean(key, value)

    def number(self, key: str, low: int, high: int, default: int | None = None) -> int:
        value = self.take(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.wrong(key, f"a number from {low} to {high}")
        return value

    def name(self) -> str:
        value = self.text("name")
        if not NAME.fullmatch(value):
            raise self.wrong("name", "small letters, digits, `.`, `_` and `-`")
        return value

    def parts(self, key: str) -> list["Part"]:
        value = self.take(key, [])
        if not isinstance(value, list):
            raise self.wrong(key, "a list")
        return [Part(entry, f"{self.where}: {key}[{nth}]") for nth, entry in enumerate(value)]

    def texts(self, key: str) -> dict[str, str]:
        value = self.take(key, {})
        if not isinstance(value, dict) or not all(isinstance(text, str) for pair in value.items() for text in pair):
            raise self.wrong(key, "a mapping of texts")
        for text in (*value, *value.values()):
            self.clean(key, text)
        return value

    def clean(self, key: str, text: str) -> str:
        """What no file and no call can have in its name is not fetched."""
        if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text):
            raise self.wrong(key, f"without control characters, unlike {text!r}")
        return text

    def take(self, key: str, default=None):
        self.known.append(key)
        value = self.left.pop(key, default)
        if value is None:
            raise Mistake(f"{self.where}: `{key}` is missing")
        return value

    def one_of(self, *keys: str) -> str:
        given = [key for key in keys if key in self.left]
        self.known.extend(keys)
        if len(given) != 1:
            raise Mistake(f"{self.where}: write one of {', '.join(keys)}")
        return given[0]

    def end(self) -> None:
        if self.left:
            raise Mistake(f"{self.where}: there is no key `{next(iter(self.left))}`; "
                          f"there are {', '.join(dict.fromkeys(self.known))}")

    def wrong(self, key: str, wanted: str) -> Mistake:
        return Mistake(f"{self.where}: `{key}` has to be {wanted}")


def settings(part: Part) -> Settings:
    config = source(part.text("config", "file:/etc/tollgate/tollgate.yaml"), f"{part.where}: config")
    files = {name: source(text, f"{part.where}: files: {name}") for name, text in part.texts("files").items()}
    for name in files:
        inside(name, part.where)
        above = next((other for other in files if other in map(str, PurePosixPath(name).parents)), "")
        if above:
            raise Mistake(f"{part.where}: files: `{above}` is a file, and a folder in `{name}`")
    certificates = [certificate(entry) for entry in part.parts("certificates")]
    endpoints = [endpoint(entry) for entry in part.parts("endpoints")]
    part.end()
    for key, entries in (("certificates", certificates), ("endpoints", endpoints)):
        names = [entry.name for entry in entries]
        for name in names:
            if names.count(name) > 1:
                raise Mistake(f"{part.where}: {key}: two have the name `{name}`")
    return Settings(config, files, certificates, endpoints)


def source(text: str, where: str) -> Source:
    scheme, _, rest = text.partition(":")
    if scheme == "s3":
        bucket, _, key = rest.removeprefix("//").partition("/")
        away = REGION.fullmatch(key)
        if rest.startswith("//") and bucket and key:
            return Source("s3", f"{bucket}/{away[1] if away else key}", region=away[2] if away else "")
    elif scheme == "secretsmanager":
        name, _, key = rest.partition("#")
        if name:
            return Source(scheme, name, key)
    elif (scheme == "ssm" and rest) or (scheme == "file" and rest.startswith("/")):
        return Source(scheme, rest)
    raise Mistake(f"{where}: `{text}` is no address; write {SCHEMES}")


def inside(name: str, where: str) -> None:
    """A file is beside the configuration or below it, and is not the configuration."""
    path = PurePosixPath(name)
    wrong = path.is_absolute() or not path.parts or ".." in path.parts or str(path) != name or path.parts[0] == "tollgate.yaml"
    if wrong or any(len(one.encode()) > MOST_BYTES for one in path.parts):
        raise Mistake(f"{where}: files: `{name}` has to be a path beside tollgate.yaml, as `jwt/2026.key`")


def certificate(part: Part) -> Certificate:
    found = Certificate(part.name())
    kind = part.one_of("acm", "private_ca", "file")
    if kind == "acm":
        found.acm = arn(part, "acm", "acm")
    elif kind == "file":
        found.file = part.text("file")
        if not Path(found.file).is_absolute():
            raise part.wrong("file", "a path that begins with /")
    else:
        found.private_ca = private_ca(Part(part.take("private_ca"), f"{part.where}: private_ca"))
    part.end()
    return found


def private_ca(part: Part) -> PrivateCa:
    authority, names = arn(part, "authority", "acm-pca"), part.take("names")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and HOST.fullmatch(name) for name in names):
        raise part.wrong("names", "a list of DNS names")
    found = PrivateCa(authority, names, part.number("days", LEAST_DAYS, MOST_DAYS, DAYS))
    part.end()
    return found


def arn(part: Part, key: str, service: str) -> str:
    value = part.text(key)
    if not re.fullmatch(rf"arn:aws[a-z-]*:{service}:[a-z0-9-]+:\d{{12}}:\S+", value):
        raise part.wrong(key, f"the ARN of something of {service}")
    return value


def endpoint(part: Part) -> Endpoints:
    found = Endpoints(part.name(), part.number("port", 1, 65535))
    if part.one_of("auto_scaling_group", "tags") == "tags":
        found.tags = part.texts("tags")
        if not found.tags:
            raise part.wrong("tags", "a mapping with at least one tag")
    else:
        found.auto_scaling_group = part.text("auto_scaling_group")
    part.end()
    return found


HOST = re.compile(r"(\*\.)?[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*")
