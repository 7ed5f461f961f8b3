# SPDX-License-Identifier: Apache-2.0
"""Floppy images that boot GRUB: a FAT file system, whose first file is GRUB's core, and GRUB's boot sector."""
import pathlib
import struct
import tempfile

from .image import _run

SECTOR = 512
GRUB = pathlib.Path("/usr/lib/grub/i386-pc")
MODULES = ("biosdisk", "fat", "linux16", "boot")
BPB = slice(3, 0x3e)  # the file system's part of the boot sector, which GRUB's leaves room for
FIRST_DATA_SECTOR = 33  # of a 1440 KiB floppy: behind the boot sector, two tables of 9, and a root directory of 14
CORE_SECTOR = 0x5c  # in GRUB's boot sector: where its core begins, 64 bits
REST_SECTOR = SECTOR - 12  # in the core's first sector: where it goes on, 64 bits


def grub_floppy(output, commands, files):
    """Writes the image. `commands` is a file of what GRUB executes; it finds the files (name -> path) in (fd0)/."""
    with tempfile.TemporaryDirectory(prefix="bulkhead-floppy-") as temporary:
        work = pathlib.Path(temporary)
        _run("grub-mkimage", "-O", "i386-pc", "-p", "(fd0)/", "-c", commands, "-o", work / "core.img", *MODULES)
        _run("mformat", "-C", "-f", "1440", "-i", work / "floppy.img", "::")
        for name, path in {"core.img": work / "core.img", **files}.items():
            _run("mcopy", "-i", work / "floppy.img", path, f"::{name}")
        image = bytearray((work / "floppy.img").read_bytes())
        boot = bytearray((GRUB / "boot.img").read_bytes())
    boot[BPB] = image[BPB]
    struct.pack_into("<Q", boot, CORE_SECTOR, FIRST_DATA_SECTOR)
    image[:SECTOR] = boot
    struct.pack_into("<Q", image, FIRST_DATA_SECTOR * SECTOR + REST_SECTOR, FIRST_DATA_SECTOR + 1)
    pathlib.Path(output).write_bytes(image)
