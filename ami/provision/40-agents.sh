#!/usr/bin/env bash
# Installs AWS's agents where the build was given their packages: Debian has none.
set -euo pipefail

shopt -s nullglob
debs=(/tmp/tollgate-image/debs/*.deb)
if [ ${#debs[@]} -eq 0 ]; then
    echo "no agents: the image sends no logs or metrics by itself, and sessions need SSH (-var agent_debs=…)"
    exit 0
fi
apt-get install -y -q --no-install-recommends "${debs[@]}"

installed() {
    dpkg-query --show --showformat='${Status}\n' "$1" 2>/dev/null | grep -qx 'install ok installed'
}

# AWS's package enables nothing: without this no machine sends a line or a metric.
if installed amazon-cloudwatch-agent; then
    systemctl enable --quiet amazon-cloudwatch-agent.service
fi

# Who gets in by Session Manager needs no port 22, and no keys.
if installed amazon-ssm-agent; then
    systemctl enable --quiet amazon-ssm-agent.service
    systemctl disable --quiet ssh.service
fi
