# SPDX-License-Identifier: Apache-2.0
"""The framed mode of Bulkhead's console link, seen from the host (docs/console.md). Pure: no I/O, no clock.

    link = Link()
    for event in link.feed(bytes_from_the_line): ...
    link.input(partition, b"uname -a\\n")
    link.command(0, Command.QUIT)
    bytes_to_the_line = link.poll(time.monotonic())
"""

from collections import deque
from dataclasses import dataclass
from enum import IntEnum

PROTOCOL_VERSION = 1
MAX_PAYLOAD = 128
OVERHEAD = 5  # header and CRC
# A frame with eight bytes of input fits the 16-byte receive FIFO of a 16550.
INPUT_CHUNK = 8

END, ESC, ESC_END, ESC_ESC = 0xC0, 0xDB, 0xDC, 0xDD


class Type(IntEnum):
    DATA = 0x01
    ANNOUNCE = 0x02
    STATE = 0x03
    ACK = 0x04
    BUSY = 0x05
    HELLO = 0x06
    LAST_WORDS = 0x07
    INPUT = 0x81
    COMMAND = 0x82


class PartitionState(IntEnum):
    OFF = 0
    RUNNING = 1
    HALTED = 2
    CRASHED = 3
    DIED = 4  # the hypervisor itself; partition 0
    LEAVING = 5  # the hypervisor powers the machine off; partition 0
    EXITED = 6  # the guest ended itself with a status: the text, in decimal


class Command(IntEnum):
    HELLO = ord("h")
    QUIT = ord("q")
    RESTART = ord("r")
    REPORT = ord("s")
    DUMP = ord("d")
    SCREEN = ord("v")


@dataclass(frozen=True)
class Frame:
    type: int
    partition: int
    sequence: int
    payload: bytes = b""


# ---- events that Link.feed gives ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hello:
    """The hypervisor is there and reads the line. Announcements and states of all partitions follow."""

    version: int
    max_payload: int
    partitions: int


@dataclass(frozen=True)
class Announce:
    partition: int
    name: str


@dataclass(frozen=True)
class State:
    partition: int
    state: int  # a PartitionState, or a number that this version does not know
    text: str


@dataclass(frozen=True)
class Data:
    partition: int
    data: bytes


@dataclass(frozen=True)
class LastWords:
    """Text of a hypervisor that is dying; it belongs to partition 0, after all Data of it."""

    data: bytes


@dataclass(frozen=True)
class Noise:
    """Bytes between two ENDs that are no frame: firmware's text, or a damaged frame."""

    data: bytes


@dataclass(frozen=True)
class Gap:
    """So many frames of the hypervisor never arrived."""

    missing: int


# ---- frames ---------------------------------------------------------------------------------------------------------


def _crc_table():
    table = []
    for byte in range(256):
        crc = byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1
        table.append(crc & 0xFFFF)
    return table


_CRC_TABLE = _crc_table()


def crc16(data, crc=0xFFFF):
    """CRC-16/IBM-3740; zero over a frame with its CRC."""
    for byte in data:
        crc = ((crc << 8) & 0xFFFF) ^ _CRC_TABLE[(crc >> 8) ^ byte]
    return crc


def encode(frame):
    if len(frame.payload) > MAX_PAYLOAD:
        raise ValueError(f"a payload of {len(frame.payload)} bytes, {MAX_PAYLOAD} is the most")
    body = bytes([frame.type, frame.partition, frame.sequence]) + frame.payload
    body += crc16(body).to_bytes(2, "big")
    body = body.replace(bytes([ESC]), bytes([ESC, ESC_ESC])).replace(bytes([END]), bytes([ESC, ESC_END]))
    return bytes([END]) + body + bytes([END])


def _unescape(body):
    """None when an ESC is followed by what cannot follow it."""
    parts = body.split(bytes([ESC]))
    out = bytearray(parts[0])
    for part in parts[1:]:
        if part[:1] == bytes([ESC_END]):
            out.append(END)
        elif part[:1] == bytes([ESC_ESC]):
            out.append(ESC)
        else:
            return None
        out += part[1:]
    return bytes(out)


class Decoder:
    """Bytes of the line to a list of Frame and Noise."""

    def __init__(self):
        self._pending = bytearray()

    def feed(self, data):
        found = []
        *complete, rest = bytes(data).split(bytes([END]))
        for body in complete:
            self._pending += body
            if self._pending:
                found.append(self._decode(bytes(self._pending)))
            self._pending.clear()
        self._pending += rest
        # No frame is that long: text of a firmware, to be shown as it comes.
        if len(self._pending) > 2 * (MAX_PAYLOAD + OVERHEAD):
            found.append(Noise(bytes(self._pending)))
            self._pending.clear()
        return found

    def flush(self):
        """What is left when the line has ended, as Noise."""
        rest, self._pending = bytes(self._pending), bytearray()
        return [Noise(rest)] if rest else []

    @staticmethod
    def _decode(raw):
        body = _unescape(raw)
        if body is None or not OVERHEAD <= len(body) <= OVERHEAD + MAX_PAYLOAD or crc16(body) != 0:
            return Noise(raw)
        return Frame(body[0], body[1], body[2], body[3:-2])


# ---- the link -------------------------------------------------------------------------------------------------------


