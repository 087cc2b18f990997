#!/usr/bin/env python3
"""The programs of a machine of the fleet, against AWS on this machine and its faults.

Each has its tests beside (`box_*.py`); what all of them have is in `boxed.py`. The classes
run in processes of their own, as many at a time as there are cores: they wait most of the
time. `box.py Certificates.test_…` runs one here. No root is needed, nor more than three
minutes. `box_killed.py` is a program of its own.
"""

import os
import subprocess
import sys
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

from box_aws import Calls
from box_certificates import Certificates
from box_config import Config
from box_endpoints import Endpoints
from box_private_ca import PrivateCa

# The longest first.
CLASSES = (Config, Endpoints, Certificates, PrivateCa, Calls)


def main() -> int:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        codes = list(pool.map(told, CLASSES))
    return 1 if any(codes) else 0


def told(tests: type[unittest.TestCase]) -> int:
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-B", __file__, tests.__name__], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    took = f"{time.monotonic() - begun:.0f} s"
    if done.returncode:
        print(f"FAILED  {tests.__name__}, {took}\n{done.stdout}", flush=True)
    else:
        count = unittest.defaultTestLoader.loadTestsFromTestCase(tests).countTestCases()
        print(f"ok      {tests.__name__}: {count} tests, {took}", flush=True)
    return done.returncode


if __name__ == "__main__":
    unittest.main() if sys.argv[1:] else sys.exit(main())
