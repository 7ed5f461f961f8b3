# SPDX-License-Identifier: Apache-2.0
"""Multiboot kernels, and the devices that are there only for tests: tests/system/multiboot/report.cpp prints what it finds."""
import json
import re

import pytest
from lab import BOOT, HYPERVISOR, PartitionState, boot, configuration, flat, paths, run


def multiboot(name, file="report.elf", **keys):
    return flat(name, "", **{"loader": "multiboot", "kernel": f"tests/{file}", **keys})


MODULES = "module = tests/pulse.bin first -v # no comment\nmodule = tests/echo.bin\n"
DEVICES = {"fw_cfg": "yes", "debug_exit": "yes", "debug_console": "yes", "test_device": "yes"}


@pytest.fixture(scope="module")
def machine():
    config = (multiboot("full", memory="16M", cmdline="one two=3", **DEVICES) + MODULES
              + multiboot("plain", "addressed.bin") + multiboot("cut", kernel="cut") + multiboot("none", "pulse.bin", kernel="text")
              + multiboot("small", memory="2M") + "module = big\n")
    files = {"cut": (paths.GUESTS / "tests/report.elf").read_bytes()[:5000], "text": b"this is no kernel\n" * 100,
             "big": bytes(2 << 20)}
    with boot(config, files=files) as session:
        session.expect("full", "report: end", BOOT)
        session.expect("plain", "report: end", BOOT)
        yield session


def test_registers_and_information(machine):
    text = machine.text("full")
    assert "eax 2badb002 flags 0000024d lower 0000027f upper 00003c00" in text
    assert "cr0 00000011 cr4 00000000 eflags 00000002 cs 0010 ds 0018 ss 0018" in text
    assert "cmdline <one two=3>" in text
    assert "loader <Bulkhead>" in text


def test_modules_with_their_strings(machine):
    found = re.findall(r"module start (\w+) size (\w+) sum (\w+) string <(.*)>", machine.text("full"))
    files = [(paths.GUESTS / f"tests/{name}.bin").read_bytes() for name in ("pulse", "echo")]
    assert [(int(size, 16), int(total, 16)) for _, size, total, _ in found] == [(len(f), sum(f)) for f in files]
    assert [string for *_, string in found] == ["first -v # no comment", ""]
    assert all(int(start, 16) % 4096 == 0 for start, *_ in found)


def test_the_memory_map(machine):
    found = re.findall(r"map base (\w+) length (\w+) type (\d)", machine.text("plain"))
    usable = [(int(base, 16), int(length, 16)) for base, length, kind in found if kind == "1"]
    assert usable == [(0, 0x9fc00), (1 << 20, 3 << 20)]


def test_the_debug_exit_ends_the_guest_with_its_status(machine):
    assert machine.wait_state("full", PartitionState.EXITED, BOOT) == "43"
    machine.expect(HYPERVISOR, "guest full: exited with status 43", BOOT)
    assert machine.results()["full"]["status"] == 43


def test_devices_for_tests(machine):
    assert "\ndebug console\r\n" in machine.text("full")
    assert "test device loop 12abcd78 ram 0001cafe" in machine.text("full")


def test_the_firmware_configuration_device(machine):
    assert f"fw_cfg id 00000003 cpus 0001 ram {16 << 20:016x} error 0 cmdline <one two=3>" in machine.text("full")
    assert "fw_cfg file <etc/e820>" in machine.text("full")
    assert "fw_cfg" not in machine.text("plain")


def test_tables_are_where_kernels_look(machine):
    assert "tables rsdp 000f0000 mp 000f1000 ebda 9fc0" in machine.text("plain")


def test_they_are_not_there_unless_asked_for(machine):
    assert "debug console" not in machine.text("plain")
    assert "test device loop ffffffff ram ffffffff" in machine.text("plain")
    assert machine.partitions["plain"].state == PartitionState.RUNNING


@pytest.mark.parametrize("guest, why", [
    ("cut", "kernel cut: the kernel is truncated: its segment 0 is"),
    ("none", "kernel text: the kernel has no Multiboot header in its first 1800 bytes"),
    ("small", "kernel tests/report.elf: not enough memory: module 1 of 2048 KiB does not fit behind the kernel"),
])
def test_refusals(machine, guest, why):
    machine.partitions[HYPERVISOR].cursor = 0
    machine.expect(HYPERVISOR, re.escape(f"guest {guest}: {why}"), BOOT)


def test_a_debug_console_without_room_holds_its_guest_up_and_loses_nothing():
    with boot(multiboot("spout", "spout.elf", debug_exit="yes", debug_console="yes") + flat("pulse", "pulse")) as session:
        session.wait_state("spout", PartitionState.EXITED, BOOT)
        assert [int(number) for number in re.findall(r"spout (\d+) \.{47}\r\n", session.text("spout"))] == list(range(2400))
        session.expect("pulse", r"pulse \d+", BOOT)


def test_the_status_is_written_for_other_programs(tmp_path):
    with configuration(multiboot("full", **DEVICES)) as config:
        done = run("--headless", "--machine", "bochs", "--cpus", "1", "--guests", config, "--log", tmp_path,
                   "--timeout", BOOT, "--until", "full=report: end", "--until-end", "full")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "results.json").read_text()) == {"full": {"state": "exited", "text": "43", "status": 43}}
