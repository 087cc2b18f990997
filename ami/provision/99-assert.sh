#!/usr/bin/env bash
# Fails the build when the image is not what it has to be; tells everything that is wrong.
set -uo pipefail

wrong=0
must() {
    local what=$1
    shift
    if ! "$@" >/dev/null 2>&1; then
        echo "IMAGE: $what" >&2
        wrong=1
    fi
}
none() {
    local what=$1 found
    shift
    found=$("$@" 2>/dev/null | head -n 5)
    if [ -n "$found" ]; then
        printf 'IMAGE: %s:\n%s\n' "$what" "$found" >&2
        wrong=1
    fi
}

# Nothing of the building machine.
must "machine-id is missing: systemd would switch on every unit that is installed" test -e /etc/machine-id
must "machine-id is not empty" test ! -s /etc/machine-id
none "SSH host keys" find /etc/ssh -name 'ssh_host_*'
none "keys that let somebody in" find /root/.ssh /home -name authorized_keys -size +0
none "what cloud-init knows of this machine" find /var/lib/cloud -mindepth 1 -name 'i-*'
none "what was uploaded" find /tmp -maxdepth 1 -name 'tollgate-image'
none "a shell's history" find /root /home -maxdepth 2 -name '.*_history'
none "logs with something in them" find /var/log -type f -size +0
none "lists of packages" find /var/lib/apt/lists -name '*Packages*'
none "seeds that all machines would share" find /var/lib/systemd -maxdepth 1 '(' -name random-seed -o -name credential.secret ')'
none "private keys" grep -rlE --include='*' -e '-----BEGIN ([A-Z]+ )?PRIVATE KEY-----' /etc /root /home /opt
none "credentials of AWS" find /root /home -path '*/.aws/*' -type f
# shellcheck disable=SC2016  # awk's own
none "users with a password" awk -F: '$2 !~ /^[!*]/ { print $1 }' /etc/shadow

# All of the fleet.
must "the gateway is not $TOLLGATE_VERSION" grep -qF "$TOLLGATE_VERSION" <(tollgate version)
must "the package's own configuration is there: it would serve without one that was fetched" test ! -e /etc/tollgate/tollgate.yaml
must "user tollgate is missing" getent passwd tollgate
while read -r _ unit; do
    must "$unit does not start at boot" systemctl is-enabled --quiet "$unit"
done < <(grep '^enable ' /usr/lib/systemd/system-preset/50-tollgate-box.preset)
must "logrotate.timer does not run: logs would fill the disk" systemctl is-enabled --quiet logrotate.timer
for agent in amazon-cloudwatch-agent amazon-ssm-agent; do
    dpkg-query --show "$agent" >/dev/null 2>&1 || continue
    must "$agent is installed and does not start at boot" systemctl is-enabled --quiet "$agent.service"
done
for timer in apt-daily.timer apt-daily-upgrade.timer; do
    must "$timer runs: packages would change by themselves" test "$(systemctl is-enabled "$timer" 2>/dev/null)" != enabled
done
must "something of systemd failed" test -z "$(systemctl --failed --quiet --no-legend)"
must "the list of packages is no JSON" python3 -m json.tool /usr/share/tollgate/image.json
for bom in $TOLLGATE_SBOM; do
    must "$bom was given and is not there, or is no bill of materials" grep -q '"bomFormat": *"CycloneDX"' "/usr/share/tollgate/$bom"
done
must "chrony does not read the address of AWS's clock" grep -qx 'sourcedir /etc/chrony/sources.d' /etc/chrony/chrony.conf
must "the address of AWS's clock is missing" grep -q '^server 169\.254\.169\.123 ' /etc/chrony/sources.d/aws.sources
must "chrony does not start at boot: nothing would set the clock" systemctl is-enabled --quiet chrony.service
must "curl signs no requests" grep -q aws-sigv4 <(curl --help all)
must "python3 has no YAML" python3 -c 'import yaml'
must "the programs of the overlay cannot be run" python3 -B -c 'import sys; sys.path.insert(0, "/usr/lib/tollgate"); import box.config, box.certificates, box.endpoints'

exit "$wrong"
