# SPDX-License-Identifier: Apache-2.0
"""Disks and discs that boot GRUB as an installer leaves it: a boot sector, GRUB's core in the gap behind it, and a partition
with the menu; or what grub-mkrescue makes."""
import contextlib
import pathlib
import shutil
import struct
import tempfile

from .image import ImageError, _run

SECTOR = 512
MIB = 1 << 20
GRUB = pathlib.Path("/usr/lib/grub/i386-pc")
MODULES = ("biosdisk", "part_msdos", "ext2", "normal", "configfile", "linux", "linux16", "multiboot", "serial", "terminal",
           "echo", "ls", "cat", "test", "boot")
PREFIX = "(hd0,msdos1)/boot/grub"
PARTITION_START = MIB // SECTOR  # where today's tools let the first one begin
PARTITION_TABLE = 446  # in the boot sector: 16 bytes each
LINUX_TYPE = 0x83
BEYOND_CHS = b"\xfe\xff\xff"  # the sector's LBA counts, its cylinder does not
SPARE = 4 * MIB  # of a file system: its own tables, and room to write


@contextlib.contextmanager
def _tree(menu, files):
    """A directory with GRUB's menu and the files (path in the image -> path)."""
    with tempfile.TemporaryDirectory(prefix="bulkhead-disk-") as temporary:
        work = pathlib.Path(temporary)
        for path, source in {"boot/grub/grub.cfg": menu, **files}.items():
            target = work / "root" / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        yield work


def grub_disk(output, menu, files):
    """Writes a hard disk's image: a partition with ext2, which GRUB reads and Linux can mount."""
    with _tree(menu, files) as work:
        _run("grub-mkimage", "-O", "i386-pc", "-p", PREFIX, "-o", work / "core.img", *MODULES)
        content = sum(path.stat().st_size for path in (work / "root").rglob("*") if path.is_file())
        size = (content + SPARE + MIB - 1) // MIB * MIB
        _run("/sbin/mke2fs", "-q", "-t", "ext2", "-m", "0", "-d", work / "root", work / "partition", f"{size // 1024}k")
        core, partition = (work / "core.img").read_bytes(), (work / "partition").read_bytes()
    if SECTOR + len(core) > PARTITION_START * SECTOR:
        raise ImageError(f"GRUB's core has {len(core)} bytes, too many for the gap before the first partition")
    image = bytearray(PARTITION_START * SECTOR) + partition
    # GRUB's boot sector and its core look for the rest at sectors 1 and 2, as they come.
    boot = (GRUB / "boot.img").read_bytes()
    image[:PARTITION_TABLE] = boot[:PARTITION_TABLE]  # behind that it has code for floppies
    image[SECTOR - 2:SECTOR] = boot[SECTOR - 2:SECTOR]
    image[SECTOR:SECTOR + len(core)] = core
    struct.pack_into("<B3sB3sII", image, PARTITION_TABLE, 0x80, BEYOND_CHS, LINUX_TYPE, BEYOND_CHS, PARTITION_START,
                     len(partition) // SECTOR)
    pathlib.Path(output).write_bytes(image)


def grub_disc(output, menu, files):
    """Writes a disc's image: El Torito without emulation, for a PC's BIOS."""
    with _tree(menu, files) as work:
        _run("grub-mkrescue", "-d", GRUB, "--locales=", "--fonts=", "--themes=", "-o", output, work / "root")
