#!/usr/bin/env python3
"""The programs of a machine of the fleet, against AWS on this machine and its faults.

Each has its tests beside (`box_*.py`); what all of them have is in `boxed.py`. No root is
needed, nor more than three minutes. `box_killed.py` is a program of its own.
"""

import unittest

from box_aws import Calls  # noqa: F401  (run from here)
from box_certificates import Certificates  # noqa: F401
from box_config import Config  # noqa: F401
from box_endpoints import Endpoints  # noqa: F401
from box_private_ca import PrivateCa  # noqa: F401

if __name__ == "__main__":
    unittest.main()
