"""Certificates of Private CA on a machine with systemd: what their unit lets them keep,
and when it tries again."""

import json

from boot import SMALL, Fleet, must

BOX = """config: ssm:/tollgate/prod/config
certificates:
  - { name: gw, private_ca: { authority: "%s", names: [gw.internal] } }
  - { name: vault, file: /run/agent.pem }
"""
UNIT = "tollgate-certificates"
# What Vault's agent writes.
AGENT = 'openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=vault -addext subjectAltName=DNS:vault -days 90 -keyout /tmp/key -out /tmp/chain 2>&1 && cat /tmp/key /tmp/chain >/run/agent.pem'


def authority(fleet: Fleet) -> str:
    """One of ACM Private CA that may issue."""
    def pca(operation: str, **fields) -> dict:
        return fleet.network.call("acm-pca", operation, **fields)

    arn = pca("create_certificate_authority", CertificateAuthorityType="ROOT", CertificateAuthorityConfiguration={
        "KeyAlgorithm": "RSA_2048", "SigningAlgorithm": "SHA256WITHRSA", "Subject": {"CommonName": "Acme"}})["CertificateAuthorityArn"]
    own = pca("issue_certificate", CertificateAuthorityArn=arn, Csr=pca("get_certificate_authority_csr", CertificateAuthorityArn=arn)["Csr"],
              SigningAlgorithm="SHA256WITHRSA", TemplateArn="arn:aws:acm-pca:::template/RootCACertificate/V1",
              Validity={"Type": "YEARS", "Value": 10})["CertificateArn"]
    certificate = pca("get_certificate", CertificateAuthorityArn=arn, CertificateArn=own)["Certificate"]
    pca("import_certificate_authority_certificate", CertificateAuthorityArn=arn, Certificate=certificate)
    return arn


def certificates_are_ordered_once(fleet: Fleet) -> str:
    fleet.put(SMALL)
    box = BOX % authority(fleet)
    before = orders(fleet)
    fleet.network.do(break_=["acm-pca:GetCertificate", "denied"])
    with fleet.boot("ordering", box) as machine:
        machine.until("it is told", lambda: "certificate gw, there is none" in machine.journal(UNIT), 90)
        machine.until("it waits for its next try", lambda: machine.unit("SubState", UNIT) == "auto-restart")
        rights = machine.run("stat", "-c", "%U:%G %a", "/run/tollgate-box/pending", "/run/tollgate-box/pending/gw.json").stdout.split("\n")
        must(rights[:2] == ["root:root 700", "root:root 600"], f"what is ordered is {rights}")
        ordered = json.loads(machine.read("/run/tollgate-box/pending/gw.json"))

        fleet.network.do(heal=True)
        machine.run("sh", "-c", AGENT)
        machine.run("systemctl", "start", UNIT)
        must(machine.read("/run/tollgate-box/tls/gw.key") == ordered["key"], "the key is not the one that was ordered for")
        must(orders(fleet) - before == 1, f"{orders(fleet) - before} certificates were ordered")
        left = machine.run("ls", "-A", "/run/tollgate-box/pending").stdout
        must(not left.strip(), f"what was taken is still pending: {left}")

        # A good one of each: the next try is the timer's.
        machine.run("rm", "/run/agent.pem")
        must(machine.run("systemctl", "start", UNIT, check=False).returncode != 0, "a fetch without the agent's file succeeds")
        told = machine.unit("SubState", UNIT), machine.unit("ExecMainStatus", UNIT)
        must(told == ("failed", "10"), f"with a good one of each it is {told}")
        must("No such file" in machine.unit("StatusText", UNIT), f"STATUS does not say why: {machine.unit('StatusText', UNIT)}")
    return "ordered once, and taken after a failure; with one of each the timer tries again"


def orders(fleet: Fleet) -> int:
    return sum(action == "IssueCertificate" for _, action, _ in fleet.network.do(heard=True))


ALL = (certificates_are_ordered_once,)
