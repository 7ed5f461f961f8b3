# SPDX-License-Identifier: Apache-2.0
"""Descriptions of images: one TOML file each, as docs/equivalence.md has them. Every error names the file and the key."""
import dataclasses
import pathlib
import re
import tomllib

from harness import paths

LOADERS = ("linux", "pvh", "multiboot", "flat", "bios", "uefi")
FIRMWARE = {"bios": "seabios.bin", "uefi": "ovmf.fd"}  # of the guest; the loaders that start with one
VGABIOS = "sgabios.bin"
MAX_DRIVES = 4  # disks and CDs
ENDS = {"debug-exit": "debug-exit", "debug exit": "debug-exit", "power-off": "power-off", "power off": "power-off"}
MAX_CPUS = 16
NAME = re.compile(r"[A-Za-z0-9_-]{1,31}")


class DescriptionError(Exception):
    pass


@dataclasses.dataclass(frozen=True)
class Ignore:
    """Lines that may differ."""
    line: re.Pattern
    reason: str


@dataclasses.dataclass(frozen=True)
class Deviation:
    """A line in which the emulator contradicts the SDM, and what the guest has in its place; None: no line."""
    bare: re.Pattern
    guest: re.Pattern
    reason: str
    sdm: str

    def explains(self, bare, guest):
        return all((line is None) if pattern is None else line is not None and pattern.fullmatch(line)
                   for pattern, line in ((self.bare, bare), (self.guest, guest)))


@dataclasses.dataclass(frozen=True)
class Send:
    """What is typed once the console shows something."""
    after: re.Pattern  # of bytes, behind what the one before it waited for
    text: str


@dataclasses.dataclass(frozen=True)
class Description:
    source: pathlib.Path
    name: str
    loader: str
    file: pathlib.Path  # None: the loader starts with firmware
    passes: re.Pattern
    end: object  # "debug-exit", "power-off", or a compiled expression
    cmdline: str = ""
    modules: tuple = ()  # of (path, string)
    initrd: pathlib.Path = None
    firmware: pathlib.Path = None  # the guest's
    vgabios: pathlib.Path = None  # an option ROM, of both machines
    disks: tuple = ()
    cdroms: tuple = ()
    floppy: pathlib.Path = None
    send: tuple = ()
    cpus: tuple = (1,)
    memory: int = 128  # MiB
    timeout_s: int = 300
    fail: re.Pattern = None  # lines that must not be there, even when both sides have them
    ignore: tuple = ()
    deviations: tuple = ()

    @property
    def end_line(self):
        """The expression that ends it, if it is one."""
        return self.end if isinstance(self.end, re.Pattern) else None

    @property
    def drives(self):
        """The kind and the image of each, in the order in which they are on the IDE controller's cables."""
        return tuple(("disk", path) for path in self.disks) + tuple(("cdrom", path) for path in self.cdroms)


