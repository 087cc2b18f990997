"""Fetches texts from where the settings say that they are."""

import base64
import json
from pathlib import Path

from .aws import Aws, Refused
from .failure import Failure
from .settings import Settings, Source

# What S3 says of a bucket that is in another region than the one that was asked.
ELSEWHERE = {"PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}


class Sources:
    """What one run fetches. Each thing is asked for once: two keys of a secret that rotates
    meanwhile are of one version."""

    def __init__(self, aws: Aws) -> None:
        self.aws = aws
        self.had: dict[tuple[str, ...], bytes] = {}

    def all(self, wanted: Settings) -> dict[str, bytes]:
        """The configuration and its files, by their paths."""
        return {name: self.fetch(source) for name, source in {"tollgate.yaml": wanted.config, **wanted.files}.items()}

    def fetch(self, source: Source) -> bytes:
        """The text; never empty, for an empty configuration or key is one that was lost."""
        thing = (source.scheme, source.name, source.region)
        try:
            if thing not in self.had:
                self.had[thing] = FETCH[source.scheme](self, source)
        except Refused as why:
            raise Failure(f"{source}: {why}{elsewhere(source, why)}") from None
        content = value_of(source, self.had[thing]) if source.key else self.had[thing]
        if not content.strip():
            raise Failure(f"{source}: is empty")
        return content

    def of_ssm(self, source: Source) -> bytes:
        body = {"Name": source.name, "WithDecryption": True}
        answer = self.aws.json("ssm", "AmazonSSM.GetParameter", body, region_of(source.name))
        return whole(source, lambda: answer["Parameter"]["Value"].encode())

    def of_secrets_manager(self, source: Source) -> bytes:
        answer = self.aws.json("secretsmanager", "secretsmanager.GetSecretValue", {"SecretId": source.name}, region_of(source.name))
        if "SecretBinary" in answer:
            text = whole(source, lambda: base64.b64decode(answer["SecretBinary"]))
        else:
            text = whole(source, lambda: answer["SecretString"].encode())
        # By its name and by its ARN it is the same secret.
        return self.had.setdefault(("secret", str(answer.get("ARN") or source.name)), text)

    def of_s3(self, source: Source) -> bytes:
        bucket, _, key = source.name.partition("/")
        return self.aws.object(bucket, key, source.region)

    def of_file(self, source: Source) -> bytes:
        try:
            return Path(source.name).read_bytes()
        except OSError as why:
            raise Failure(f"{source}: cannot be read: {why.strerror}") from None


def value_of(source: Source, secret: bytes) -> bytes:
    """One key of a secret that is a JSON object."""
    try:
        value = json.loads(secret)[source.key]
    except (ValueError, KeyError, TypeError):
        raise Failure(f"{source}: the secret is no JSON object with `{source.key}`") from None
    if not isinstance(value, str):
        raise Failure(f"{source}: `{source.key}` is no text")
    return whole(source, value.encode)


def elsewhere(source: Source, why: Refused) -> str:
    if source.scheme != "s3" or why.code not in ELSEWHERE:
        return ""
    return f"; the bucket is in another region: write it behind the address, as s3://{source.name}?region=eu-west-1"


def region_of(name: str) -> str:
    """The region that an ARN names: a secret's copy in another region has its own."""
    return name.split(":")[3] if name.startswith("arn:") and name.count(":") >= 5 else ""


def whole(source: Source, take) -> bytes:
    try:
        return take()
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Failure(f"{source}: the answer has no value") from None


FETCH = {"ssm": Sources.of_ssm, "secretsmanager": Sources.of_secrets_manager, "s3": Sources.of_s3, "file": Sources.of_file}
