#!/usr/bin/env bash
# Takes out what is the building machine's own: two machines from one image must not share
# an identity, and nobody who builds gets into what runs. 99-assert.sh looks at all of it.
set -euo pipefail

systemctl stop tollgate-config.timer tollgate-certificates.timer tollgate-endpoints.timer 2>/dev/null || true

cloud-init clean --logs --seed
# Empty, and not `uninitialized` or missing: the machine makes its own, and systemd does
# not take the boot for a first one. Then it would go by presets for every unit, and
# Debian's say: enable all.
: >/etc/machine-id
rm -f /var/lib/dbus/machine-id
rm -f /etc/ssh/ssh_host_*
rm -f /root/.ssh/authorized_keys /home/*/.ssh/authorized_keys
rm -f /root/.bash_history /home/*/.bash_history /root/.wget-hsts /root/.lesshst
# Seeds that all machines would begin with.
rm -f /var/lib/systemd/random-seed /var/lib/systemd/credential.secret
rm -f /var/lib/dhcp/*.leases
rm -rf /run/tollgate-box/* /var/log/tollgate-box

apt-get clean -q
rm -rf /var/lib/apt/lists/*
rm -rf /tmp/tollgate-image /var/tmp/*

# Logs last: the above writes some. Files stay, for some services want theirs.
journalctl --quiet --rotate --vacuum-time=1s >/dev/null 2>&1 || true
rm -rf /var/log/journal/*
find /var/log -type f -exec truncate --size=0 {} +
sync
