# SPDX-License-Identifier: Apache-2.0
"""Guests that start as a PC does: SeaBIOS, sgabios as the screen, and tests/system/floppy/floppy.S to boot."""
import pytest
from lab import BOOT, HYPERVISOR, LINUX, PartitionState, boot

FLOPPY = "tests/floppy.img"


def bios(name, **keys):
    lines = {"memory": "16M", "loader": "bios", "firmware": "seabios.bin", "vgabios": "sgabios.bin", **keys}
    return f"[{name}]\n" + "".join(f"{key.replace('_', '-')} = {value}\n" for key, value in lines.items())


@pytest.fixture(scope="module")
def machine():
    config = (bios("floppy", floppy=FLOPPY) + bios("smp", floppy=FLOPPY, vcpus=3, debug_console="yes")
              + bios("menu", floppy=FLOPPY, boot_menu=2) + bios("odd", floppy="odd") + bios("none", firmware="odd"))
    with boot(config, cpus=2, files={"odd": b"this is no floppy, and no firmware\n" * 99}) as session:
        yield session


def ask(machine, key, answer):
    """What the program answers to a key; its word for failure ends the wait."""
    machine.send("floppy", key, BOOT)
    return machine.expect("floppy", answer + r"|floppy: FAILED", BOOT)[0].decode()


def test_firmware_and_floppy_show_on_the_console(machine):
    machine.expect("floppy", r"SeaBIOS \(version .*\)", BOOT)
    machine.expect("floppy", "Booting from Floppy", BOOT)
    machine.expect("floppy", "floppy: booted from drive 0000, base memory 027E, shape 4F12", BOOT)
    machine.expect("floppy", "floppy: ready", BOOT)


def test_typed_keys_reach_a_program_that_waits_in_int_16h(machine):
    machine.send("floppy", 'The quick (brown) Fox!? #"~|\r', BOOT)
    machine.expect("floppy", r'THE QUICK \(BROWN\) FOX!\? #"~\|\r', BOOT)


@pytest.mark.parametrize("key, answer", [
    ("1", "floppy: sectors good"), ("2", "floppy: map good"), ("3", "floppy: big real mode good"),
    ("4", "floppy: screen good"), ("5", "floppy: read-only area good"), ("6", "floppy: ticks good"),
])
def test_services(machine, key, answer):
    assert ask(machine, key, answer) == answer


def test_the_operator_sees_what_stands_on_the_screen(machine):
    machine.screen("floppy")
    machine.expect(HYPERVISOR, r"This is on the screen, and nowhere else\.", BOOT)


def test_the_processor_goes_on_after_a_reset_by_the_keyboard_controller(machine):
    assert ask(machine, "7", "floppy: resumed after the reset") == "floppy: resumed after the reset"
    machine.send("floppy", "still alive\r", BOOT)
    machine.expect("floppy", "STILL ALIVE", BOOT)


@pytest.mark.parametrize("key", ["8", "9"])
def test_a_reset_of_the_machine_comes_back_to_the_firmware(machine, key):
    ask(machine, key, "SeaBIOS")
    machine.expect("floppy", "floppy: ready", BOOT)


def test_firmware_finds_the_machine(machine):
    machine.expect("smp", r"Running on QEMU \(i440fx\)", BOOT)
    machine.expect("smp", r"Found 3 cpu\(s\) max supported 3 cpu\(s\)", BOOT)
    machine.expect("smp", "Copying MPTABLE", BOOT)
    machine.expect("smp", r"table\(50434146\)=0x\w+ \(via xsdt\)", BOOT)
    machine.expect("smp", "PS2 keyboard initialized", BOOT)
    machine.expect("smp", "floppy: ready", BOOT)


def test_the_boot_menu_waits_as_long_as_it_was_told(machine):
    machine.expect("menu", "Press ESC for boot menu", BOOT)
    machine.expect("menu", "floppy: ready", BOOT)
    assert "Press ESC" not in machine.text("floppy")


@pytest.mark.parametrize("guest, why", [
    ("odd", "guest odd: floppy odd: expected the size of a floppy, such as 1474560 bytes, found 3465"),
    ("none", "guest none: firmware odd: expected whole pages, 64 to 2048 KiB, found 3465 bytes"),
])
def test_refusals(machine, guest, why):
    machine.partitions[HYPERVISOR].cursor = 0
    machine.expect(HYPERVISOR, why, BOOT)
    machine.wait_state(guest, PartitionState.CRASHED, BOOT)


def test_grub_on_a_floppy_starts_memtest():
    with boot(bios("memtest", memory="8M", floppy="tests/memtest.img")) as machine:
        machine.expect("memtest", "GRUB loading", BOOT)
        machine.expect("memtest", r"Memtest86\+ v6", LINUX)
        machine.expect("memtest", r"#\d  \[", LINUX)
