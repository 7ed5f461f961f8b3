# SPDX-License-Identifier: Apache-2.0
"""The two runs of an image: on the bare machine, and as a guest."""
import contextlib
import dataclasses
import os
import pathlib
import struct
import tempfile

from harness import account, guests_conf, image, machine, paths
from harness.session import CONSOLE, HYPERVISOR, Died, PartitionState, Session, SessionError

from .description import FIRMWARE

HYPERVISOR_MEMORY = 128  # MiB, for the hypervisor and what GRUB leaves behind
MAX_DISK_MEMORY = 256  # MiB
QUIT_PATIENCE = 60
# Until a bare machine, stopped at its debug exit, has sent the rest of what it wrote: seconds without a byte.
DRAIN = 0.5


@dataclasses.dataclass
class Outcome:
    text: str = ""
    problem: str = None  # why the run does not count
    status: int = None  # of a debug exit
    switched_off: bool = False  # the machine went off, and what its UART still had went with it
    instructions: int = None
    account: dict = dataclasses.field(default_factory=dict)  # the hypervisor's: guest, root, idle, exits
    reasons: dict = dataclasses.field(default_factory=dict)  # exits by reason


# ---- what both have

def _wait_end(description, session, name, is_over):
    for step in description.send:
        if not session.expect(name, step.after.pattern, description.timeout_s, unless=is_over):
            break
        session.send(name, step.text, description.timeout_s)
    return session.wait_end_of(name, description.end_line, is_over, description.timeout_s)


def verdict(outcome, description):
    if outcome.problem is None and not description.passes.search(outcome.text.replace("\r", "")):
        outcome.problem = f"ended without its 'pass' ({description.passes.pattern!r})"
    return outcome


# ---- bare

def multiboot_entry(data):
    """Where GRUB enters a Multiboot 1 image: by its ELF header or, for the a.out kludge, by its Multiboot header."""
    header = next((at for at in range(0, min(len(data), 8192) - 11, 4)
                   if struct.unpack_from("<I", data, at)[0] == 0x1badb002
                   and sum(struct.unpack_from("<III", data, at)) & 0xffffffff == 0), None)
    if header is None:
        return None
    if struct.unpack_from("<I", data, header + 4)[0] & 0x10000:
        return struct.unpack_from("<I", data, header + 28)[0]
    return struct.unpack_from("<I", data, 24)[0] if data[:5] == b"\x7fELF\x01" else None


def _entry(description):
    """The physical address that the image starts at, and a condition that is true there alone; None where that is not known."""
    data = description.file.read_bytes()
    if description.loader == "linux":
        # The preferred load address of a relocatable kernel, else 1 MiB (Linux/x86 boot protocol).
        relocatable = len(data) > 0x260 and data[0x202:0x206] == b"HdrS" and data[0x234]
        return (struct.unpack_from("<Q", data, 0x258)[0] if relocatable else 0x100000), ""
    entry = multiboot_entry(data)
    return None if entry is None else (entry, ' if "eax == 0x2badb002"')


def _bare_image(description):
    boot_image = image.Image()
    words = description.cmdline.split()
    if description.loader == "linux":
        boot_image.command("linux", boot_image.put(description.file), *words)
        if description.initrd:
            boot_image.command("initrd", boot_image.put(description.initrd))
        return boot_image
    if multiboot_entry(description.file.read_bytes()) is None:
        raise image.ImageError(f"{description.source}: file: GRUB boots a '{description.loader}' image bare by its "
                               f"Multiboot header, and {description.file.name} has none")
    boot_image.command("multiboot", boot_image.put(description.file), *words)
    for path, string in description.modules:
        boot_image.command("module", boot_image.put(path), *string.split())
    return boot_image


def _bare_machine(description, cpus):
    """The settings of the machine, and the image that GRUB boots there, or a context without one."""
    common = {"machine": "bochs", "cpus": cpus, "one_package": cpus > 1, "memory": description.memory}
    if description.loader in FIRMWARE:
        firmware = {"bios": description.firmware} if description.loader == "uefi" else {"option_rom": description.vgabios}
        # One step, so that what is counted begins at the reset.
        return machine.Settings(**common, **firmware, debugger=("s", "c"), strict_msrs=False, drives=description.drives,
                                floppy=description.floppy, show_debug_exit=True), contextlib.nullcontext()
    entry = _entry(description)
    commands = (f"pb 0x{entry[0]:x}{entry[1]}", "c", "d 1", "c") if entry else ("c",)
    return machine.Settings(**common, debugger=commands, strict_msrs=description.loader != "linux",
                            show_debug_exit=description.loader in ("multiboot", "flat")), \
        image.quick_disc(_bare_image(description))


