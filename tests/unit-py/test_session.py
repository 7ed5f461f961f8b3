# SPDX-License-Identifier: Apache-2.0
"""The harness, against a machine that is played by a thread."""
import os
import pathlib
import subprocess
import sys
import threading
import tty

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from console_link import Command, Decoder, Frame, PartitionState, Type, encode  # noqa: E402
from harness import guests_conf, image, machine, session  # noqa: E402


class PlayedMachine:
    """Speaks the hypervisor's side of the framed link: acknowledges, and echoes input in capitals."""

    def __init__(self, script):
        self.script = script
        self.ended = False
        self.powered_off = False
        self.commands = []
        self.sequence = 0

    def start(self, _directory, _image, terminal):
        self.line = os.open(terminal, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self.line)
        self.stopping, self.wake = os.pipe()
        self.thread = threading.Thread(target=self._play, daemon=True)
        self.thread.start()

    def say(self, kind, partition, payload=b""):
        os.write(self.line, encode(Frame(kind, partition, self.sequence, payload)))
        self.sequence = (self.sequence + 1) % 256

    def hello(self, *names):
        self.say(Type.HELLO, 0, bytes([1, 128, len(names) + 1]))
        self.say(Type.ANNOUNCE, 0, b"bulkhead")
        for number, name in enumerate(names, 1):
            self.say(Type.ANNOUNCE, number, name.encode())

    def _play(self):
        import select
        self.script(self)
        decoder = Decoder()
        while not self.ended:
            if self.stopping in select.select([self.line, self.stopping], [], [])[0]:
                return
            for frame in decoder.feed(os.read(self.line, 4096)):
                self.say(Type.ACK, frame.partition, bytes([frame.sequence]))
                if frame.type == Type.INPUT:
                    self.say(Type.DATA, frame.partition, frame.payload.upper())
                elif frame.type == Type.COMMAND:
                    self.commands.append((frame.partition, frame.payload[0]))
                    if frame.payload[0] == Command.QUIT:
                        self.say(Type.STATE, 0, bytes([PartitionState.LEAVING]))
                        self.powered_off = self.ended = True

    def reason(self):
        return "the play is over"

    def stop(self):
        os.write(self.wake, b"x")
        self.thread.join()
        os.close(self.line)
        self.ended = True


@pytest.fixture
def play(monkeypatch, tmp_path):
    opened = []

    def start(script, guests=("a", "b")):
        played = PlayedMachine(script)
        monkeypatch.setattr(machine, "create", lambda _settings: played)
        running = session.Session(machine.Settings(), "none", guests=guests, log=tmp_path / "log").start()
        opened.append(running)
        running.played = played
        return running

    yield start
    for running in opened:
        running.close()


def test_each_partition_gets_its_own_bytes_whole_and_unmixed(play, tmp_path):
    def script(played):
        played.hello("a", "b")
        for number in range(200):
            played.say(Type.DATA, 1, b"one %d\r\n" % number)
            played.say(Type.DATA, 2, b"two \xc0\xdb %d\r\n" % number)

    running = play(script)
    running.expect("b", "^two .* 199", 5)
    running.expect("a", "^one 199", 5)
    running.close()
    assert (tmp_path / "log/a.log").read_bytes() == b"".join(b"one %d\r\n" % n for n in range(200))
    assert (tmp_path / "log/b.log").read_bytes() == b"".join(b"two \xc0\xdb %d\r\n" % n for n in range(200))
    assert (tmp_path / "log/bulkhead.log").read_bytes() == b""
    assert running.gaps == 0


def test_expect_looks_only_at_what_came_after_the_last_match(play):
    def script(played):
        played.hello("a")
        played.say(Type.DATA, 1, b"ready ready ")

    running = play(script)
    running.expect("a", "ready", 5)
    running.expect("a", "ready", 5)
    with pytest.raises(session.Timeout, match="a wrote last"):
        running.expect("a", "ready", 0.3)


