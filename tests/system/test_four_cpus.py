# SPDX-License-Identifier: Apache-2.0
"""Three guests on four CPUs, and their time."""
import pytest
from lab import LINUX, PROMPT, TICKS_PER_SECOND, boot, flat, linux
from harness.machine import BOCHS_START_OF_TIME

GUESTS = linux("linux1", initrd="tests/initramfs.cpio") + linux("linux2", initrd="tests/initramfs.cpio") \
    + flat("pulse", "pulse")


@pytest.fixture(scope="module")
def machine():
    with boot(GUESTS, cpus=4) as session:
        for guest in ("linux1", "linux2"):
            session.expect(guest, PROMPT, LINUX)
        yield session


@pytest.mark.parametrize("guest", ["linux1", "linux2"])
def test_each_reaches_its_shell(machine, guest):
    assert "Linux" in machine.command(guest, "uname -a")


def test_the_third_runs_too(machine):
    machine.expect("pulse", "pulse [0-9]+", LINUX)
    machine.expect("pulse", "pulse [0-9]+", LINUX)


def clocks(machine):
    """The machine's clock and the guest's, in seconds."""
    tsc, uptime = machine.command("linux1", "tsc; cat /proc/uptime").split()[:2]
    return int(tsc) / TICKS_PER_SECOND, float(uptime)


def test_time_is_kept_within_one_percent(machine):
    machine_before, guest_before = clocks(machine)
    machine.command("linux1", "sleep 10", timeout=LINUX)
    machine_after, guest_after = clocks(machine)
    passed = machine_after - machine_before
    assert passed >= 10
    assert guest_after - guest_before == pytest.approx(passed, rel=0.01)


def test_a_timer_is_not_late(machine):
    before, _ = clocks(machine)
    machine.command("linux1", "sleep 2", timeout=LINUX)
    after, _ = clocks(machine)
    assert 2 <= after - before < 2.5


def test_the_date_is_the_machines(machine):
    date = int(machine.command("linux1", "date +%s").split()[0])
    since_power_on, _ = clocks(machine)
    assert date == pytest.approx(BOCHS_START_OF_TIME + since_power_on, abs=60)
