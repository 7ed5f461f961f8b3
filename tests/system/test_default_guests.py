# SPDX-License-Identifier: Apache-2.0
"""The guests of `make run` on two CPUs, all together: two Debian kernels and the heartbeat."""
import re

import pytest
from lab import BOOT, HYPERVISOR, LINUX, PROMPT, Ended, PartitionState, boot, paths

LINUXES = ("linux1", "linux2")


@pytest.fixture(scope="module")
def machine():
    with boot(paths.DEFAULT_CONFIG, cpus=2) as session:
        yield session


def shell(machine, guest):
    """The guest with a shell at its prompt, whatever a test before did to it."""
    if machine.partitions[guest].state == PartitionState.OFF:
        machine.restart(guest)
        machine.wait_state(guest, PartitionState.RUNNING)
    if guest not in machine.__dict__.setdefault("at_prompt", set()):
        machine.expect(guest, PROMPT, LINUX)
        machine.at_prompt.add(guest)


def leaves_prompt(machine, guest):
    machine.at_prompt.discard(guest)


def test_boot_prints_one_summary(machine):
    machine.expect(HYPERVISOR, r"\d+ CPUs, \d+ MiB for guests", BOOT)
    summary = machine.text(HYPERVISOR)
    for word in ("2 CPUs", "MiB", "EPT", "VPID", "unrestricted guest", *LINUXES, "heartbeat"):
        assert word in summary


@pytest.mark.parametrize("guest", LINUXES)
def test_the_command_line_is_the_console_and_no_more(machine, guest):
    shell(machine, guest)
    assert machine.command(guest, "cat /proc/cmdline").strip() == "console=ttyS0"


@pytest.mark.parametrize("guest", LINUXES)
def test_uname(machine, guest):
    shell(machine, guest)
    assert re.search(r"^Linux .* x86_64 GNU/Linux$", machine.command(guest, "uname -a"), re.MULTILINE)


@pytest.mark.parametrize("guest", LINUXES)
def test_interrupts_arrive(machine, guest):
    shell(machine, guest)
    interrupts = machine.command(guest, "cat /proc/interrupts")
    counts = {words[0]: int(words[1]) for words in map(str.split, interrupts.splitlines())
              if len(words) > 1 and words[1].isdigit()}
    assert counts["4:"] > 0, "the UART's"
    assert counts["LOC:"] > 0, "the local APIC timer's"
    assert counts["ERR:"] == 0


@pytest.mark.parametrize("guest", LINUXES)
def test_the_kernel_complains_of_nothing(machine, guest):
    shell(machine, guest)
    log = machine.text(guest)
    # On its processor's vulnerabilities a kernel has a word on the bare machine too.
    assert not re.search(r"Call Trace|BUG:|(?<!RETBleed: )WARNING:|soft lockup|clocksource: .*unstable|nobody cared|Kernel panic", log)


def test_the_heartbeat_goes_on_beside_them(machine):
    for guest in LINUXES:
        shell(machine, guest)
    for _ in range(3):
        machine.expect("heartbeat", r"heartbeat \d+", BOOT)


def test_reboot(machine):
    shell(machine, "linux1")
    leaves_prompt(machine, "linux1")
    machine.send("linux1", "reboot -f\r")
    machine.expect("linux1", "Linux version", LINUX)
    shell(machine, "linux1")
    assert "Linux" in machine.command("linux1", "uname -a")


def test_power_off_and_start_again(machine):
    shell(machine, "linux2")
    leaves_prompt(machine, "linux2")
    machine.send("linux2", "poweroff -f\r")
    machine.wait_state("linux2", PartitionState.OFF, BOOT)
    machine.expect("heartbeat", r"heartbeat \d+", BOOT)
    # Its last words can still be read.
    assert "Power down" in machine.text("linux2")
    shell(machine, "linux2")
    assert "Linux" in machine.command("linux2", "uname -a")


def test_a_running_guest_is_restarted_by_the_operator(machine):
    shell(machine, "linux1")
    leaves_prompt(machine, "linux1")
    machine.command("linux1", "touch /tmp/trace")
    machine.restart("linux1")
    machine.expect("linux1", "Linux version", LINUX)
    shell(machine, "linux1")
    assert "No such file" in machine.command("linux1", "ls /tmp/trace")


def test_nothing_was_lost_on_the_console_link(machine):
    assert machine.gaps == 0


def test_leaving_switches_the_machine_off(machine):
    machine.quit()
    with pytest.raises(Ended):
        machine.expect("heartbeat", "never", 5)
