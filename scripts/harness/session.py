# SPDX-License-Identifier: Apache-2.0
"""A run of an image that a program watches and talks to. Each run has its own directory, pseudo-terminal and process.

    with Session(settings, image, guests=["linux1"]) as session:
        session.expect("linux1", r"/ # ")
        session.send("linux1", "uname -a\\n")
"""
import os
import pathlib
import re
import select
import shutil
import sys
import tempfile
import threading
import time
import tty

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import console_link  # noqa: E402
from console_link import PartitionState  # noqa: E402

from . import machine  # noqa: E402

HYPERVISOR = "bulkhead"  # the name of its partition
CONSOLE = "console"  # the only partition of a line without frames
TICK = 0.05  # seconds between two looks at the clock
TAIL = 1500  # bytes of a log in an error message
LAST_WORDS_QUIET = 2.0  # seconds of silence after which a dying hypervisor has said all
EARLY_QUIET = 0.5  # and after which the text of one that speaks without frames yet is shown
REFUSAL = re.compile(rb"Bulkhead cannot run (here|guests on this machine): [^\r\n]*")


class SessionError(Exception):
    pass


class Timeout(SessionError):
    pass


class Ended(SessionError):
    """The machine is off, and what was waited for can come no more."""


class Died(Ended):
    """The hypervisor crashed, or the machine ended without being switched off."""


def _state_name(state):
    try:
        return PartitionState(state).name.lower()
    except ValueError:
        return None


class Line:
    """A serial line: a pseudo-terminal whose one end the emulator opens by name."""

    def __init__(self):
        self.ours, self._theirs = os.openpty()
        tty.setraw(self._theirs)
        self.name = os.ttyname(self._theirs)

    def read(self, seconds):
        if not select.select([self.ours], [], [], seconds)[0]:
            return b""
        try:
            return os.read(self.ours, 65536)
        except OSError:
            return b""

    def write(self, data):
        while data:
            data = data[os.write(self.ours, data):]

    def close(self):
        os.close(self.ours)
        os.close(self._theirs)


class Partition:
    """One partition of the console: what it wrote, and what is known of its guest."""

    def __init__(self, name, log):
        self.name = name
        self.number = None
        self.state = None
        self.state_text = ""
        self.started = False
        self.status = None  # with which the guest ended itself, as told by its debug exit
        self.text = bytearray()
        self.cursor = 0  # what is before it was matched by an `expect`
        self._file = open(log / f"{name}.log", "wb")

    def add(self, data):
        self.text += data
        self._file.write(data)
        self._file.flush()

    def close(self):
        self._file.close()

    def ended(self):
        """The guest is gone, and not only to start over."""
        if self.state in (PartitionState.CRASHED, PartitionState.EXITED):
            return True
        return self.started and self.state == PartitionState.OFF and self.state_text != "reset"

    def tail(self):
        return bytes(self.text[-TAIL:]).decode("utf-8", "replace")


