# SPDX-License-Identifier: Apache-2.0
"""A guest that floods its console, with escape sequences, on the one CPU that all share."""
import re

import pytest
from lab import BOOT, TICKS_PER_SECOND, boot, flat

PULSE_TICKS = 25_000_000  # between two beats, as tests/system/guests/pulse.cpp has it
FLOOD = re.compile(rb"\x1b\[2J\x1b\[31mflood ([0-9a-f]{8}) the quick brown fox jumps over the lazy dog"
                   rb"\x1b\]0;title\x07\x1b\[\?25l\r\n")


@pytest.fixture(scope="module")
def machine():
    with boot(flat("flood", "flood") + flat("pulse", "pulse") + flat("echo", "echo"), cpus=1) as session:
        session.expect("pulse", "^pulse 12 ", BOOT)
        yield session


def test_the_flood_arrives_whole_and_in_order(machine):
    lines = bytes(machine.partitions["flood"].text).splitlines(keepends=True)[:-1]
    assert len(lines) > 100
    assert [int(FLOOD.fullmatch(line)[1], 16) for line in lines] == list(range(len(lines)))


def test_the_neighbours_lines_are_not_touched(machine):
    lines = machine.text("pulse").split("\r\n")[:-1]
    assert [re.fullmatch(r"pulse (\d+) tsc=[0-9a-f]{16}", line)[1] for line in lines] \
        == [str(number) for number in range(1, len(lines) + 1)]


def test_the_neighbours_time_is_not_touched(machine):
    beats = [int(tsc, 16) for tsc in re.findall(r"tsc=([0-9a-f]{16})", machine.text("pulse"))]
    late = [beat - beats[0] - number * PULSE_TICKS for number, beat in enumerate(beats)]
    assert max(late) < TICKS_PER_SECOND / 10


def test_input_gets_through(machine):
    machine.send("echo", "q")
    machine.expect("echo", "got q", BOOT)
