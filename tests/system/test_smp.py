# SPDX-License-Identifier: Apache-2.0
"""Guests with several vCPUs: a program on the bare machine, with as many CPUs as vCPUs and with fewer."""
import pytest
from lab import BOOT, HYPERVISOR, LINUX, PartitionState, boot, flat


@pytest.mark.parametrize("cpus, vcpus, apic_virtualization",
                         [(2, 4, "yes"), (2, 4, "no"), (1, 2, "yes"), (1, 4, "yes"), (4, 4, "yes"), (2, 16, "yes")])
def test_signals_between_processors(cpus, vcpus, apic_virtualization):
    with boot(flat("smp", "smp", vcpus=vcpus, apic_virtualization=apic_virtualization), cpus=cpus) as machine:
        assert int(machine.expect("smp", r"processors (\d+)", BOOT)[1]) == vcpus
        assert int(machine.expect("smp", r"failures (\d+)", LINUX)[1]) == 0, machine.text("smp")
        assert "FAIL" not in machine.text("smp")


class TestTheEndOfASeveralProcessorGuest:
    @pytest.fixture(scope="class")
    def two(self):
        with boot(flat("smp", "smp", vcpus=4) + flat("pulse", "pulse"), cpus=2) as session:
            yield session

    def end(self, machine, key):
        machine.expect("smp", r"how\?", LINUX)
        machine.send("smp", key)

    def test_reset_by_an_application_processor(self, two):
        self.end(two, "r")
        two.expect(HYPERVISOR, "guest smp: reset", BOOT)
        two.expect("smp", "processors 4", BOOT)

    def test_init_of_the_bootstrap_processor_resets(self, two):
        self.end(two, "b")
        two.expect(HYPERVISOR, "guest smp: reset", BOOT)
        two.expect("smp", "processors 4", BOOT)

    def test_a_triple_fault_of_one_ends_the_guest_alone(self, two):
        self.end(two, "t")
        two.wait_state("smp", PartitionState.CRASHED, BOOT)
        assert "guest smp vCPU 3: triple fault" in two.text(HYPERVISOR)
        for _ in range(2):
            two.expect("pulse", r"pulse \d+", BOOT)

    def test_what_failed_can_be_read(self, two):
        two.dump("smp")
        two.expect(HYPERVISOR, r"(?s)vCPU 3: triple fault.*vCPU 3: triple fault", BOOT)

    def test_it_starts_again_and_powers_off(self, two):
        two.restart("smp")
        self.end(two, "p")
        two.wait_state("smp", PartitionState.OFF, BOOT)
        two.expect("pulse", r"pulse \d+", BOOT)

    def test_the_operator_ends_it_while_all_run(self, two):
        two.restart("smp")
        two.expect("smp", "TSC is the same", LINUX)
        two.restart("smp")
        two.expect("smp", "processors 4", BOOT)