def test_what_is_typed_arrives(play):
    running = play(lambda played: played.hello("a", "b"))
    running.send("b", "a rather long line of input\r", 5)
    assert running.expect("b", "A RATHER LONG LINE OF INPUT", 5)
    assert running.text("a") == ""


def test_commands_go_to_the_partition(play):
    running = play(lambda played: played.hello("a", "b"))
    running.restart("b", 5)
    running.quit(5)
    assert running.played.commands == [(2, Command.RESTART), (0, Command.QUIT)]


def test_last_words_are_kept_and_mean_death(play):
    def script(played):
        played.hello("a")
        played.say(Type.LAST_WORDS, 0, b"#GP in root mode")

    running = play(script)
    with pytest.raises(session.Died, match="#GP in root mode"):
        running.expect("a", "never", 10)


def test_an_emulator_that_ends_by_itself_is_a_death(play):
    def script(played):
        played.hello("a")
        played.ended = True

    running = play(script)
    with pytest.raises(session.Died, match="the play is over"):
        running.wait_end(5)


def test_a_machine_that_was_switched_off_is_no_death(play):
    def script(played):
        played.hello("a")
        played.powered_off = played.ended = True

    running = play(script)
    running.wait_end(5)
    with pytest.raises(session.Ended) as caught:
        running.expect("a", "never", 5)
    assert not isinstance(caught.value, session.Died)


def test_a_refusal_comes_without_frames_and_ends_the_wait(play):
    running = play(lambda played: os.write(played.line, b"Bulkhead cannot run here: no VT-x.\r\n"))
    assert running.expect("bulkhead", "no VT-x", 5)
    with pytest.raises(session.Ended):
        running.expect("a", "never", 5)


def test_lost_frames_are_told(play):
    def script(played):
        played.hello("a")
        played.sequence += 3
        played.say(Type.DATA, 1, b"end")

    running = play(script)
    running.expect("a", "end", 5)
    assert running.gaps == 3
    assert "3 frames were lost" in running.text()


def test_states_are_kept(play):
    def script(played):
        played.hello("a")
        played.say(Type.STATE, 1, bytes([PartitionState.CRASHED]) + b"triple fault")

    running = play(script)
    assert running.wait_state("a", PartitionState.CRASHED, 5) == "triple fault"


# ---- scripts/run as a program ---------------------------------------------------------------------------------------


def test_a_guest_has_ended_when_it_does_not_start_over(play):
    def state(played, number, kind, text=b""):
        played.say(Type.STATE, number, bytes([kind]) + text)

    def script(played):
        played.hello("a", "b", "c")
        for number in (1, 2, 3):
            state(played, number, PartitionState.OFF)
        state(played, 3, PartitionState.CRASHED, b"not started")
        state(played, 1, PartitionState.RUNNING)
        state(played, 1, PartitionState.OFF, b"reset")
        played.say(Type.DATA, 2, b"here")

    running = play(script, guests=("a", "b", "c"))
    running.expect("b", "here", 5)
    assert running.wait_guest_end("c", 5) == PartitionState.CRASHED
    for guest in "ab":
        with pytest.raises(session.Timeout):
            running.wait_guest_end(guest, 0.1)


def test_a_guest_that_powers_itself_off_has_ended(play):
    def script(played):
        played.hello("a")
        played.say(Type.STATE, 1, bytes([PartitionState.RUNNING]))
        played.say(Type.STATE, 1, bytes([PartitionState.OFF]) + b"powered off")

    assert play(script, guests=("a",)).wait_guest_end("a", 5) == PartitionState.OFF


def test_the_status_with_which_a_guest_exits_is_in_the_results(play):
    def script(played):
        played.hello("a", "b")
        played.say(Type.STATE, 1, bytes([PartitionState.EXITED]) + b"43")
        played.say(Type.STATE, 2, bytes([PartitionState.OFF]) + b"powered off")

    running = play(script, guests=("a", "b", "c"))
    running.wait_state("b", PartitionState.OFF, 5)
    assert running.wait_state("a", PartitionState.EXITED, 5) == "43"
    assert running.results() == {"a": {"state": "exited", "text": "43", "status": 43},
                                 "b": {"state": "off", "text": "powered off", "status": None},
                                 "c": {"state": None, "text": "", "status": None}}


