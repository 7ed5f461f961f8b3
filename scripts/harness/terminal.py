# SPDX-License-Identifier: Apache-2.0
"""A person's terminal, joined to a machine's serial line: bytes pass unchanged both ways."""
import os
import pathlib
import select
import shutil
import signal
import sys
import tempfile
import termios
import time
import tty

from . import machine
from .session import REFUSAL, Line

CTRL_C = b"\x03"
LEAVE = b"\x01x"
LEAVE_PATIENCE = 15  # seconds after Ctrl-A x in which the hypervisor is to switch the machine off
START = 16384  # bytes of output among which a refusal is looked for


class _RawTerminal:
    """Puts the terminal into raw mode, and back however the run ends."""

    def __enter__(self):
        self.saved = termios.tcgetattr(0) if os.isatty(0) else None
        if self.saved:
            tty.setraw(0)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: sys.exit(1))

    def __exit__(self, *_):
        if self.saved:
            # The guest may have left colours and a hidden cursor behind.
            if os.isatty(1):
                os.write(1, b"\x1b[0m\x1b[?25h")
            termios.tcsetattr(0, termios.TCSAFLUSH, self.saved)


def converse(settings, image):
    """Runs the machine until it is off. Gives None if its software switched it off, else why it ended, and whether the
    hypervisor is to blame."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="bulkhead-run-"))
    line = Line()
    emulator = machine.create(settings)
    try:
        print(f"run: {emulator.description}, {settings.cpus} CPUs, {settings.memory} MiB; the boot takes a moment. "
              "Ctrl-A ? helps, Ctrl-A x leaves.", flush=True)
        emulator.start(directory, image, line.name)
        with _RawTerminal():
            given_up = _pass_bytes(emulator, line)
        if given_up:
            return given_up
        return None if emulator.powered_off else (emulator.reason(), True)
    finally:
        emulator.stop()
        line.close()
        shutil.rmtree(directory, ignore_errors=True)


def _pass_bytes(emulator, line):
    """Until the emulator has ended, or there is a reason to wait for that no longer."""
    start = b""
    typed = b""
    leave_by = None
    sources = [0, line.ours]
    while True:
        ended = emulator.ended
        ready = select.select(sources, [], [], 0.2)[0]
        if line.ours in ready:
            data = line.read(0)
            if len(start) < START:
                start += data
            while data:
                data = data[os.write(1, data):]
        elif ended:
            return None
        elif REFUSAL.search(start):
            return "the machine was refused", False
        if leave_by and time.monotonic() > leave_by:
            return "the hypervisor did not switch the machine off", True
        if 0 in ready:
            data = os.read(0, 1024)
            if not data:
                sources.remove(0)
                continue
            # The way out must not depend on a hypervisor that does not read the line, yet or any more.
            if not start and CTRL_C in data:
                return "interrupted before it was up", False
            typed = (typed + data)[-len(LEAVE):]
            if typed == LEAVE and not leave_by:
                leave_by = time.monotonic() + LEAVE_PATIENCE
            line.write(data)
