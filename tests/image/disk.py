"""The image as a disk that a machine starts from, as EC2 keeps it: partitions, Debian's
signed boot loader for UEFI, and a file system with the very files that `packer build` left.

Owns what is of a disk and not of the files: the boot loader's list, /etc/fstab. Mounts
nothing. A disk is a file under target/; each boot writes into a layer of its own above it.
"""

import subprocess
from pathlib import Path

from instance import HOME, ROOT, NotHere, tail

NEEDED = ("qemu-system-x86", "qemu-utils", "ovmf", "fdisk", "dosfstools", "mtools", "e2fsprogs", "dnsmasq-base")
IMAGE, FIRMWARE = HOME / "disk.raw", Path("/usr/share/OVMF/OVMF_CODE_4M.fd")
MEBI = 1024 * 1024
# Of Debian's image: the system's partition ends the disk, so that it can grow.
BOOT, SYSTEM = (1, 63), 64
LENGTH, GROWN = 2560, 8192
SYSTEM_PART = "7c0f5b3a-3b1e-4c56-9f0e-6a2f7a1d0c11"
SYSTEM_FS = "5f3b8a52-9c1d-4a8e-8d43-2b6f0e9d7a21"
# The kernel's words of Debian's image for EC2, which has its console on the serial line.
LIST = f"""set timeout=0
menuentry Debian {{
    search --no-floppy --fs-uuid --set=root {SYSTEM_FS}
    linux /vmlinuz root=PARTUUID={SYSTEM_PART} ro console=tty0 console=ttyS0,115200 earlyprintk=ttyS0,115200 consoleblank=0
    initrd /initrd.img
}}
"""
FSTAB = f"PARTUUID={SYSTEM_PART} / ext4 rw,discard,errors=remount-ro,x-systemd.growfs 0 1\n"


def make(files: Path) -> str:
    """Leaves the disk with these files in `IMAGE`; `NotHere` where it cannot be made."""
    IMAGE.unlink(missing_ok=True)
    if subprocess.run([str(ROOT / ".ci/packages"), *NEEDED], check=False).returncode:
        raise NotHere(f"these cannot be installed: apt-get install {' '.join(NEEDED)}")
    # `instance_root` has it for the container that builds.
    (files / "etc/cloud/cloud-init.disabled").unlink(missing_ok=True)
    (files / "etc/fstab").write_text(FSTAB)
    made = HOME / "disk.new"
    made.unlink(missing_ok=True)
    do("truncate", "--size", f"{LENGTH}M", str(made))
    do("sfdisk", "--quiet", str(made), stdin=f"label: gpt\nstart={BOOT[0]}MiB, size={BOOT[1]}MiB, type=U\n"
       f"start={SYSTEM}MiB, type=L, uuid={SYSTEM_PART}\n")
    boot_partition(files, made)
    do("mkfs.ext4", "-q", "-F", "-L", "root", "-U", SYSTEM_FS, "-E", f"offset={SYSTEM * MEBI}", "-d", str(files), str(made),
       # Up to the second copy of the table of partitions.
       f"{(LENGTH - SYSTEM - 1) * 1024}k")
    # Containers boot from these files next, and have no such disk.
    (files / "etc/fstab").unlink()
    made.rename(IMAGE)
    return f"{int(IMAGE.stat().st_blocks) * 512 // MEBI} MiB, UEFI, ext4"


def boot_partition(files: Path, made: Path) -> None:
    """The signed loaders where firmware looks that knows nothing, and GRUB's list."""
    start = f"{made}@@{BOOT[0]}M"
    (HOME / "grub.cfg").write_text(LIST)
    do("mkfs.fat", "-F", "32", "-s", "1", "--offset", str(BOOT[0] * MEBI // 512), str(made), str(BOOT[1] * 1024))
    do("mmd", "-i", start, "::/EFI", "::/EFI/BOOT", "::/EFI/debian")
    for loader, name in (("usr/lib/shim/shimx64.efi.signed", "BOOT/BOOTX64.EFI"), ("usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed", "BOOT/grubx64.efi")):
        do("mcopy", "-i", start, str(files / loader), f"::/EFI/{name}")
    # Where Debian's signed GRUB looks.
    do("mcopy", "-i", start, str(HOME / "grub.cfg"), "::/EFI/debian/grub.cfg")


def layer(path: Path) -> Path:
    """A disk as large as the stack's volumes at least, that begins as the image."""
    path.unlink(missing_ok=True)
    do("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(IMAGE), str(path), f"{GROWN}M")
    return path


def do(*command: str, stdin: str = "") -> None:
    made = subprocess.run(command, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if made.returncode:
        raise NotHere(f"`{' '.join(command)}` exits {made.returncode}: {tail(made.stdout)}")
