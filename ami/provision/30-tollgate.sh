#!/usr/bin/env bash
# Installs the package, which has to be of the version that the image is called by.
set -euo pipefail

apt-get install -y -q --no-install-recommends /tmp/tollgate-image/tollgate.deb

found=$(tollgate version | head -n 1)
case " $found " in
    *" $TOLLGATE_VERSION "*) ;;
    *) echo "the package is \`$found\`, not $TOLLGATE_VERSION" >&2; exit 1 ;;
esac

# The package's own configuration serves one sentence: a machine whose configuration
# cannot be fetched must not serve that, it must not be ready.
rm -f /etc/tollgate/tollgate.yaml
systemd-tmpfiles --create tollgate.conf tollgate-box.conf
