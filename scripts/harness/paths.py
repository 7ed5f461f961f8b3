# SPDX-License-Identifier: Apache-2.0
"""Where the build puts what a run needs."""
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
HYPERVISOR = BUILD / "bulkhead.elf"
GUESTS = BUILD / "guests"  # Debian's kernel, the initramfs and our own bare-metal guests
DEFAULT_CONFIG = ROOT / "examples" / "default.conf"
