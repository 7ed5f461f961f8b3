# SPDX-License-Identifier: Apache-2.0
"""scripts/console_link.py against the vectors of docs/console.md and against a peer that loses frames."""

import random
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from console_link import (  # noqa: E402
    MAX_PAYLOAD, Announce, Command, Data, Decoder, Frame, Gap, Hello, LastWords, Link, Noise, PartitionState, State,
    Type, crc16, encode)

VECTOR = re.compile(r'^VECTOR\((\w+), (0x\w+), (\d+), (\d+), "(.*?)", "(.*?)"\)', re.M)


def vectors():
    found = VECTOR.findall((ROOT / "tests/unit/console_link_vectors.inc").read_text())
    assert len(found) >= 10
    for name, kind, partition, sequence, payload, line in found:
        yield name, Frame(int(kind, 16), int(partition), int(sequence), bytes.fromhex(payload)), bytes.fromhex(line)


def test_crc_of_the_catalogue():
    assert crc16(b"123456789") == 0x29B1


def test_documented_vectors():
    for name, frame, line in vectors():
        assert encode(frame) == line, name
        assert Decoder().feed(line) == [frame], name


def test_the_documentation_shows_the_vectors():
    text = (ROOT / "docs/console.md").read_text()
    for name, _, line in vectors():
        assert line.hex(" ") in text, name


def test_any_cut_of_the_line_gives_the_same_frames():
    line = b"".join(line for _, _, line in vectors())
    expected = [frame for _, frame, _ in vectors()]
    generator = random.Random(1)
    for _ in range(200):
        decoder, got, at = Decoder(), [], 0
        while at < len(line):
            step = generator.randint(1, 9)
            got += decoder.feed(line[at : at + step])
            at += step
        assert got == expected


def test_damage_becomes_noise():
    frame = Frame(Type.DATA, 1, 0, b"hello")
    line = bytearray(encode(frame))
    line[5] ^= 0x20
    assert Decoder().feed(line + encode(frame)) == [Noise(bytes(line[1:-1])), frame]


def test_text_of_a_firmware_is_noise():
    link = Link()
    assert link.feed(b"SeaBIOS\r\n" + encode(Frame(Type.HELLO, 0, 0, bytes([1, 128, 3])))) == [
        Noise(b"SeaBIOS\r\n"), Hello(1, 128, 3)]
    assert link.feed(b"refused: no VT-x") == []
    assert link.end() == [Noise(b"refused: no VT-x")]
    long = Link()
    events = long.feed(b"x" * 1000)
    assert b"".join(event.data for event in events + long.end()) == b"x" * 1000


def test_events():
    link = Link()
    frames = [
        Frame(Type.HELLO, 0, 250, bytes([1, 128, 2])), Frame(Type.ANNOUNCE, 1, 251, b"debian1"),
        Frame(Type.STATE, 1, 252, b"\x01"), Frame(Type.DATA, 1, 253, b"login: "), Frame(Type.DATA, 0, 254, b"log"),
        Frame(Type.STATE, 1, 255, b"\x03triple fault"), Frame(Type.DATA, 0, 2, b"later"),
        Frame(Type.LAST_WORDS, 0, 0, b"panic"), Frame(Type.STATE, 0, 0, b"\x04")]
    assert link.feed(b"".join(map(encode, frames))) == [
        Hello(1, 128, 2), Announce(1, "debian1"), State(1, PartitionState.RUNNING, ""), Data(1, b"login: "),
        Data(0, b"log"), State(1, PartitionState.CRASHED, "triple fault"), Gap(2), Data(0, b"later"),
        LastWords(b"panic"), State(0, PartitionState.DIED, "")]


def hello(link):
    link.feed(encode(Frame(Type.HELLO, 0, 0, bytes([1, 128, 3]))))


def test_nothing_is_sent_before_hello():
    link = Link()
    link.input(1, b"ls\r")
    assert link.poll(0.0) == b"" and link.poll(100.0) == b""
    hello(link)
    assert link.poll(100.0) == encode(Frame(Type.INPUT, 1, 0, b"ls\r"))


