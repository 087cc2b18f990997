"""Where things are on the machine.

The variables are for tests, which have no right to write here, nor this user.
"""

import os
from pathlib import Path

# Whom the gateway runs as.
USER = os.environ.get("TOLLGATE_BOX_USER", "tollgate")
# What user data wrote: see `settings.py`.
SETTINGS = Path(os.environ.get("TOLLGATE_BOX_SETTINGS", "/etc/tollgate/box.yaml"))
# A tmpfs: secrets are never on the disk, and go with a reboot.
RUN = Path(os.environ.get("TOLLGATE_BOX_RUN", "/run/tollgate-box"))
# The configuration that was accepted last; a link into `generations`.
CURRENT = RUN / "current"
GENERATIONS = RUN / "generations"
# The certificates that were accepted last; a link into `certificates`.
TLS = RUN / "tls"
CERTIFICATES = RUN / "certificates"
# Certificates that are ordered and not here yet, with their keys; root's alone.
PENDING = RUN / "pending"
ENDPOINTS = RUN / "endpoints.d"
STATE = RUN / "state"
# JSON lines for the CloudWatch agent, which does not read the journal. systemd makes
# the folder and says where.
LOGS = os.environ.get("LOGS_DIRECTORY")