def run_bare(description, cpus, log):
    settings, disc = _bare_machine(description, cpus)
    outcome = Outcome()
    with disc as path, Session(settings, path, framed=False, log=log) as session:
        emulator = session.emulator
        try:
            outcome.text, by_regex = _wait_end(description, session, CONSOLE,
                                               lambda: session.over or emulator.debug_exit)
            if not by_regex:
                session.wait_quiet(DRAIN)
                outcome.text, by_regex = session.wait_end_of(CONSOLE, description.end_line, lambda: True, DRAIN)
            outcome.switched_off = emulator.powered_off
            outcome.status = emulator.debug_exit
            if not by_regex:
                _how_bare_ended(outcome, description, emulator)
        except SessionError as error:
            outcome.text = session.text(CONSOLE)
            outcome.problem = str(error).split("\n", 1)[0]
        outcome.instructions = emulator.instructions()
    return verdict(outcome, description)


def _how_bare_ended(outcome, description, emulator):
    if not outcome.switched_off and outcome.status is None:
        outcome.problem = f"the machine ended: {emulator.reason()}"
    elif not (description.end == "debug-exit" and outcome.status is not None
              or description.end == "power-off" and outcome.switched_off):
        outcome.problem = "ended before its 'end'"


# ---- as a guest

def _disk_memory(description):
    """MiB in which all that the disks hold can be written anew, within reason."""
    size = sum(path.stat().st_size for path in description.disks)
    return min((size >> 20) + 2 & ~1, MAX_DISK_MEMORY) if size else 0


def guest_config(description, cpus, directory, extra):
    """guests.conf in a directory, beside links to the files that it names."""
    def link(name, path):
        (directory / name).symlink_to(path)
        return name

    keys = {"memory": f"{description.memory}M", "vcpus": cpus, "loader": description.loader, "paravirt": "none",
            "serial-pace": "yes"}
    cmdline = description.cmdline
    if description.loader == "linux":
        cmdline = f"BOOT_IMAGE=/boot/00 {cmdline}".rstrip()  # as GRUB has it
    if cmdline and description.loader != "flat":
        keys["cmdline"] = cmdline
    for key, path in (("kernel", description.file), ("initrd", description.initrd), ("firmware", description.firmware),
                      ("vgabios", description.vgabios), ("floppy", description.floppy)):
        if path:
            keys[key] = link(key, path)
    if description.loader != "linux":
        keys["debug-exit"] = "yes"  # the bare emulator has a switch at port 8900h
    if disks := _disk_memory(description):
        keys["disk-memory"] = f"{disks}M"
    keys.update(extra)
    lines = [f"{key} = {value}" for key, value in keys.items()]
    lines += [f"{kind} = {link(f'{kind}{number}', path)}" for number, (kind, path) in enumerate(description.drives)]
    lines += [f"module = {link(f'module{number}', path)} {string}".rstrip()
              for number, (path, string) in enumerate(description.modules)]
    config = directory / "guests.conf"
    config.write_text(f"[{description.name}]\n" + "".join(line + "\n" for line in lines))
    return config


def run_guest(description, cpus, log, host_cpus=None, options=(), extra=None):
    name = description.name
    outcome = Outcome()
    with tempfile.TemporaryDirectory(prefix="bulkhead-guest-") as directory:
        guests = guests_conf.load(guest_config(description, cpus, pathlib.Path(directory), extra or {}))
        try:
            guests.check()
        except guests_conf.ConfigError as error:
            outcome.problem = f"no such guest can be configured: {error}"
            return outcome
        boot_image = image.hypervisor_image(paths.HYPERVISOR, guests, ["console=framed", *options])
        files = sum(os.path.getsize(path) for path in guests.modules.values())
        memory = description.memory + _disk_memory(description) + HYPERVISOR_MEMORY + 2 * (files >> 20)
        settings = machine.Settings(machine="bochs", cpus=host_cpus or cpus, memory=memory)
        with image.quick_disc(boot_image) as path, Session(settings, path, guests=guests.names, log=log) as session:
            partition = session.partitions[name]
            try:
                outcome.text, by_regex = _wait_end(description, session, name, partition.ended)
                if not by_regex:
                    _how_it_ended(outcome, description, partition)
                session.quit(QUIT_PATIENCE)
            except Died as error:
                outcome.text = session.text(name)
                outcome.problem = f"the hypervisor died: {error}"
            except SessionError as error:
                outcome.text = session.text(name)
                outcome.problem = str(error).split("\n", 1)[0]
            outcome.account, outcome.reasons = account.parse(name, session.text(HYPERVISOR))
            outcome.instructions = outcome.account.get("ticks")
    return verdict(outcome, description)


def _how_it_ended(outcome, description, partition):
    outcome.status = partition.status
    if partition.state == PartitionState.EXITED:
        expected = description.end == "debug-exit" or (description.end == "power-off" and partition.status == 0)
    else:
        expected = description.end == "power-off" and partition.state_text == "powered off"
    if not expected:
        what = f"exited with status {partition.status}" if partition.status is not None else partition.state_text
        outcome.problem = f"the guest {what}"
