# SPDX-License-Identifier: Apache-2.0
"""Bootable images: GRUB, a kernel and its modules.

Two kinds. A "quick" one is for emulators: a BIOS-only disc whose GRUB is one small file with its commands inside, so
that little time goes into booting it. A "hybrid" one is for real machines: disc or USB stick, BIOS or UEFI.
"""
import contextlib
import pathlib
import shutil
import subprocess
import tempfile

QUICK_MODULES = ("biosdisk", "iso9660", "multiboot", "multiboot2", "linux", "acpi", "wrmsr", "boot")


class ImageError(Exception):
    pass


class Image:
    """The files of an image and the GRUB commands that boot it."""

    def __init__(self):
        self.files = {}  # path in the image -> a file, or bytes
        self.commands = []

    def put(self, content):
        """Adds a file and returns its path in the image. The same file is stored once."""
        for path, present in self.files.items():
            if present is content or (isinstance(content, pathlib.Path) and present == content):
                return path
        path = f"/boot/{len(self.files):02}"
        self.files[path] = content
        return path

    def command(self, *words):
        for word in words:
            if not word or any(character in " \t\n'\"\\${}" for character in word):
                raise ImageError(f"GRUB cannot be given the word '{word}'")
        self.commands.append(" ".join(words))

    def _tree(self, root):
        for path, content in self.files.items():
            target = root / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                target.write_bytes(content)
            else:
                target.symlink_to(content.resolve())

    def write_quick(self, output):
        with tempfile.TemporaryDirectory(prefix="bulkhead-image-") as temporary:
            root = pathlib.Path(temporary) / "root"
            self._tree(root)
            (root / "boot").mkdir(exist_ok=True)
            script = pathlib.Path(temporary) / "grub.cfg"
            script.write_text("".join(line + "\n" for line in (*self.commands, "boot")))
            _run("grub-mkimage", "-O", "i386-pc-eltorito", "-p", "/boot/grub", "-c", script,
                 "-o", root / "boot/grub.img", *QUICK_MODULES)
            _run("xorriso", "-as", "mkisofs", "-quiet", "-f", "-b", "boot/grub.img", "-no-emul-boot",
                 "-boot-load-size", "4", "-boot-info-table", "-o", output, root)

    def write_hybrid(self, output):
        with tempfile.TemporaryDirectory(prefix="bulkhead-image-") as temporary:
            root = pathlib.Path(temporary) / "root"
            self._tree(root)
            # grub-mkrescue copies the tree, and leaves links as links.
            for path in [path for path in root.rglob("*") if path.is_symlink()]:
                source = path.resolve()
                path.unlink()
                shutil.copyfile(source, path)
            script = root / "boot/grub/grub.cfg"
            script.parent.mkdir(parents=True)
            script.write_text(
                "set timeout=0\n"
                "serial --unit=0 --speed=115200\n"
                "terminal_input console serial\n"
                "terminal_output console serial\n"
                "menuentry Bulkhead {\n" + "".join(f"    {line}\n" for line in self.commands) + "}\n")
            _run("grub-mkrescue", "--locales=", "--fonts=", "--themes=", "-o", output, root)


def hypervisor_image(hypervisor, guests, options=(), before=()):
    """`before` are GRUB commands to run first: a test makes a machine worse with them."""
    image = Image()
    for words in before:
        image.command(*words)
    image.command("multiboot2", image.put(pathlib.Path(hypervisor)), *options)
    image.command("module2", image.put(guests.text), "guests.conf")
    for name, path in guests.modules.items():
        if path is not None:
            image.command("module2", image.put(path), name)
    return image


@contextlib.contextmanager
def quick_disc(image):
    """The path of a quick image, which is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="bulkhead-disc-") as directory:
        path = pathlib.Path(directory) / "boot.iso"
        image.write_quick(path)
        yield path


def _run(*words):
    words = [str(word) for word in words]
    try:
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    except FileNotFoundError as error:
        raise ImageError(f"{words[0]} is not installed: run scripts/setup") from error
    if done.returncode:
        raise ImageError(f"{words[0]} failed:\n{done.stdout}")
