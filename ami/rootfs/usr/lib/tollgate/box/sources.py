"""Fetches a text from where the settings say that it is."""

import base64
import json
from pathlib import Path

from .aws import Aws, Refused
from .failure import Failure
from .settings import Source


def fetch(source: Source, aws: Aws) -> bytes:
    """The text; never empty, for an empty configuration or key is one that was lost."""
    try:
        content = FETCH[source.scheme](source, aws)
    except Refused as why:
        raise Failure(f"{source}: {why}") from None
    if not content.strip():
        raise Failure(f"{source}: is empty")
    return content


def of_ssm(source: Source, aws: Aws) -> bytes:
    body = {"Name": source.name, "WithDecryption": True}
    answer = aws.json("ssm", "AmazonSSM.GetParameter", body, region_of(source.name))
    return whole(source, lambda: answer["Parameter"]["Value"].encode())


def of_secrets_manager(source: Source, aws: Aws) -> bytes:
    answer = aws.json("secretsmanager", "secretsmanager.GetSecretValue", {"SecretId": source.name}, region_of(source.name))
    if "SecretBinary" in answer:
        return whole(source, lambda: base64.b64decode(answer["SecretBinary"]))
    text = whole(source, lambda: answer["SecretString"].encode())
    if not source.key:
        return text
    try:
        value = json.loads(text)[source.key]
    except (ValueError, KeyError, TypeError):
        raise Failure(f"{source}: the secret is no JSON object with `{source.key}`") from None
    if not isinstance(value, str):
        raise Failure(f"{source}: `{source.key}` is no text")
    return value.encode()


def of_s3(source: Source, aws: Aws) -> bytes:
    bucket, _, key = source.name.partition("/")
    return aws.object(bucket, key)


def of_file(source: Source, _: Aws) -> bytes:
    try:
        return Path(source.name).read_bytes()
    except OSError as why:
        raise Failure(f"{source}: cannot be read: {why.strerror}") from None


def region_of(name: str) -> str:
    """The region that an ARN names: a secret's copy in another region has its own."""
    return name.split(":")[3] if name.startswith("arn:") and name.count(":") >= 5 else ""


def whole(source: Source, take) -> bytes:
    try:
        return take()
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Failure(f"{source}: the answer has no value") from None


FETCH = {"ssm": of_ssm, "secretsmanager": of_secrets_manager, "s3": of_s3, "file": of_file}
