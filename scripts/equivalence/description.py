# SPDX-License-Identifier: Apache-2.0
"""Descriptions of images: one TOML file each, as docs/equivalence.md has them. Every error names the file and the key."""
import dataclasses
import pathlib
import re
import tomllib

from harness import paths

LOADERS = ("linux", "pvh", "multiboot", "flat", "bios", "uefi")
KERNEL_LOADERS = ("linux", "pvh", "multiboot", "flat")
DISKS = ("disk", "floppy", "cdrom")
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
class Description:
    source: pathlib.Path
    name: str
    loader: str
    file: pathlib.Path
    passes: re.Pattern
    end: object  # "debug-exit", "power-off", or a compiled expression
    cmdline: str = ""
    modules: tuple = ()  # of (path, string)
    initrd: pathlib.Path = None
    cpus: tuple = (1,)
    memory: int = 128  # MiB
    timeout_s: int = 300
    fail: re.Pattern = None  # lines that must not be there, even when both sides have them
    ignore: tuple = ()
    deviations: tuple = ()


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

    def text(self, key, default=None, required=False):
        value = self.take(key, str, default, required)
        if required and not value.strip():
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
        if value is None:
            return None
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
    if loader not in KERNEL_LOADERS:
        table.error("loader", f"'{loader}' is not built yet: guests have no firmware and no disks")
    for disk in DISKS:
        if disk in table.values:
            table.error(disk, "not built yet: guests have no disks")
    end = table.text("end", required=True)
    description = Description(
        source=source, name=name, loader=loader, file=table.file("file", required=True),
        passes=table.regex("pass", required=True), end=ENDS.get(end) or table.compile("end", end),
        cmdline=" ".join(table.text("cmdline", "").split()),
        modules=tuple(_module(module) for module in table.tables("modules")), initrd=table.file("initrd"),
        cpus=_cpus(table), memory=table.number("memory", 128, 2, 3072),
        timeout_s=table.number("timeout_s", 300, 1, 24 * 3600),
        fail=table.regex("fail"), ignore=tuple(_ignore(entry) for entry in table.tables("ignore")),
        deviations=tuple(_deviation(entry) for entry in table.tables("deviation")))
    if description.memory % 2:
        table.error("memory", f"expected an even number of MiB, found {description.memory}")
    if description.initrd and loader not in ("linux", "pvh"):
        table.error("initrd", f"is for Linux; the loader is '{loader}'")
    if description.modules and loader != "multiboot":
        table.error("modules", f"are for Multiboot; the loader is '{loader}'")
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
