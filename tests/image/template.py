"""Packer's template as Debian's Packer 1.6.6 understands it.

The template is today's: the plugin of Amazon is a program of its own since, and knows
more. What 1.6.6 does not know is taken off here, each thing by its name and counted, so
that the template cannot lose one unseen; everything else is validated and run as it is.
What it knows and would not miss is looked for, too: see `KEPT`.
"""

import re
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
AMI = ROOT / "ami"
# What 1.6.6 refuses, as whole lines or blocks.
UNKNOWN = {
    "required_plugins": r"^packer \{\n(?:.*\n)*?\}\n",
    "data": r'^data "amazon-ami" "debian" \{\n(?:.*\n)*?\}\n',
    "imds_support": r'^  imds_support = "v2.0"\n',
    "deprecate_at": r"^  deprecate_at = timeadd\(timestamp\(\), var.deprecate_after\)\n",
    "metadata_options": r'^  metadata_options \{\n    http_endpoint               = "enabled"\n    http_tokens                 = "required"\n'
                        r"    http_put_response_hop_limit = 1\n  \}\n",
    "ami_org_arns": r"^  ami_org_arns    = local.shared_with\n",
}
# What an image is to be, where Packer goes by a default of its own without the line.
KEPT = {
    "encrypt_boot": "true",
    "kms_key_id": "var.kms_key_id",
    "region_kms_key_ids": "var.region_kms_key_ids",
    "ami_regions": "var.copy_to_regions",
    "iam_instance_profile": "var.instance_profile",
    "associate_public_ip_address": 'var.ssh_interface == ""',
    "delete_on_termination": "true",
}


def old(folder: Path, source_ami: str, more: str = "") -> Path:
    """A copy of ami/ in `folder` for 1.6.6; `more` goes into the source."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(AMI, folder)
    taken = []
    for path in sorted(folder.glob("*.pkr.hcl")):
        text = path.read_text()
        if path.name == "tollgate.pkr.hcl":
            kept(text)
        for name, pattern in UNKNOWN.items():
            text, times = re.subn(pattern, "", text, flags=re.MULTILINE)
            taken += [name] * times
        text = text.replace("data.amazon-ami.debian.id", f'"{source_ami}"')
        text = text.replace('source "amazon-ebs" "tollgate" {\n', f'source "amazon-ebs" "tollgate" {{\n{more}')
        path.write_text(text)
    if sorted(taken) != sorted(UNKNOWN):
        raise AssertionError(f"the template has {taken} of what 1.6.6 does not know; each of {list(UNKNOWN)} is to be there once")
    return folder


def kept(text: str) -> None:
    for name, value in KEPT.items():
        if len(re.findall(rf"^ +{name} += {re.escape(value)}$", text, re.MULTILINE)) != 1:
            raise AssertionError(f"the template does not say `{name} = {value}` once")
