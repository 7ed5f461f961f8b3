# SPDX-License-Identifier: Apache-2.0
"""The machines that an image can boot on, and which of them this computer can offer."""
import ctypes
import dataclasses
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import threading

BOCHS_DEFAULT_MODEL = "corei7_skylake_x"
BOCHS_INSTRUCTIONS_PER_SECOND = 50_000_000
# Two runs of one image see the same clock, and with it execute the same instructions.
BOCHS_START_OF_TIME = 1_700_000_000
QEMU = "qemu-system-x86_64"
# As Bochs logs it, with its clock before it.
DEBUG_EXIT = re.compile(r"^(\d+)d\[.*unmapped: \d+-bit write to 00f4 = ([0-9a-f]+)", re.MULTILINE)
SHUTDOWN = "Shutdown port: shutdown requested"
INTERRUPT_PATIENCE = 10  # seconds
OPTION_ROM_AT = 0xd0000
ATA_CHANNELS = ((0x1f0, 0x3f0, 14), (0x170, 0x370, 15))
FLOPPIES = {160: "160k", 180: "180k", 320: "320k", 360: "360k", 720: "720k", 1200: "1_2", 1440: "1_44", 2880: "2_88"}  # KiB
KINDS = ("bochs", "qemu", "qemu-tcg")


class MachineError(Exception):
    pass


@dataclasses.dataclass
class Settings:
    machine: str = "auto"
    cpus: int = 2
    memory: int = 512  # MiB
    cpu_model: str = None
    real_time: bool = False  # keep an emulated clock from running ahead of the wall's: for a person at the console
    uefi: bool = False  # QEMU only
    stick: bool = False  # the image is a USB stick and no disc; QEMU only
    debugger: tuple = ("c",)  # commands for Bochs' debugger
    bios: str = "BIOS-bochs-latest"
    strict_msrs: bool = True  # an unknown MSR is a #GP as on hardware; Linux booted bare cannot take it on Bochs
    one_package: bool = False  # several CPUs are cores of one package, not packages; Bochs only
    show_debug_exit: bool = False  # note what is written to port 0F4h; Bochs only
    # What a machine has to boot from without an image. What is written to a disk is gone with the run. Bochs only.
    drives: tuple = ()  # at most 4 of ("disk" or "cdrom", path): primary master and slave, secondary master and slave
    floppy: pathlib.Path = None
    option_rom: pathlib.Path = None


def nested_vmx(cpu="host"):
    """Whether QEMU's KVM really gives a guest VT-x with EPT. /dev/kvm alone says nothing of it, so QEMU is asked."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK) or not shutil.which(QEMU):
        return False
    request = "".join(json.dumps(command) + "\n" for command in (
        {"execute": "qmp_capabilities"},
        {"execute": "query-cpu-model-expansion", "arguments": {"type": "full", "model": {"name": cpu}}},
        {"execute": "quit"}))
    try:
        answer = subprocess.run([QEMU, "-accel", "kvm", "-cpu", cpu, "-nodefaults", "-display", "none", "-S",
                                 "-qmp", "stdio"], input=request, capture_output=True, text=True, timeout=20,
                                check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    for line in answer.stdout.splitlines():
        try:
            properties = json.loads(line)["return"]["model"]["props"]
        except (ValueError, KeyError, TypeError):
            continue
        return all(properties.get(name) is True for name in ("vmx", "vmx-ept", "vmx-unrestricted-guest"))
    return False


def choose(kind):
    if kind != "auto":
        return kind
    return "qemu" if nested_vmx() else "bochs"


def create(settings):
    kind = choose(settings.machine)
    return Bochs(settings) if kind == "bochs" else Qemu(settings, accelerated=kind == "qemu")


def _die_with_parent():
    os.setpgid(0, 0)
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Emulator:
    """One run of an emulator, its files in a directory of its own."""

    def __init__(self, settings):
        self.settings = settings
        self.process = None

    def start(self, directory, image, terminal):
        self.directory = pathlib.Path(directory)
        command = self.command(image, terminal)
        try:
            with open(self.directory / "emulator.log", "wb") as log:
                self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                                cwd=self.directory, preexec_fn=_die_with_parent,
                                                pass_fds=self.descriptors())
        except FileNotFoundError as error:
            raise MachineError(f"{command[0]} is not installed: run scripts/setup") from error

    def descriptors(self):
        return ()

    @property
    def ended(self):
        return self.process.poll() is not None

    def stop(self):
        if self.process is not None and not self.ended:
            self.process.terminate()
            try:
                self.process.wait(2)
            except subprocess.TimeoutExpired:
                self.process.kill()
        if self.process is not None:
            self.process.wait()


class Bochs(Emulator):
    def __init__(self, settings):
        super().__init__(settings)
        self.model = settings.cpu_model or BOCHS_DEFAULT_MODEL
        self.description = f"Bochs, {self.model}"

    def command(self, image, terminal):
        settings = self.settings
        clock = "sync=slowdown, time0=utc" if settings.real_time else f"sync=none, time0={BOCHS_START_OF_TIME}"
        cpus = f"1:{settings.cpus}:1" if settings.one_package else settings.cpus  # packages, cores of each, threads
        configuration = f"""\
