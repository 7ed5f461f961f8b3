# SPDX-License-Identifier: Apache-2.0
"""What a guest cannot do to another."""
import re

import pytest
from lab import BOOT, HYPERVISOR, PartitionState, boot, flat

MEMORY = 192  # MiB, all of which a tenant looks through: tests/system/guests/tenant.cpp has the number, too
GUESTS = flat("tenant1", "tenant") + flat("tenant2", "tenant") + flat("crash", "crash") + flat("pulse", "pulse")


@pytest.fixture(scope="module")
def machine():
    with boot(GUESTS, cpus=2, memory=MEMORY) as session:
        yield session


def test_the_neighbours_memory_cannot_be_seen(machine):
    # Both have marked every page of theirs when they ask.
    for guest in ("tenant1", "tenant2"):
        machine.expect(guest, r"my own marks: (\d+)", BOOT)
        machine.expect(guest, r"tenant: look\?", BOOT)
    marks = [int(count) for count in re.findall(r"my own marks: (\d+)", machine.text("tenant1"))]
    assert marks[0] > 0, "the search finds what is there"
    machine.send("tenant1", "x")
    assert machine.expect("tenant1", r"beyond my memory: (\d+)\r", BOOT)[1] == b"0"
    machine.expect("tenant1", "tenant: end", BOOT)


def test_memory_comes_clean_to_its_next_owner(machine):
    machine.expect("tenant2", r"tenant: look\?", BOOT) if not machine.partitions["tenant2"].cursor else None
    machine.restart("tenant2")
    assert machine.expect("tenant2", r"left behind in my memory: (\d+)\r", BOOT)[1] == b"0"


def test_a_triple_fault_ends_that_guest_alone(machine):
    machine.expect("crash", "crash: now", BOOT)
    machine.wait_state("crash", PartitionState.CRASHED, BOOT)
    assert "triple fault" in machine.partitions["crash"].state_text.lower() + machine.text(HYPERVISOR).lower()
    machine.expect("pulse", r"pulse \d+", BOOT)
    for _ in range(3):
        machine.expect("pulse", r"pulse \d+", BOOT)
    assert "survived" not in machine.text("crash")


def test_the_state_of_a_dead_guest_can_be_read(machine):
    machine.wait_state("crash", PartitionState.CRASHED, BOOT)
    machine.dump("crash")
    machine.expect(HYPERVISOR, r"(?i)rip[ =:]+(0x)?0*1[0-9a-f]{5}\b", BOOT)
    assert "crash: now" in machine.text("crash")


def test_a_dead_guest_can_be_started_again(machine):
    machine.wait_state("crash", PartitionState.CRASHED, BOOT)
    lives = machine.text("crash").count("crash: now")
    machine.restart("crash")
    machine.expect("crash", "(?s)" + "crash: now.*" * lives + "crash: now" if machine.partitions["crash"].cursor == 0
                   else "crash: now", BOOT)
