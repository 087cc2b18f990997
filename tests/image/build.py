"""`packer build`, whole: from an instance of Debian's image to an image of the fleet.

EC2 is moto's, and the instance a container with Debian 12 under its own systemd, which
Packer reaches by SSH; so the provisioners really run. Their lists of packages are empty
here: what is installed is in the base, and there is no network to upgrade from.
"""

import json
import shutil
import subprocess
from pathlib import Path

from instance import HOME, ROOT, Failed, Instance, Network, base, tail, unpacked
from template import old

FOLDER = HOME / "root"
DEBIAN = "ami-0debian12"
AMIS = [{"ami_id": DEBIAN, "name": "debian-12-amd64-20261101-2000", "description": "Debian 12", "owner_id": "136693071363", "public": True,
         "virtualization_type": "hvm", "architecture": "x86_64", "state": "available", "platform": None, "image_type": "machine",
         "hypervisor": "xen", "root_device_name": "/dev/xvda", "root_device_type": "ebs", "sriov": "simple", "creation_date": "2026-11-01T20:00:00.000Z"}]

# Debian's image for EC2 calls its user so.
USER = "system_info: { default_user: { name: admin, lock_passwd: true, sudo: [\"ALL=(ALL) NOPASSWD:ALL\"], shell: /bin/bash } }\n"


def build(version: str, deb: Path) -> str:
    """Leaves the image's files in `FOLDER`. `Failed` with what Packer says when it does
    not come to an end."""
    root = instance_root()
    (HOME / "amis.json").write_text(json.dumps(AMIS))
    (HOME / "target").mkdir(exist_ok=True)
    with Network(HOME / "amis.json") as network, Instance("build", root, network, keeps=True) as machine:
        machine.until("sshd listens", lambda: machine.run("ss", "-ltnH", "sport = :22", check=False).stdout.strip())
        done = packer(network, version, deb)
        if done.returncode:
            raise Failed(f"packer build exits {done.returncode}: {tail(done.stdout, 40)}")
        made = network.call("ec2", "describe_images", Owners=["self"])["Images"]
        copied = network.do(bodies="CopyImage")
        machine.power_off()
    check_image(made, version)
    # That is how Packer encrypts it, and how it does not.
    if len(copied) != 1 or "Encrypted=true" not in copied[0]:
        raise Failed(f"the image is not encrypted: {copied}")
    if (root / "usr/share/tollgate" / sbom().name).read_bytes() != sbom().read_bytes():
        raise Failed("the bill of materials that the build was given is not in the image")
    return "the clean-up was asserted in the image, its tags and its encryption in EC2"


def instance_root() -> Path:
    """Debian's image as an instance starts from it: with the builder's key."""
    root = unpacked(base(), FOLDER)
    key = HOME / "key"
    if not key.exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    chroot(root, "useradd", "--create-home", "--shell", "/bin/bash", "admin")
    # As cloud-init does of the builder's key and of Debian's default user.
    keys = root / "home/admin/.ssh"
    keys.mkdir(mode=0o700)
    shutil.copy(key.with_suffix(".pub"), keys / "authorized_keys")
    chroot(root, "chown", "-R", "admin:admin", "/home/admin/.ssh")
    (root / "etc/sudoers.d/90-cloud-init-users").write_text("admin ALL=(ALL) NOPASSWD:ALL\n")
    (root / "etc/cloud/cloud.cfg.d/01_debian_cloud.cfg").write_text(USER)
    # Debian's images for clouds have no other; without, cloud-init wants one that is not there.
    (root / "etc/default/locale").write_text("LANG=C.UTF-8\n")
    for path in (root / "etc/apt").rglob("*.list"):
        path.unlink()
    for path in (root / "etc/apt").rglob("*.sources"):
        path.unlink()
    # There is no EC2 for it before the image is booted; and no network to wait for.
    (root / "etc/cloud/cloud-init.disabled").touch()
    return root


def chroot(root: Path, *command: str) -> None:
    subprocess.run(["chroot", str(root), *command], check=True, capture_output=True)


def packer(network: Network, version: str, deb: Path) -> subprocess.CompletedProcess[str]:
    more = f"""
  custom_endpoint_ec2         = "http://127.0.0.1:5000"
  access_key                  = "admin"
  secret_key                  = "admin"
  skip_region_validation      = true
  skip_metadata_api_check     = true
  ssh_host                    = "127.0.0.1"
  ssh_private_key_file        = "{HOME}/key"
  ssh_keypair_name            = "builder"
"""
    network.call("ec2", "create_key_pair", KeyName="builder")
    template = old(HOME / "ami", DEBIAN, more)
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(HOME), "CHECKPOINT_DISABLE": "1", "PACKER_NO_COLOR": "1"}
    command = ["packer", "build", "-color=false", "-var", "arch=x86_64", "-var", f"version={version}", "-var", "revision=0123abc",
               "-var", f"deb={deb}", "-var", f'sbom=["{sbom()}"]', str(template)]
    return network.run(*command, cwd=HOME, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=900)


def sbom() -> Path:
    """That of `make sbom`, or one that is none: here it counts that it gets there."""
    made, stands_in = ROOT / "target/sbom/tollgate.cdx.json", HOME / "tollgate.cdx.json"
    if made.exists():
        return made
    stands_in.write_text(json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1}, indent=2))
    return stands_in


def check_image(made: list[dict], version: str) -> None:
    """What EC2 knows of the image."""
    if len(made) != 1:
        raise Failed(f"{len(made)} images were made")
    tags = {tag["Key"]: tag["Value"] for tag in made[0].get("Tags", [])}
    wanted = {"tollgate:version": version, "tollgate:revision": "0123abc", "tollgate:arch": "x86_64", "tollgate:base": AMIS[0]["name"]}
    if not wanted.items() <= tags.items() or not tags.get("Name", "").startswith(f"tollgate-{version}-x86_64-20"):
        raise Failed(f"the image has the tags {tags}")


def validate() -> str:
    """Packer's own look at the template, and its form."""
    shape = subprocess.run(["packer", "fmt", "-check", "-diff", str(ROOT / "ami")], capture_output=True, text=True, check=False)
    if shape.returncode:
        raise Failed(f"packer fmt would change it: {shape.stdout}")
    template = old(HOME / "ami", DEBIAN, "  skip_region_validation = true\n")
    for arch, holds in (("arm64", True), ("x86_64", True), ("mips", False)):
        validated(template, holds, f"arch={arch}")
    for given, holds in SHARED:
        validated(template, holds, "arch=arm64", *given)
    return "arm64 and x86_64, and nothing else; shared by keys of one's own alone"


def validated(template: Path, holds: bool, *given: str) -> None:
    words = [word for one in (*given, "version=1", "deb=/etc/hostname") for word in ("-var", one)]
    done = subprocess.run(["packer", "validate", *words, str(template)], capture_output=True, text=True, check=False)
    if (done.returncode == 0) is not holds:
        raise Failed(f"packer validate of {given} exits {done.returncode}: {tail(done.stdout)}")


SHARE, KEY, COPY = 'share_with_organizations=["arn:aws:organizations::111122223333:organization/o-abc"]', "kms_key_id=alias/image", 'copy_to_regions=["us-west-2"]'
COPY_KEY = 'region_kms_key_ids={us-west-2="alias/image"}'
SHARED = [((COPY,), True), ((COPY, COPY_KEY), True), ((SHARE,), False), ((SHARE, KEY), True), ((SHARE, KEY, COPY), False),
          ((SHARE, COPY, COPY_KEY), False), ((SHARE, KEY, COPY, COPY_KEY), True)]
