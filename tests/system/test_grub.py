# SPDX-License-Identifier: Apache-2.0
"""Guests that firmware and GRUB boot, from a hard disk, a disc and a floppy, beside a Linux that is loaded directly: all on one
machine, each in a partition of its own."""
import hashlib

import pytest
from lab import BOOT, LINUX, PROMPT, PartitionState, boot, linux, paths
from test_bios import bios

DISK, DISC = "tests/linux.img", "tests/menu.iso"


@pytest.fixture(scope="module")
def machine():
    config = (bios("disk", memory="160M", disk=DISK, cdrom=DISC, cpus=0)
              + bios("disc", memory="32M", cdrom=DISC, cpus=1, debug_exit="yes")
              + bios("ipxe", floppy="tests/ipxe.img", cpus=1) + linux("direct", cpus=1))
    with boot(config, cpus=2, memory=768) as session:
        yield session


def test_grub_on_a_disc_has_a_menu(machine):
    machine.expect("disc", "Booting from DVD/CD", BOOT)
    machine.expect("disc", r"\*Memory test", LINUX)
    machine.send("disc", "\x1b[B", LINUX)
    machine.expect("disc", r"\*Multiboot", LINUX)
    machine.send("disc", "\r", LINUX)
    machine.expect("disc", "multiboot eax 2badb002", LINUX)
    machine.expect("disc", "loader <GRUB 2", LINUX)
    machine.expect("disc", "string <menu>", LINUX)
    machine.expect("disc", "report: end", LINUX)
    assert machine.wait_guest_end("disc", LINUX) == PartitionState.EXITED


def test_grub_on_a_floppy_starts_ipxe(machine):
    machine.expect("ipxe", "iPXE initialising devices", LINUX)
    machine.expect("ipxe", "Press Ctrl-B for the iPXE command line", LINUX)
    machine.send("ipxe", "\x02", LINUX)
    machine.expect("ipxe", "iPXE> ", LINUX)


def test_grub_on_a_hard_disk_starts_linux(machine):
    machine.expect("disk", "Booting from Hard Disk", BOOT)
    machine.expect("disk", "Booting `Debian'", LINUX)
    machine.expect("disk", "bulkhead-guest: ready", LINUX)
    assert "disk: mounted" in machine.text("disk") and "disc: mounted" in machine.text("disk")
    machine.expect("disk", PROMPT, LINUX)
    assert "from a disk" in machine.command("disk", "echo from a $(ls -d /disk/ | tr -d /)", timeout=LINUX)


def test_linux_reads_the_drives_that_it_came_from(machine):
    for mounted, file in (("disk/boot/initramfs.cpio", "tests/linux.cpio"), ("disc/boot/report.elf", "tests/report.elf")):
        expected = hashlib.md5((paths.GUESTS / file).read_bytes()).hexdigest()
        assert expected in machine.command("disk", f"md5sum /{mounted}", timeout=LINUX)


def test_linux_writes_to_its_disk(machine):
    machine.command("disk", "cp /bin/busybox /disk/copy; umount /disk; mount -t ext2 /dev/sda1 /disk", timeout=LINUX)
    assert "they are the same" in machine.command(
        "disk", "cmp /bin/busybox /disk/copy && echo they are the $(echo same)", timeout=LINUX)


def test_a_linux_runs_beside_them(machine):
    machine.expect("direct", PROMPT, LINUX)
    assert "sum 42" in machine.command("direct", "echo sum $((6 * 7))", timeout=LINUX)


def test_each_has_its_partition(machine):
    machine.send("disk", "poweroff -f\r", LINUX)
    machine.wait_state("disk", PartitionState.OFF, LINUX)
    for name in ("ipxe", "direct"):
        assert machine.partitions[name].state == PartitionState.RUNNING
    machine.type("ipxe", "echo ${platform} still here", LINUX)
    machine.send("ipxe", "\r", LINUX)
    machine.expect("ipxe", "pcbios still here", LINUX)
    assert "Linux" in machine.command("direct", "uname", timeout=LINUX)
    machine.quit()
    assert machine.gaps == 0
