#!/usr/bin/env bash
# Security updates as of today, and what the programs of the overlay need.
set -euo pipefail

apt-get update -q -o APT::Update::Error-Mode=any
apt-get dist-upgrade -y -q
# Debian's cloud image has all of them but for accident; a smaller base may not.
apt-get install -y -q --no-install-recommends ca-certificates chrony cloud-init curl logrotate openssl python3 python3-yaml

# All machines of a version have the same packages: a machine is replaced by one from a
# newer image, it does not upgrade itself at night under traffic.
apt-get purge -y -q unattended-upgrades
systemctl disable --quiet apt-daily.timer apt-daily-upgrade.timer