class _Outgoing:
    """What waits to be sent to one partition. The first entry keeps its number until the hypervisor has taken it."""

    def __init__(self):
        self.queue = deque()  # (type, payload)
        self.sequence = 0
        self.not_before = 0.0


class Link:
    """Both directions of the line. Nothing is sent before the hypervisor has said hello (the boot loader would take it
    for key strokes), or `attach` was called. One frame is outstanding at a time, repeated until it is acknowledged."""

    FIRST_TIMEOUT = 0.5  # seconds until an unanswered frame is sent again; doubled each time
    LAST_TIMEOUT = 4.0
    BUSY_DELAY = 0.1  # until input is offered again to a partition that had no room

    def __init__(self):
        self._decoder = Decoder()
        self._outgoing = {}
        self._ready = False
        self._attaching = False
        self._expected = None  # the next sequence number of the hypervisor
        self._outstanding = None  # partition
        self._deadline = 0.0
        self._timeout = self.FIRST_TIMEOUT
        self._turn = 0
        self._now = 0.0
        self.resent = 0

    # -- from the line

    def feed(self, data):
        return self._events(self._decoder.feed(data))

    def end(self):
        """The line has ended: the events that are left."""
        return self._events(self._decoder.flush())

    def _events(self, found):
        events = []
        for item in found:
            if isinstance(item, Noise):
                events.append(item)
            else:
                self._frame(item, events)
        return events

    def _frame(self, frame, events):
        # A CPU that is dying does not trust the numbering any more.
        if frame.type == Type.LAST_WORDS:
            events.append(LastWords(frame.payload))
            return
        if frame.type == Type.STATE and frame.payload[:1] == bytes([PartitionState.DIED]):
            events.append(State(frame.partition, PartitionState.DIED, frame.payload[1:].decode("ascii", "replace")))
            return
        if frame.type == Type.HELLO:
            self._restart()
        elif self._expected is not None and frame.sequence != self._expected:
            events.append(Gap((frame.sequence - self._expected) % 256))
        self._expected = (frame.sequence + 1) % 256
        payload = frame.payload
        if frame.type == Type.HELLO and len(payload) >= 3:
            events.append(Hello(payload[0], payload[1], payload[2]))
        elif frame.type == Type.DATA:
            events.append(Data(frame.partition, payload))
        elif frame.type == Type.ANNOUNCE:
            events.append(Announce(frame.partition, payload.decode("ascii", "replace")))
        elif frame.type == Type.STATE and payload:
            events.append(State(frame.partition, payload[0], payload[1:].decode("ascii", "replace")))
        elif frame.type in (Type.ACK, Type.BUSY) and payload:
            self._answer(frame)

    def _restart(self):
        self._ready, self._attaching = True, False
        self._outstanding = None
        for outgoing in self._outgoing.values():
            outgoing.sequence = 0
            outgoing.not_before = 0.0

    def _answer(self, frame):
        outgoing = self._outgoing.get(frame.partition)
        if outgoing is None or not outgoing.queue or frame.payload[0] != outgoing.sequence:
            return  # the answer to a repetition that was answered already
        if self._outstanding == frame.partition:
            self._outstanding = None
        if frame.type == Type.ACK:
            outgoing.queue.popleft()
            outgoing.sequence = (outgoing.sequence + 1) % 256
        else:
            outgoing.not_before = self._now + self.BUSY_DELAY

    # -- to the line

    def input(self, partition, data):
        """Queues what is typed to a partition."""
        outgoing = self._outgoing.setdefault(partition, _Outgoing())
        for start in range(0, len(data), INPUT_CHUNK):
            outgoing.queue.append((Type.INPUT, bytes(data[start : start + INPUT_CHUNK])))

    def command(self, partition, command):
        self._outgoing.setdefault(partition, _Outgoing()).queue.append((Type.COMMAND, bytes([command])))

    def attach(self):
        """Asks a hypervisor that is running already for its announcements."""
        self._attaching = True

    @property
    def pending(self):
        """Frames that are not acknowledged yet."""
        return sum(len(outgoing.queue) for outgoing in self._outgoing.values())

    def poll(self, now):
        """What to write to the line now. Call it after `feed`, after `input`, and some ten times a second."""
        self._now = now
        if self._attaching and now >= self._deadline:
            self._deadline = now + self.FIRST_TIMEOUT
            return encode(Frame(Type.COMMAND, 0, 0, bytes([Command.HELLO])))
        if not self._ready or self._attaching:
            return b""
        if self._outstanding is not None:
            if now < self._deadline:
                return b""
            self._timeout = min(2 * self._timeout, self.LAST_TIMEOUT)
            self.resent += 1
            return self._send(self._outstanding)
        self._timeout = self.FIRST_TIMEOUT
        partition = self._next(now)
        return b"" if partition is None else self._send(partition)

    def _next(self, now):
        """The partitions in turn; None when none has anything that may be sent."""
        waiting = sorted(p for p, o in self._outgoing.items() if o.queue and now >= o.not_before)
        if not waiting:
            return None
        self._turn = next((p for p in waiting if p > self._turn), waiting[0])
        return self._turn

    def _send(self, partition):
        outgoing = self._outgoing[partition]
        kind, payload = outgoing.queue[0]
        self._outstanding = partition
        self._deadline = self._now + self._timeout
        return encode(Frame(kind, partition, outgoing.sequence, payload))
