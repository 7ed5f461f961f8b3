# SPDX-License-Identifier: Apache-2.0
"""Floppy images that boot GRUB, with files of their own: GRUB, its commands and the files are one program behind the boot sector."""
import io
import pathlib
import tarfile
import tempfile

from .image import _run

SIZE = 1474560
GRUB = pathlib.Path("/usr/lib/grub/i386-pc")
MODULES = ("biosdisk", "memdisk", "tar", "linux16", "boot")


def grub_floppy(commands, files):
    """The image. `commands` are GRUB's; it finds the files (name -> path) in (memdisk)."""
    with tempfile.TemporaryDirectory(prefix="bulkhead-floppy-") as temporary:
        work = pathlib.Path(temporary)
        with tarfile.open(work / "files.tar", "w", format=tarfile.USTAR_FORMAT) as archive:
            for name, path in files.items():
                content = pathlib.Path(path).read_bytes()
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
        (work / "commands").write_text("".join(line + "\n" for line in commands))
        _run("grub-mkimage", "-O", "i386-pc", "-p", "(memdisk)/", "-m", work / "files.tar", "-c", work / "commands",
             "-o", work / "core.img", *MODULES)
        image = (GRUB / "boot.img").read_bytes() + (work / "core.img").read_bytes()
    assert len(image) <= SIZE, f"GRUB and its files take {len(image)} bytes, and a floppy has {SIZE}"
    return image.ljust(SIZE, b"\0")
