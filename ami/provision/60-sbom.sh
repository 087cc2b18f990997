#!/usr/bin/env bash
# What is in the image: /usr/share/tollgate/image.json, of CycloneDX, with every package
# of Debian's; and beside it the gateway's own crates, where the build was given them.
set -euo pipefail

install -d /usr/share/tollgate
find /tmp/tollgate-image/sbom -name '*.json' -exec install -m 0644 {} /usr/share/tollgate/ \;
dpkg-query --show --showformat='${Package}\t${Version}\t${Architecture}\n' | python3 /dev/fd/3 3<<'PYTHON'
import datetime
import json
import os
import sys

components = []
for line in sys.stdin:
    name, version, arch = line.rstrip("\n").split("\t")
    purl = f"pkg:deb/debian/{name}@{version.replace(':', '%3A').replace('+', '%2B')}?arch={arch}&distro=debian-12"
    components.append({"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl})
bom = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.5",
    "version": 1,
    "metadata": {
        "timestamp": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "component": {"type": "operating-system", "name": "tollgate-image", "version": os.environ["TOLLGATE_VERSION"]},
        "properties": [{"name": "tollgate:revision", "value": os.environ["TOLLGATE_REVISION"]}],
    },
    "components": components,
}
with open("/usr/share/tollgate/image.json", "w", encoding="utf-8") as out:
    json.dump(bom, out, indent=1)
PYTHON
