# SPDX-License-Identifier: Apache-2.0
"""What the image builder has to know of guests.conf: the guests' names and the files to put in the image.

This is no second parser of the format: scripts/check-config holds the file against the hypervisor's own.
"""
import dataclasses
import pathlib
import re
import subprocess

from . import paths

FILE_KEYS = ("kernel", "initrd", "module", "firmware", "vgabios", "option-rom", "floppy", "disk", "cdrom")


class ConfigError(Exception):
    pass


@dataclasses.dataclass
class Guests:
    source: pathlib.Path
    text: bytes
    names: list
    modules: dict  # the name written in the file -> the file on this machine, or None when there is none

    def check(self):
        """Finds before booting what the hypervisor would find after it: with its own parser, and for the files."""
        checked = subprocess.run([paths.ROOT / "scripts/check-config", self.source], capture_output=True, text=True,
                                 check=False)
        if checked.returncode:
            raise ConfigError(checked.stderr.strip())


def load(config):
    """Reads a guests.conf. A file that it names is found relative to it, else among what the build made for guests."""
    config = pathlib.Path(config)
    try:
        text = config.read_bytes()
    except OSError as error:
        raise ConfigError(f"{config}: {error.strerror}") from error
    names, modules = [], {}
    for line in text.decode("utf-8", "replace").splitlines():
        line = re.sub(r"(^|\s)#.*", "", line).strip()
        if section := re.fullmatch(r"\[\s*(\S+)\s*\]", line):
            names.append(section[1])
        elif entry := re.fullmatch(r"([\w-]+)\s*=\s*(\S.*?)\s*", line):
            key, value = entry.groups()
            value = value.split()[0] if key == "module" else value  # its string stands behind the file
            if key in FILE_KEYS and value not in modules:
                places = (config.parent / value, paths.GUESTS / value)
                modules[value] = next((place for place in places if place.is_file()), None)
    return Guests(config, text, names, modules)
