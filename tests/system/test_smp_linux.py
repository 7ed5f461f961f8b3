# SPDX-License-Identifier: Apache-2.0
"""Debian's kernel with four vCPUs, on two CPUs and on one."""
import os
import re

import pytest
from lab import BOOT, HYPERVISOR, LINUX, PROMPT, TICKS_PER_SECOND, PartitionState, boot, flat, linux

# Emulated seconds of load. `make soak` gives it two minutes, which take ten to twenty of the wall clock.
SOAK = int(os.environ.get("BULKHEAD_SOAK", "10"))
COMPLAINTS = r"soft lockup|watchdog|clocksource.*(unstable|wrong)|tsc.*(unstable|warp)|rcu.*stall|time went backwards" \
             r"|call trace|BUG:|hung task|unhandled nmi|spurious"


def smp_linux(name="linux", **keys):
    # The kernel's cryptographic self-tests are most of its boot, and nothing of what is tested here.
    return linux(name, memory="192M", vcpus=4, initrd="tests/initramfs.cpio",
                 cmdline="console=ttyS0 cryptomgr.notests", **keys)


def row(interrupts, name):
    """The counts of one line of /proc/interrupts, a CPU each."""
    line = next(line.split() for line in interrupts.splitlines() if line.split()[:1] == [f"{name}:"])
    return [int(word) for word in line[1:] if word.isdigit()]


def four_processors_work(machine):
    assert machine.command("linux", "nproc").strip() == "4"
    for cpu in range(4):
        assert machine.command("linux", f"taskset {1 << cpu:x} grep -c processor /proc/cpuinfo").strip() == "4"


@pytest.fixture(scope="class")
def machine():
    with boot(smp_linux() + flat("pulse", "pulse"), cpus=2) as session:
        session.expect("linux", PROMPT, LINUX)
        yield session


class TestLinuxOnTwoCpus:
    def test_it_brings_up_its_four_processors(self, machine):
        assert "4 vCPUs, linux, console 1, CPU 0, 1" in machine.text(HYPERVISOR)
        assert "Brought up 1 node, 4 CPUs" in machine.text("linux")
        four_processors_work(machine)

    def test_the_topology_is_four_cores_of_one_package(self, machine):
        info = machine.command("linux", "cat /proc/cpuinfo")
        values = {key: re.findall(rf"^{key}\s*: (.*?)\r?$", info, re.MULTILINE) for key in
                  ("physical id", "siblings", "core id", "cpu cores", "apicid")}
        assert values == {"physical id": ["0"] * 4, "siblings": ["4"] * 4, "core id": ["0", "1", "2", "3"],
                          "cpu cores": ["4"] * 4, "apicid": ["0", "1", "2", "3"]}

    def test_interrupts_between_processors_reach_each(self, machine):
        machine.command("linux", "storm 1", timeout=LINUX)
        interrupts = machine.command("linux", "cat /proc/interrupts")
        for name in ("LOC", "RES", "CAL", "TLB"):
            assert all(count > 0 for count in row(interrupts, name)), name
        assert sum(row(interrupts, "ERR")) == 0

    def test_a_processor_goes_and_comes_back(self, machine):
        for cpu in (3, 1, 2):
            switch = f"/sys/devices/system/cpu/cpu{cpu}/online"
            assert machine.command("linux", f"echo 0 > {switch}; nproc", timeout=LINUX).strip().endswith("3")
            assert machine.command("linux", f"echo 1 > {switch}; nproc", timeout=LINUX).strip().endswith("4")
        four_processors_work(machine)

    def test_the_neighbour_runs(self, machine):
        for _ in range(2):
            machine.expect("pulse", r"pulse \d+", BOOT)

    def test_load_on_all_of_them(self, machine):
        """Loops in four shells, page faults, TLB shootdowns and wake-ups, and then the clocks."""
        # In lines that the shell does not break when it echoes them.
        machine.command("linux", "f() { while :; do ls /sys; done >/dev/null; }")
        machine.command("linux", "f & f & f & f &")
        report = machine.command("linux", f"storm {SOAK}", timeout=300 + 15 * SOAK)
        machine.command("linux", "kill $(jobs -p); wait", timeout=LINUX)
        found = dict(re.findall(r"(\w+)=([\d,]+)", report))
        assert (found["threads"], found["falls"], found["astray"]) == ("4", "0", "0")
        assert all(int(count) > 0 for count in found["rounds"].split(","))
        passed = int(found["ticks"]) / TICKS_PER_SECOND
        assert passed >= SOAK
        # The guest's clock against the machine's: within a tick of its timer, which is 4 ms.
        assert int(found["ns"]) / 1e9 == pytest.approx(passed, abs=0.004)
        kernel_log = machine.command("linux", "dmesg", timeout=LINUX)
        since = kernel_log[kernel_log.index("Brought up"):]
        assert not re.findall(rf".*(?:{COMPLAINTS}).*", since, re.IGNORECASE)

    def test_it_reboots(self, machine):
        machine.send("linux", "reboot -f\r")
        machine.expect(HYPERVISOR, "guest linux: reset", BOOT)
        machine.expect("linux", "Brought up 1 node, 4 CPUs", LINUX)
        machine.expect("linux", PROMPT, LINUX)
        four_processors_work(machine)

    def test_it_powers_off(self, machine):
        machine.send("linux", "poweroff -f\r")
        machine.wait_state("linux", PartitionState.OFF, BOOT)
        machine.expect("pulse", r"pulse \d+", BOOT)


def test_linux_on_one_cpu():
    with boot(smp_linux(), cpus=1) as machine:
        machine.expect("linux", PROMPT, LINUX)
        four_processors_work(machine)
        assert "falls=0 astray=0" in machine.command("linux", "storm 1", timeout=LINUX)
        interrupts = machine.command("linux", "cat /proc/interrupts")
        assert all(count > 0 for count in row(interrupts, "TLB"))
        machine.send("linux", "poweroff -f\r")
        machine.wait_state("linux", PartitionState.OFF, BOOT)
