"""Steps of the image's build whose tools are not here, with stand-ins that write down what
they were told."""

import os
import re
import shutil
import subprocess
import tempfile
import unittest
import unittest.mock
from pathlib import Path

from tests.image import template
from tests.stack.running import ROOT

PROVISION = ROOT / "ami" / "provision"
TOOL = """#!/bin/sh
echo "${0##*/} $*" >>"$BOX/calls"
"""
# What is installed is a file.
DPKG_QUERY = """#!/bin/sh
for name; do :; done
[ -e "$BOX/installed/$name" ] && echo 'install ok installed'
"""


class Agents(unittest.TestCase):
    def calls(self, *agents: str) -> list[str]:
        """What 40-agents.sh does with the packages of these."""
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        for name in ("bin", "installed", "debs"):
            (folder / name).mkdir()
        for name, text in (("apt-get", TOOL), ("systemctl", TOOL), ("dpkg-query", DPKG_QUERY)):
            (folder / "bin" / name).write_text(text)
            (folder / "bin" / name).chmod(0o755)
        for agent in agents:
            (folder / "installed" / agent).touch()
            (folder / "debs" / f"{agent}.deb").touch()
        text = (PROVISION / "40-agents.sh").read_text()
        self.assertIn("/tmp/tollgate-image/debs", text)
        done = subprocess.run(["bash", "-c", text.replace("/tmp/tollgate-image", str(folder))], capture_output=True, text=True, check=False,
                              env={**os.environ, "BOX": str(folder), "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"})
        self.assertEqual(done.returncode, 0, done.stderr)
        told = folder / "calls"
        return [line for line in told.read_text().splitlines() if line.startswith("systemctl")] if told.exists() else []

    def test_the_cloudwatch_agent_starts_at_boot(self):
        self.assertEqual(self.calls("amazon-cloudwatch-agent"), ["systemctl enable --quiet amazon-cloudwatch-agent.service"])

    def test_with_sessions_there_is_no_ssh(self):
        self.assertEqual(self.calls("amazon-ssm-agent"),
                         ["systemctl enable --quiet amazon-ssm-agent.service", "systemctl disable --quiet ssh.service"])

    def test_without_agents_nothing_is_switched(self):
        self.assertEqual(self.calls(), [])

    def test_the_build_fails_for_an_agent_that_does_not_start(self):
        # All of it looks at this machine: only what it says of agents counts here.
        for enabled in (True, False):
            folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
            (folder / "bin").mkdir()
            for name, text in (("dpkg-query", "#!/bin/sh\nexit 0\n"), ("systemctl", f"#!/bin/sh\nexit {0 if enabled else 1}\n")):
                (folder / "bin" / name).write_text(text)
                (folder / "bin" / name).chmod(0o755)
            text = (PROVISION / "99-assert.sh").read_text()
            head, tail = text[:text.index("# Nothing of the building")], text[text.index("must \"logrotate.timer"):text.index("for timer in")]
            done = subprocess.run(["bash", "-c", f"{head}\n{tail}\nexit $wrong"], capture_output=True, text=True, check=False,
                                  env={**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"})
            for unit in ("amazon-cloudwatch-agent", "amazon-ssm-agent", "logrotate.timer"):
                self.assertEqual(unit in done.stderr, not enabled, done.stderr)
            self.assertEqual(done.returncode, 0 if enabled else 1)


class Bills(unittest.TestCase):
    def test_the_build_fails_without_one_that_it_was_given(self):
        text = (PROVISION / "99-assert.sh").read_text()
        head, loop = text[:text.index("# Nothing of the building")], text[text.index("for bom in"):text.index('must "chrony does not read')]
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        (folder / "good.json").write_text('{\n  "bomFormat": "CycloneDX"\n}')
        (folder / "other.json").write_text("{}")
        for given, wrong in (("", []), ("good.json", []), ("good.json other.json none.json", ["other.json", "none.json"])):
            script = f"{head}\n{loop.replace('/usr/share/tollgate', str(folder))}\nexit $wrong"
            done = subprocess.run(["bash", "-c", script], env={**os.environ, "TOLLGATE_SBOM": given}, capture_output=True, text=True, check=False)
            self.assertEqual([line.split()[1] for line in done.stderr.splitlines()], wrong)
            self.assertEqual(done.returncode, 1 if wrong else 0)


class Template(unittest.TestCase):
    """What the image's template says, and Packer here does not know or would not miss."""

    def test_it_says_all_of_it(self):
        template.old(Path(self.enterContext(tempfile.TemporaryDirectory())) / "ami", "ami-0")

    def test_without_a_line_that_fails(self):
        text = (template.AMI / "tollgate.pkr.hcl").read_text()
        lines = ["encrypt_boot", "region_kms_key_ids", "kms_key_id", "imds_support", "deprecate_at", "http_tokens", "http_put_response_hop_limit", "ami_org_arns"]
        for name in lines:
            with self.subTest(name), tempfile.TemporaryDirectory() as folder:
                copy = Path(folder) / "of"
                shutil.copytree(template.AMI, copy)
                left, times = re.subn(rf"^ +{name} +=.*\n", "", text, count=1, flags=re.MULTILINE)
                self.assertEqual(times, 1)
                (copy / "tollgate.pkr.hcl").write_text(left)
                with unittest.mock.patch.object(template, "AMI", copy), self.assertRaises(AssertionError):
                    template.old(Path(folder) / "ami", "ami-0")


if __name__ == "__main__":
    unittest.main()
