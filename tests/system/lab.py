# SPDX-License-Identifier: Apache-2.0
"""Boots for system tests. Everything is one session of scripts/harness, and its logs stay in build/results/logs."""
import contextlib
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from console_link import PartitionState  # noqa: E402,F401
from harness import guests_conf, image, machine, paths  # noqa: E402,F401
from harness.machine import BOCHS_INSTRUCTIONS_PER_SECOND as TICKS_PER_SECOND  # noqa: E402,F401
from harness.session import HYPERVISOR, Died, Ended, Session, SessionError, Timeout  # noqa: E402,F401

# Seconds of the wall clock: generous, since a loaded computer emulates slowly. A test that fails fails sooner by its text.
BOOT = 600  # to the hypervisor's summary
LINUX = 1200  # to the shell of every Linux
PROMPT = r"/ # "


def flat(name, file, **keys):
    """The section of a flat guest."""
    lines = {"memory": "4M", "loader": "flat", "kernel": f"tests/{file}.bin", **keys}
    return f"[{name}]\n" + "".join(f"{key.replace('_', '-')} = {value}\n" for key, value in lines.items())


def linux(name, **keys):
    lines = {"memory": "128M", "kernel": "vmlinuz", "initrd": "initramfs.cpio", "cmdline": "console=ttyS0", **keys}
    return f"[{name}]\n" + "".join(f"{key.replace('_', '-')} = {value}\n" for key, value in lines.items())


def log_directory():
    test = re.sub(r"[^\w.-]+", "-", os.environ.get("PYTEST_CURRENT_TEST", "run").split("/")[-1].split(" ")[0])
    return paths.BUILD / "results" / "logs" / test


@contextlib.contextmanager
def configuration(config):
    """A configuration's path; a text is put into a file first."""
    if isinstance(config, pathlib.Path):
        yield config
        return
    with tempfile.TemporaryDirectory(prefix="bulkhead-test-") as directory:
        path = pathlib.Path(directory) / "guests.conf"
        path.write_text(config)
        yield path


@contextlib.contextmanager
def boot(config, *, kind="bochs", options=(), before=(), files=None, **settings):
    """Boots a configuration. `files` are modules of its own, by the name that the configuration has for them."""
    settings.setdefault("cpus", 1)
    with configuration(config) as path:
        guests = guests_conf.load(path)
        guests.modules.update(files or {})
        boot_image = image.hypervisor_image(paths.HYPERVISOR, guests, ["console=framed", *options], before)
        with (image.quick_disc(boot_image) as disc,
              Session(machine.Settings(machine=kind, **settings), disc, guests=guests.names,
                      log=log_directory()) as session):
            yield session


def run(*words, timeout=600, **keywords):
    """scripts/run as a program."""
    return subprocess.run([ROOT / "scripts/run", *map(str, words)], capture_output=True, text=True, check=False,
                          timeout=timeout, **keywords)
