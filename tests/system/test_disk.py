# SPDX-License-Identifier: Apache-2.0
"""Guests with disks: SeaBIOS boots tests/system/disk/disk.S, which uses its disk by INT 13h and by its ports."""
import pytest
from lab import BOOT, HYPERVISOR, PartitionState, boot, paths

DISK = "tests/disk.img"


def guest(name, **keys):
    lines = {"memory": "16M", "loader": "bios", "firmware": "seabios.bin", "vgabios": "sgabios.bin", **keys}
    return f"[{name}]\n" + "".join(f"{key.replace('_', '-')} = {value}\n" for key, value in lines.items())


@pytest.fixture(scope="module")
def machine():
    whole = (paths.GUESTS / DISK).read_bytes()
    config = (guest("disk", disk=DISK) + guest("readonly", disk=DISK, disk_memory=0)
              + guest("cut", disk="cut.img") + guest("none", disk="missing.img"))
    with boot(config, cpus=2, files={"cut.img": whole[:-100]}) as session:
        yield session


def ask(machine, name, key, answer):
    """What the program answers to a key; its word for failure ends the wait."""
    machine.send(name, key, BOOT)
    return machine.expect(name, answer + r"|disk: FAILED", BOOT)[0].decode()


def test_firmware_boots_a_disk(machine):
    machine.expect("disk", "Booting from Hard Disk", BOOT)
    machine.expect("disk", "disk: booted from drive 0080, start 0001, shape 003F0F01", BOOT)
    machine.expect("disk", "disk: ready", BOOT)


def test_the_disk_ends_where_it_ends(machine):
    assert ask(machine, "disk", "1", "disk: ends good") == "disk: ends good"


def test_small_drivers_find_their_ports_and_interrupt(machine):
    assert ask(machine, "disk", "2", "disk: ports good") == "disk: ports good"
    machine.expect(HYPERVISOR, f"guest disk: disk {DISK}: a read of sector 2017 fails: it ends before that", BOOT)


def test_what_was_written_outlives_a_reset_and_no_restart(machine):
    machine.send("disk", "9", BOOT)
    machine.expect("disk", "start 0002", BOOT)
    machine.expect("disk", "disk: ready", BOOT)
    assert ask(machine, "disk", "3", "disk: all of it was written") == "disk: all of it was written"
    machine.restart("disk", BOOT)
    machine.expect("disk", "start 0001", BOOT)


def test_a_disk_without_memory_takes_no_writes(machine):
    machine.expect("readonly", "start 0001", BOOT)
    machine.expect("readonly", "disk: ready", BOOT)
    assert ask(machine, "readonly", "3", "disk: a write failed") == "disk: a write failed"
    machine.partitions[HYPERVISOR].cursor = 0
    machine.expect(HYPERVISOR, f"guest readonly: disk {DISK}: a write of sector 10 fails: it takes no writes", BOOT)


def test_a_truncated_image_is_named_and_its_last_sector_fails(machine):
    machine.expect("cut", "disk: ready", BOOT)
    assert ask(machine, "cut", "1", "disk: ends good") == "disk: FAILED"
    machine.partitions[HYPERVISOR].cursor = 0
    machine.expect(HYPERVISOR, "guest cut: disk cut.img: 1032604 bytes are no whole number of sectors", BOOT)
    machine.expect(HYPERVISOR, "guest cut: disk cut.img: a read of sector 2016 fails: it ends before that", BOOT)


def test_an_image_that_is_no_boot_module_is_refused(machine):
    machine.wait_state("none", PartitionState.CRASHED, BOOT)
    machine.partitions[HYPERVISOR].cursor = 0
    machine.expect(HYPERVISOR, "guest none: disk missing.img is not among the boot modules", BOOT)