class Session:
    """`image` is the path of an image. Logs go to `log` if given, else they vanish with the session."""

    def __init__(self, settings, image, guests=(), log=None, framed=True):
        self.settings = settings
        self.image = pathlib.Path(image) if image else None
        self.framed = framed
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="bulkhead-run-"))
        self.log = pathlib.Path(log) if log else self.directory
        self.log.mkdir(parents=True, exist_ok=True)
        self.emulator = machine.create(settings)
        self.changed = threading.Condition()
        self.gaps = 0
        self.died = False
        self.over = False  # nothing more will come
        self._closed = False
        self._greeted = False  # the hypervisor speaks in frames
        self._link = console_link.Link()
        names = (HYPERVISOR, *guests) if framed else (CONSOLE,)
        self.partitions = {name: Partition(name, self.log) for name in names}
        self._numbers = {}
        if framed:
            self._attach(0, HYPERVISOR)
        self._line = None
        self._thread = None
        self._heard = 0.0  # when the line spoke last

    # ---- start and end

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    def start(self):
        self._line = Line()
        self._heard = time.monotonic()
        self.emulator.start(self.directory, self.image, self._line.name)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def quit(self, timeout=60):
        """Asks the hypervisor to end all guests and to switch the machine off."""
        with self.changed:
            self._link.command(0, console_link.Command.QUIT)
        self.wait_end(timeout)

    def wait_end(self, timeout):
        """Waits until the machine is off. A machine that did not end by its software's will is an error."""
        self._wait(lambda: self.over or None, timeout, "the machine to switch itself off", HYPERVISOR)
        if self.died:
            raise Died(self._death())

    def wait_quiet(self, seconds):
        """Waits until the line has been silent for so long, or the machine is off."""
        while not self.over and time.monotonic() - self._heard < seconds:
            time.sleep(TICK)

    def close(self):
        if self._closed:
            return
        self._closed = True
        self.emulator.stop()
        if self._thread:
            self._thread.join()
        if self._line:
            self._line.close()
        for partition in self.partitions.values():
            partition.close()
        if self.log != self.directory:
            (self.log / "emulator").mkdir(exist_ok=True)
            for name in ("bochs.log", "emulator.log"):
                if (self.directory / name).exists():
                    shutil.copyfile(self.directory / name, self.log / "emulator" / name)
        if not os.environ.get("BULKHEAD_KEEP_RUNS"):
            shutil.rmtree(self.directory, ignore_errors=True)

    # ---- talk

    def expect(self, guest, pattern, timeout=120, unless=lambda: False):
        """Waits for a regular expression in what the guest writes after the last match; gives the match (of bytes), or
        False if `unless` is true before."""
        partition = self._partition(guest)
        regex = re.compile(pattern.encode() if isinstance(pattern, str) else pattern, re.MULTILINE)

        def look():
            match = regex.search(bytes(partition.text), partition.cursor)
            if match:
                partition.cursor = match.end()
            return match or (False if unless() else None)

        return self._wait(look, timeout, f"{regex.pattern.decode('utf-8', 'replace')!r}", guest)

    def send(self, guest, text, timeout=120):
        """Types a text. Returns when it is queued for the guest, which the hypervisor must have announced."""
        data = text.encode() if isinstance(text, str) else text
        if not self.framed:
            self._line.write(data)
            return
        number = self._number(guest, timeout)
        with self.changed:
            self._link.input(number, data)

    def type(self, guest, text, timeout=120):
        """Types as a person does, who looks at the screen: each character once the one before has shown. Programs that a BIOS
        serves need that; they lose what comes faster."""
        for character in text:
            self.send(guest, character, timeout)
            self.expect(guest, re.escape(character), timeout)

    def command(self, guest, text, prompt=r"/ # ", timeout=120):
        """Has a shell run a command; gives what it printed."""
        partition = self._partition(guest)
        self.send(guest, text + "\r")
        self.expect(guest, re.escape(text.encode()) + rb"\r*\n", timeout)  # the echo
        start = partition.cursor
        end = self.expect(guest, prompt, timeout).start()
        return bytes(partition.text[start:end]).decode("utf-8", "replace").replace("\r\n", "\n")

    def restart(self, guest, timeout=60):
        self._command(guest, console_link.Command.RESTART, timeout)

    def dump(self, guest, timeout=60):
        """Asks for the state of the guest's CPUs; it comes in the hypervisor's log."""
        self._command(guest, console_link.Command.DUMP, timeout)

    def screen(self, guest, timeout=60):
        """Asks for the text on the guest's screen; it comes in the hypervisor's log."""
        self._command(guest, console_link.Command.SCREEN, timeout)

    def wait_state(self, guest, state, timeout=120):
        partition = self._partition(guest)
        self._wait(lambda: partition.state == state or None, timeout, f"{guest} to be {state.name}", HYPERVISOR)
        return partition.state_text

    def wait_guest_end(self, guest, timeout=120):
        """Waits until the guest has powered itself off, exited, or failed; gives its last state."""
        partition = self._partition(guest)
        return self._wait(lambda: PartitionState(partition.state) if partition.ended() else None, timeout,
                          f"{guest} to end", guest)

    def wait_end_of(self, name, regex, is_over, timeout):
        """Waits until a partition shows the regular expression, if there is one, or `is_over()`. Gives its text, up to the end
        of the line that matched or to where the cursor is moved, and whether one did."""
        partition = self._partition(name)

        def look():
            text = bytes(partition.text).decode("utf-8", "backslashreplace")
            if regex and (match := regex.search(text)):
                return text[:match.end()] + re.split("[\n\x1b]", text[match.end():], maxsplit=1)[0], True
            return (text, False) if is_over() else None

        return self._wait(look, timeout, f"{name} to end", name)

    def results(self):
        """What became of each guest so far, as scripts/run writes it for other programs."""
        with self.changed:
            return {name: {"state": _state_name(partition.state),
                           "text": partition.state_text, "status": partition.status}
                    for name, partition in self.partitions.items() if name not in (HYPERVISOR, CONSOLE)}

    def text(self, guest=HYPERVISOR):
        with self.changed:
            return bytes(self._partition(guest).text).decode("utf-8", "replace")

    # ---- inside

    def _command(self, guest, command, timeout):
        number = self._number(guest, timeout)
        with self.changed:
            self._link.command(number, command)

    def _partition(self, name):
        try:
            return self.partitions[name]
        except KeyError:
            raise SessionError(f"there is no guest '{name}'") from None

    def _number(self, name, timeout):
        partition = self._partition(name)
        self._wait(lambda: partition.number is not None or None, timeout, f"{name} to be announced", HYPERVISOR)
        return partition.number

    def _wait(self, look, timeout, what, name):
        deadline = time.monotonic() + timeout
        with self.changed:
            while True:
                found = look()
                if found is not None:
                    return found
                partition = self.partitions.get(name) or next(iter(self.partitions.values()))
                last = f"; {partition.name} wrote last:\n{partition.tail()}"
                if self.over and self.died:
                    raise Died(f"waiting for {what}: {self._death()}{last}")
                if self.over:
                    refused = REFUSAL.search(self.partitions[HYPERVISOR].text) if self.framed else None
                    why = refused[0].decode("ascii", "replace") if refused else "the machine is off"
                    raise Ended(f"waiting for {what}: {why}{last}")
                if time.monotonic() >= deadline:
                    raise Timeout(f"waited {timeout:.0f} s for {what}{last}")
                # Matching anew at each byte of a flood would cost more than the flood.
                self.changed.wait(TICK)

    def _death(self):
        said = self.partitions[HYPERVISOR].tail() if self.framed else ""
        return f"the hypervisor died ({self.emulator.reason()})\n{said}"

    def _serve(self):
        while True:
            ended = self.emulator.ended
            data = self._line.read(TICK)
            if data:
                self._heard = time.monotonic()
            with self.changed:
                if data:
                    self._feed(data)
                    self.changed.notify_all()
                if self.framed and not ended:
                    out = self._link.poll(time.monotonic())
                    if out:
                        self._line.write(out)
                silence = time.monotonic() - self._heard
                if (ended and not data) or (self.died and silence > LAST_WORDS_QUIET):
                    break
                if self.framed and silence > EARLY_QUIET:
                    if not self._greeted:
                        self._events(self._link.end())
                    if REFUSAL.search(self.partitions[HYPERVISOR].text):
                        break  # it does no more
        with self.changed:
            if self.framed:
                self._events(self._link.end())
            if self.emulator.ended and not self.emulator.powered_off:
                self.died = True
            self.over = True
            self.changed.notify_all()

    def _feed(self, data):
        if self.framed:
            self._events(self._link.feed(data))
        else:
            self.partitions[CONSOLE].add(data)

    def _events(self, events):
        hypervisor = self.partitions[HYPERVISOR]
        for event in events:
            match event:
                case console_link.Hello():
                    self._greeted = True
                case console_link.Announce(number, name):
                    self._attach(number, HYPERVISOR if number == 0 else name)
                case console_link.Data(number, data):
                    self._numbered(number).add(data)
                case console_link.State(number, state, text):
                    partition = self._numbered(number)
                    partition.state, partition.state_text = state, text
                    partition.started |= state == PartitionState.RUNNING
                    partition.status = int(text) if state == PartitionState.EXITED and text.isdecimal() else None
                    if number == 0 and state == PartitionState.DIED:
                        self.died = True
                case console_link.LastWords(data):
                    self.died = True
                    hypervisor.add(data)
                case console_link.Noise(data):
                    hypervisor.add(data)
                case console_link.Gap(missing):
                    self.gaps += missing
                    hypervisor.add(b"\n(console link: %d frames were lost here)\n" % missing)

    def _attach(self, number, name):
        if name not in self.partitions:
            self.partitions[name] = Partition(name, self.log)
        self.partitions[name].number = number
        self._numbers[number] = self.partitions[name]

    def _numbered(self, number):
        if number not in self._numbers:
            self._attach(number, f"partition{number}")
        return self._numbers[number]