config_interface: textconfig
display_library: rfb, options="timeout=0"
romimage: file={pathlib.Path("/usr/share/bochs") / settings.bios}
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
cpu: model={self.model}, count={cpus}, ips={BOCHS_INSTRUCTIONS_PER_SECOND}, reset_on_triple_fault=0, \
ignore_bad_msrs={int(not settings.strict_msrs)}
memory: guest={settings.memory}, host={min(settings.memory, 2048)}
clock: {clock}
{self._disks(image)}
com1: enabled=1, mode=term, dev={terminal}
sound: driver=dummy
log: {self.directory / "bochs.log"}
panic: action=fatal
error: action=report
info: action=report
debug: action=ignore{", unmapped=report" if settings.show_debug_exit else ""}
"""
        (self.directory / "bochsrc").write_text(configuration)
        (self.directory / "debugger").write_text("".join(line + "\n" for line in settings.debugger))
        return ["bochs", "-q", "-f", self.directory / "bochsrc", "-rc", self.directory / "debugger"]

    def _disks(self, image):
        """The lines of what the machine can boot from: the image of a disc, or what the settings have."""
        settings = self.settings
        drives = (("cdrom", image),) if image else settings.drives
        lines = []
        for number, (kind, path) in enumerate(drives):
            command, control, irq = ATA_CHANNELS[number // 2]
            place = f"ata{number // 2}-{('master', 'slave')[number % 2]}"
            if place.endswith("master"):
                lines.append(f"ata{number // 2}: enabled=1, ioaddr1={command:#x}, ioaddr2={control:#x}, irq={irq}")
            lines.append(f"{place}: type=cdrom, path={path}, status=inserted" if kind == "cdrom" else
                         f"{place}: type=disk, path={path}, mode=volatile, journal={self.directory / place}")
        if settings.floppy:
            copy = self.directory / "floppy.img"
            shutil.copyfile(settings.floppy, copy)
            size = FLOPPIES.get(copy.stat().st_size // 1024, "image")
            lines.append(f"floppya: {size}={copy}, status=inserted")
        kinds = [kind for kind, _ in drives]
        order = ["floppy"] * bool(settings.floppy) + ["disk"] * ("disk" in kinds) + ["cdrom"] * ("cdrom" in kinds)
        if order:
            lines.append(f"boot: {', '.join(order)}")
        if settings.option_rom:
            lines.append(f"optromimage1: file={settings.option_rom}, address={OPTION_ROM_AT:#x}")
        return "\n".join(lines)

    def _log(self):
        try:
            return (self.directory / "bochs.log").read_text(errors="replace")
        except OSError:
            return ""

    @property
    def powered_off(self):
        """Whether the machine was switched off by its software, and did not end in any other way."""
        return bool(re.search(SHUTDOWN + "|ACPI control: soft power off", self._log()))

    def reason(self):
        panics = re.findall(r"^\d+p\[.*?\] *(.*)$", self._log(), re.MULTILINE)
        return panics[-1].strip() if panics else f"Bochs ended with status {self.process.poll()}"

    @property
    def debug_exit(self):
        """The status of a program that ended itself as under QEMU: what it wrote to port 0F4h, where this machine has
        nothing, doubled, and 1; 0 if it only switched the machine off by port 8900h. None: neither."""
        if not self.settings.show_debug_exit:
            return None
        log = self._log()
        written = DEBUG_EXIT.search(log)
        return 2 * int(written[2], 16) + 1 if written else 0 if SHUTDOWN in log else None

    def instructions(self):
        """Stops the machine. Gives what it executed since the debugger's first breakpoint, by the emulator's own count
        of ticks (one is an instruction of each CPU); None if it came by none, as may be with several CPUs."""
        if not self.ended:
            self.process.send_signal(signal.SIGINT)  # to the debugger, which ends when it finds no more commands
            try:
                self.process.wait(INTERRUPT_PATIENCE)
            except subprocess.TimeoutExpired:
                return None
        output = (self.directory / "emulator.log").read_text(errors="replace")
        # At its end each CPU has a line; the first one's will do.
        stops = [int(tick) for tick in re.findall(r"^(?:Next at t=|\(0\)\.\[)(\d+)", output, re.MULTILINE)]
        if len(stops) < 3:  # the reset, the breakpoint, the end
            return None
        written = DEBUG_EXIT.search(self._log())
        return (int(written[1]) if written else stops[-1]) - stops[1]


class Qemu(Emulator):
    def __init__(self, settings, accelerated):
        super().__init__(settings)
        self.accelerated = accelerated
        self.model = settings.cpu_model or ("host" if accelerated else "max")
        self.description = f"QEMU, {'KVM' if accelerated else 'TCG'}, {self.model}"
        self.shutdown = None

    def command(self, image, terminal):
        settings = self.settings
        # QEMU's monitor tells a power-off from a reset, which its exit status does not.
        self.monitor, self.monitor_end = socket.socketpair()
        command = [QEMU, "-nodefaults", "-accel", "kvm" if self.accelerated else "tcg", "-cpu", self.model,
                   "-smp", str(settings.cpus), "-m", str(settings.memory), "-display", "none", "-vga", "std",
                   "-no-reboot", "-chardev", f"serial,id=console,path={terminal}", "-serial", "chardev:console",
                   "-chardev", f"socket,id=monitor,fd={self.monitor_end.fileno()}", "-mon",
                   "chardev=monitor,mode=control"]
        if settings.stick:
            command += ["-usb", "-drive", f"if=none,id=stick,format=raw,readonly=on,file={image}",
                        "-device", "usb-storage,drive=stick,bootindex=0"]
        else:
            command += ["-cdrom", image]
        if settings.uefi:
            variables = self.directory / "OVMF_VARS.fd"
            shutil.copyfile("/usr/share/OVMF/OVMF_VARS_4M.fd", variables)
            command += ["-drive", "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd",
                        "-drive", f"if=pflash,format=raw,file={variables}"]
        return command

    def descriptors(self):
        return (self.monitor_end.fileno(),)

    def start(self, directory, image, terminal):
        super().start(directory, image, terminal)
        self.monitor_end.close()
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()

    def _listen(self):
        self.monitor.sendall(b'{"execute": "qmp_capabilities"}\n')
        with self.monitor.makefile("rb") as lines:
            for line in lines:
                message = json.loads(line)
                if message.get("event") == "SHUTDOWN":
                    self.shutdown = message["data"]["reason"]

    @property
    def powered_off(self):
        self.listener.join(2)
        return self.shutdown == "guest-shutdown"

    def reason(self):
        if self.shutdown:
            return f"QEMU reports {self.shutdown}"
        output = (self.directory / "emulator.log").read_text(errors="replace").strip()
        return output.splitlines()[-1] if output else f"QEMU ended with status {self.process.poll()}"

    debug_exit = None

    def instructions(self):
        return None