def call(*words):
    return subprocess.run([ROOT / "scripts/run", *words], capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("words, complaint", [
    (["--until", "a=b"], "need --headless"),
    (["--headless", "--until", "nonsense"], "wants GUEST=REGEX"),
    (["--headless", "--until", "a=("], "--until a=("),
    (["--headless", "--machine", "vax"], "invalid choice"),
    (["--headless", "--guests", "/nowhere.conf"], "/nowhere.conf: No such file"),
    (["--headless", "--cpus", "0"], "not above 0"),
])
def test_a_bad_call_is_status_2(words, complaint):
    done = call(*words)
    assert done.returncode == 2
    assert complaint in done.stderr


def test_a_file_that_is_missing_is_named(tmp_path):
    config = tmp_path / "guests.conf"
    config.write_text("[a]\nmemory = 64M\nloader = flat\nkernel = gone.bin\nconsole = 1\n")
    with pytest.raises(guests_conf.ConfigError, match=r"guests\.conf:1: .*gone\.bin"):
        guests_conf.load(config).check()


def test_a_bad_line_is_named(tmp_path):
    config = tmp_path / "guests.conf"
    config.write_text("[a]\nmemory = much\nkernel = k\n")
    with pytest.raises(guests_conf.ConfigError, match=r"guests\.conf:2: expected a size"):
        guests_conf.load(config).check()


def test_files_are_found_relative_to_the_configuration(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/k.bin").write_bytes(b"k")
    config = tmp_path / "guests.conf"
    config.write_text("[a]\nkernel = sub/k.bin\ninitrd = sub/k.bin\n[b]\nkernel = sub/k.bin\n")
    guests = guests_conf.load(config)
    assert guests.names == ["a", "b"]
    assert guests.modules == {"sub/k.bin": tmp_path / "sub/k.bin"}


def test_a_word_that_grub_would_take_apart_is_refused():
    with pytest.raises(image.ImageError):
        image.Image().command("module2", "/boot/00", "two words")


# ---- the machine that is picked -------------------------------------------------------------------------------------


@pytest.fixture
def qemu(monkeypatch, tmp_path):
    """A QEMU that gives one answer to the question for its CPU's properties."""

    def answer(text):
        (tmp_path / machine.QEMU).write_text(f"#!/bin/sh\ncat >/dev/null\ncat <<'END'\n{text}\nEND\n")
        (tmp_path / machine.QEMU).chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        monkeypatch.setattr(os, "access", lambda *_: True)

    return answer


def test_kvm_is_picked_only_if_it_offers_vmx(qemu):
    properties = '{"return": {"model": {"name": "host", "props": {"vmx": %s, "vmx-ept": true, ' \
                 '"vmx-unrestricted-guest": true}}}}'
    qemu('{"QMP": {}}\n{"return": {}}\n' + properties % "true")
    assert machine.choose("auto") == "qemu"
    qemu('{"QMP": {}}\n{"return": {}}\n' + properties % "false")
    assert machine.choose("auto") == "bochs"
    qemu("not what was asked for")
    assert machine.choose("auto") == "bochs"


def test_without_dev_kvm_bochs_is_picked(monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert machine.choose("auto") == "bochs"


def test_modules_are_files_too_and_their_strings_are_not(tmp_path):
    (tmp_path / "kernel").write_bytes(b"k")
    (tmp_path / "first").write_bytes(b"f")
    config = tmp_path / "guests.conf"
    config.write_text("[a]\nloader = multiboot\nkernel = kernel\nmodule = first -v other # x\nmodule=gone\nmodule = first\n")
    found = guests_conf.load(config).modules
    assert found == {"kernel": tmp_path / "kernel", "first": tmp_path / "first", "gone": None}