def test_input_is_cut_repeated_and_acknowledged():
    link = Link()
    hello(link)
    link.input(1, b"0123456789")
    first = encode(Frame(Type.INPUT, 1, 0, b"01234567"))
    assert len(first) <= 16
    assert link.poll(0.0) == first
    assert link.poll(0.1) == b""
    assert link.poll(1.0) == first and link.resent == 1
    link.feed(encode(Frame(Type.ACK, 1, 1, b"\x00")))
    assert link.poll(1.1) == encode(Frame(Type.INPUT, 1, 1, b"89"))
    link.feed(encode(Frame(Type.ACK, 1, 2, b"\x00")))  # of the repetition: means nothing any more
    assert link.pending == 1
    link.feed(encode(Frame(Type.ACK, 1, 3, b"\x01")))
    assert link.pending == 0 and link.poll(9.0) == b""


def test_a_busy_partition_does_not_hold_up_another():
    link = Link()
    hello(link)
    link.input(1, b"a")
    link.input(2, b"b")
    link.command(0, Command.QUIT)
    assert link.poll(0.0) == encode(Frame(Type.INPUT, 1, 0, b"a"))
    link.feed(encode(Frame(Type.BUSY, 1, 1, b"\x00")))
    assert link.poll(0.01) == encode(Frame(Type.INPUT, 2, 0, b"b"))
    link.feed(encode(Frame(Type.ACK, 2, 2, b"\x00")))
    assert link.poll(0.02) == encode(Frame(Type.COMMAND, 0, 0, b"q"))
    link.feed(encode(Frame(Type.ACK, 0, 3, b"\x00")))
    assert link.poll(0.03) == b""
    assert link.poll(0.2) == encode(Frame(Type.INPUT, 1, 0, b"a"))


def test_attach_asks_until_it_is_answered():
    link = Link()
    link.input(1, b"x")
    link.attach()
    assert link.poll(1.0) == encode(Frame(Type.COMMAND, 0, 0, b"h"))
    assert link.poll(1.1) == b""
    assert link.poll(2.0) == encode(Frame(Type.COMMAND, 0, 0, b"h"))
    hello(link)
    assert link.poll(2.1) == encode(Frame(Type.INPUT, 1, 0, b"x"))


class Peer:
    """The hypervisor's end as docs/console.md has it, with a line that loses and doubles frames both ways."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.decoder = Decoder()
        self.expected = {}
        self.typed = {}

    def receive(self, line):
        answers = b""
        if self.random.random() < 0.2:
            return answers  # lost on the way
        for frame in self.decoder.feed(line):
            expected = self.expected.get(frame.partition, 0)
            kind = Type.ACK
            if frame.sequence == expected:
                if self.random.random() < 0.2:
                    kind = Type.BUSY
                else:
                    self.expected[frame.partition] = (expected + 1) % 256
                    self.typed[frame.partition] = self.typed.get(frame.partition, b"") + frame.payload
            elif frame.sequence != (expected - 1) % 256:
                continue
            answer = encode(Frame(kind, frame.partition, 0, bytes([frame.sequence])))
            answers += answer * self.random.choice([0, 1, 1, 1, 2])
        return answers


def test_typed_input_arrives_once_and_in_order_over_a_bad_line():
    for seed in range(5):
        link, peer, now = Link(), Peer(seed), 0.0
        hello(link)
        text = {p: bytes(random.Random(p + seed).randbytes(3000)) for p in (1, 2)}
        for partition, data in text.items():
            link.input(partition, data)
        while link.pending:
            now += 0.05
            assert now < 10000
            link.feed(peer.receive(link.poll(now)))
        assert peer.typed == text


def test_a_payload_that_is_too_long_is_refused():
    try:
        encode(Frame(Type.DATA, 0, 0, bytes(MAX_PAYLOAD + 1)))
    except ValueError:
        return
    raise AssertionError("it was taken")