class _Table:
    """A table of the file, from which keys are taken one by one; what is left at the end is unknown."""

    def __init__(self, source, values, where=""):
        self.source, self.values, self.where = source, dict(values), where

    def error(self, key, text):
        raise DescriptionError(f"{self.source}: {self.where}{key}: {text}")

    def take(self, key, kind, default=None, required=False):
        if key not in self.values:
            if required:
                self.error(key, "must be given")
            return default
        value = self.values.pop(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            self.error(key, f"expected {' or '.join(_KIND_NAMES[k] for k in _kinds(kind))}, found {value!r}")
        return value

    def text(self, key, default=None, required=False, blank=False):
        value = self.take(key, str, default, required)
        if required and not blank and not value.strip():
            self.error(key, "is empty")
        return value

    def number(self, key, default, lowest, highest):
        value = self.take(key, int, default)
        if not lowest <= value <= highest:
            self.error(key, f"expected {lowest} to {highest}, found {value}")
        return value

    def regex(self, key, required=False):
        value = self.text(key, required=required)
        return None if value is None else self.compile(key, value)

    def compile(self, key, text):
        try:
            return re.compile(text, re.MULTILINE)
        except re.error as error:
            self.error(key, f"'{text}' is no regular expression: {error}")

    def file(self, key, required=False):
        """A file beside the description, or among what the build makes for guests."""
        value = self.text(key, required=required)
        return None if value is None else self.find(key, value)

    def files(self, key):
        """One file, or a list of them."""
        value = self.take(key, (str, list), [])
        names = value if isinstance(value, list) else [value]
        for name in names:
            if not isinstance(name, str):
                self.error(key, f"expected a file, or a list of files, found {value!r}")
        return tuple(self.find(key, name) for name in names)

    def find(self, key, value):
        for place in (self.source.parent / value, paths.GUESTS / value):
            if place.is_file():
                return place.resolve()
        self.error(key, f"there is no file '{value}' in {self.source.parent} or {paths.GUESTS}")

    def tables(self, key):
        for number, values in enumerate(self.take(key, list, []), 1):
            if not isinstance(values, dict):
                self.error(key, f"expected tables ([[{key}]]), found {values!r}")
            yield _Table(self.source, values, f"{self.where}{key} {number}: ")

    def end(self):
        if self.values:
            self.error(next(iter(self.values)), "no such key")


_KIND_NAMES = {str: "a string", int: "a number", list: "a list"}


def _kinds(kind):
    return kind if isinstance(kind, tuple) else (kind,)


def _module(table):
    module = (table.file("file", required=True), table.text("string", ""))
    table.end()
    return module


def _ignore(table):
    entry = Ignore(table.regex("line", required=True), table.text("reason", required=True))
    table.end()
    return entry


def _deviation(table):
    entry = Deviation(table.regex("bare"), table.regex("guest"), table.text("reason", required=True),
                      table.text("sdm", required=True))
    if entry.bare is None and entry.guest is None:
        table.error("bare", "a deviation needs 'bare' or 'guest', or both")
    table.end()
    return entry


def _send(table):
    after = table.regex("after", required=True)
    entry = Send(re.compile(after.pattern.encode(), re.MULTILINE), table.text("text", required=True, blank=True))
    table.end()
    return entry


def _check_loader(table, description):
    """What a loader has, and what only another one has."""
    starts_with_firmware = description.loader in FIRMWARE
    for key, kept in (("firmware", starts_with_firmware), ("vgabios", description.loader == "bios"),
                      ("floppy", description.loader == "bios"), ("drives", starts_with_firmware)):
        if getattr(description, key) and not kept:
            table.error("disk" if key == "drives" else key,
                        f"is for {'bios' if key in ('vgabios', 'floppy') else 'bios and uefi'}; the loader is '{description.loader}'")
    if starts_with_firmware and (description.file or description.cmdline):
        table.error("file" if description.file else "cmdline",
                    f"'{description.loader}' boots from 'disk', 'floppy' or 'cdrom'")
    if description.loader == "bios" and not description.drives and not description.floppy:
        table.error("disk", "'bios' wants a 'disk', 'floppy' or 'cdrom'")
    if len(description.drives) > MAX_DRIVES:
        table.error("disk", f"expected at most {MAX_DRIVES}, 'disk' and 'cdrom' together")
    if description.initrd and description.loader not in ("linux", "pvh"):
        table.error("initrd", f"is for Linux; the loader is '{description.loader}'")
    if description.modules and description.loader != "multiboot":
        table.error("modules", f"are for Multiboot; the loader is '{description.loader}'")


def _cpus(table):
    value = table.take("cpus", (int, list), 1)
    numbers = value if isinstance(value, list) else [value]
    for number in numbers:
        if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= MAX_CPUS:
            table.error("cpus", f"expected 1 to {MAX_CPUS}, or a list of that, found {value!r}")
    if not numbers or len(set(numbers)) != len(numbers):
        table.error("cpus", f"expected one number or more, each once, found {value!r}")
    return tuple(numbers)


def parse(source, text):
    source = pathlib.Path(source)
    try:
        table = _Table(source, tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise DescriptionError(f"{source}: {error}") from error
    name = table.text("name", required=True)
    if not NAME.fullmatch(name) or name == "bulkhead":
        table.error("name", f"expected 1 to 31 letters, digits, - or _, and not 'bulkhead', found '{name}'")
    loader = table.text("loader", required=True)
    if loader not in LOADERS:
        table.error("loader", f"expected one of {', '.join(LOADERS)}, found '{loader}'")
    for key, value in (("firmware", FIRMWARE.get(loader)), ("vgabios", VGABIOS if loader == "bios" else None)):
        if value:
            table.values.setdefault(key, value)
    end = table.text("end", required=True)
    description = Description(
        source=source, name=name, loader=loader, file=table.file("file", required=loader not in FIRMWARE),
        passes=table.regex("pass", required=True), end=ENDS.get(end) or table.compile("end", end),
        cmdline=" ".join(table.text("cmdline", "").split()),
        modules=tuple(_module(module) for module in table.tables("modules")), initrd=table.file("initrd"),
        firmware=table.file("firmware"), vgabios=table.file("vgabios"), disks=table.files("disk"),
        cdroms=table.files("cdrom"), floppy=table.file("floppy"), send=tuple(_send(entry) for entry in table.tables("send")),
        cpus=_cpus(table), memory=table.number("memory", 128, 2, 3072),
        timeout_s=table.number("timeout_s", 300, 1, 24 * 3600),
        fail=table.regex("fail"), ignore=tuple(_ignore(entry) for entry in table.tables("ignore")),
        deviations=tuple(_deviation(entry) for entry in table.tables("deviation")))
    if description.memory % 2:
        table.error("memory", f"expected an even number of MiB, found {description.memory}")
    _check_loader(table, description)
    table.end()
    return description


def load(directories, name=""):
    """All descriptions in the directories whose name contains `name`, in the order of their files."""
    found = {}
    for directory in map(pathlib.Path, directories):
        if not directory.is_dir():
            raise DescriptionError(f"{directory}: no such directory")
        for source in sorted(directory.glob("*.toml")):
            try:
                text = source.read_text()
            except (OSError, UnicodeDecodeError) as error:
                raise DescriptionError(f"{source}: {error}") from error
            if not is_named(text, name):
                continue
            description = parse(source, text)
            if description.name in found:
                raise DescriptionError(f"{source}: name: '{description.name}' is the name of "
                                       f"{found[description.name].source}, too")
            found[description.name] = description
    return list(found.values())


def is_named(text, name):
    """Before anything else is looked at: the files of images that were not asked for need not be there."""
    try:
        return name in str(tomllib.loads(text).get("name", name))
    except tomllib.TOMLDecodeError:
        return True  # for `parse` to complain about
