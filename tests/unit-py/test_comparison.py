# SPDX-License-Identifier: Apache-2.0
"""Descriptions of images, and what counts as a difference. No machine runs."""
import pathlib
import re
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts"))

from equivalence import comparison, description, report, result, sides  # noqa: E402

GOOD = """
name = "one"
loader = "multiboot"
file = "image.elf"
pass = '^done$'
end = "debug-exit"
"""
DEVIATION = """
[[deviation]]
bare = 'FAIL x: .*'
guest = 'ok x'
reason = "it cannot"
sdm = "Vol. 3A"
"""


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "image.elf").write_bytes(b"image")
    return tmp_path


def describe(directory, text=GOOD):
    return description.parse(directory / "one.toml", text)


def test_defaults_and_every_key(directory):
    one = describe(directory)
    assert (one.cpus, one.memory, one.timeout_s, one.end, one.cmdline) == ((1,), 128, 300, "debug-exit", "")
    text = GOOD.replace('"debug-exit"', "'^END$'") + """
fail = 'FAIL'
cmdline = "  a   b "
modules = [{ file = "image.elf", string = "s t" }]
cpus = [1, 2]
memory = 64
timeout_s = 9
ignore = [{ line = 'x', reason = "why" }]
"""
    one = describe(directory, text + DEVIATION)
    assert one.end.pattern == "^END$" and one.fail.pattern == "FAIL" and one.cmdline == "a b"
    assert one.modules == ((directory / "image.elf", "s t"),) and one.cpus == (1, 2) and one.memory == 64
    assert one.ignore[0].reason == "why" and one.deviations[0].sdm == "Vol. 3A"


@pytest.mark.parametrize("change, key", [
    (("name = \"one\"", ""), "name: must be given"),
    (("\"one\"", "\"two words\""), "name: expected"),
    (("multiboot", "tape"), "loader: expected one of"),
    (("multiboot", "uefi"), "file: 'uefi' boots from 'disk', 'floppy' or 'cdrom'"),
    (("image.elf", "absent.elf"), "file: there is no file 'absent.elf'"),
    (("^done$", "(done"), "pass: '(done' is no regular expression"),
    (("\"debug-exit\"", "'['"), "end: '[' is no regular expression"),
    (("end =", "colour = 1\nend ="), "colour: no such key"),
    (("end =", "disk = \"d\"\nend ="), "disk: there is no file 'd'"),
    (("end =", "disk = [1]\nend ="), "disk: expected a file, or a list of files"),
    (("end =", "disk = \"image.elf\"\nend ="), "disk: is for bios and uefi; the loader is 'multiboot'"),
    (("end =", "floppy = \"image.elf\"\nend ="), "floppy: is for bios; the loader is 'multiboot'"),
    (("end =", "send = [{ after = 'x' }]\nend ="), "send 1: text: must be given"),
    (("end =", "cpus = 17\nend ="), "cpus: expected 1 to 16"),
    (("end =", "cpus = [1, 1]\nend ="), "cpus: expected one number or more, each once"),
    (("end =", "cpus = true\nend ="), "cpus: expected"),
    (("end =", "memory = 63\nend ="), "memory: expected an even number"),
    (("end =", "memory = \"64M\"\nend ="), "memory: expected a number"),
    (("end =", "initrd = \"image.elf\"\nend ="), "initrd: is for Linux"),
    (("end =", "modules = [\"image.elf\"]\nend ="), "modules: expected tables"),
    (("end =", "modules = [{ file = \"no\" }]\nend ="), "modules 1: file: there is no file 'no'"),
    (("end =", "ignore = [{ line = 'x' }]\nend ="), "ignore 1: reason: must be given"),
    (("end =", "ignore = [{ line = 'x', reason = \" \" }]\nend ="), "ignore 1: reason: is empty"),
    (("end =", "ignore = [{ line = '(', reason = \"r\" }]\nend ="), "ignore 1: line: '(' is no regular expression"),
    (("end =", "deviation = [{ reason = \"r\", sdm = \"s\" }]\nend ="), "deviation 1: bare: a deviation needs"),
    (("end =", "deviation = [{ bare = 'b', reason = \"r\" }]\nend ="), "deviation 1: sdm: must be given"),
    (("end =", "end"), "one.toml"),
])
def test_errors_name_file_and_key(directory, change, key):
    with pytest.raises(description.DescriptionError) as error:
        describe(directory, GOOD.replace(*change))
    assert str(error.value).startswith(str(directory / "one.toml")) and key in str(error.value)


def test_a_directory(directory):
    (directory / "one.toml").write_text(GOOD)
    (directory / "two.toml").write_text(GOOD.replace('"one"', '"two"'))
    assert [one.name for one in description.load([directory])] == ["one", "two"]
    assert [one.name for one in description.load([directory], "tw")] == ["two"]
    (directory / "three.toml").write_text(GOOD)
    with pytest.raises(description.DescriptionError, match="name: 'one' is the name of"):
        description.load([directory])
    with pytest.raises(description.DescriptionError, match="no such directory"):
        description.load([directory / "none"])


def test_lines():
    assert comparison.lines("a\r\n\r\nb  \r\n  \r\n c") == ["a", "b", " c"]
    assert comparison.lines("\x1b[2J\x1b[1;1Hone\x1b[0mtwo\x1b[10;20Hthree\x1b(B") == ["one", "two", "three"]


def compared(directory, bare, guest, more=""):
    return comparison.compare(bare, guest, describe(directory, GOOD + more))


def test_equal_and_different(directory):
    same = compared(directory, ["a", "b"], ["a", "b"])
    assert (same.equal, same.different) == (2, [])
    other = compared(directory, ["a", "b", "c"], ["a", "x", "c", "d"])
    assert other.equal == 2 and other.different == [("b", "x"), (None, "d")]


BIOS = """
name = "one"
loader = "bios"
disk = ["image.elf", "image.elf"]
cdrom = "image.elf"
firmware = "image.elf"
vgabios = "image.elf"
pass = 'ready'
end = "power-off"
send = [{ after = '> ', text = "\\r" }]
"""


def test_what_boots_from_disks(directory):
    one = describe(directory, BIOS)
    image = directory / "image.elf"
    assert one.drives == (("disk", image), ("disk", image), ("cdrom", image)) and one.file is None
    assert (one.firmware, one.vgabios, one.floppy) == (image, image, None)
    assert one.send[0].after.search(b"a\n> ") and one.send[0].text == "\r"
    text = sides.guest_config(one, 2, directory, {"cpus": "0"}).read_text()
    for line in ("loader = bios", "vcpus = 2", "firmware = firmware", "vgabios = vgabios", "cpus = 0", "debug-exit = yes"):
        assert line + "\n" in text
    assert text.index("disk = disk0") < text.index("disk = disk1") < text.index("cdrom = cdrom2") and "kernel" not in text


@pytest.mark.parametrize("change, error", [
    (("disk = [\"image.elf\", \"image.elf\"]\ncdrom = \"image.elf\"", ""), "disk: 'bios' wants a"),
    (("pass =", "file = \"image.elf\"\npass ="), "file: 'bios' boots from"),
    (("pass =", "cmdline = \"x\"\npass ="), "cmdline: 'bios' boots from"),
    (("cdrom = \"image.elf\"", "cdrom = [\"image.elf\", \"image.elf\", \"image.elf\"]"), "disk: expected at most 4"),
    (("\"bios\"", "\"uefi\""), "vgabios: is for bios; the loader is 'uefi'"),
])
def test_mistakes_with_disks(directory, change, error):
    with pytest.raises(description.DescriptionError) as raised:
        describe(directory, BIOS.replace(*change))
    assert f"one.toml: {error}" in str(raised.value)


def test_what_firmware_says_is_left_out():
    start, banner = ["Google, Inc.", "Term: 80x24"], ["Booting from Hard Disk..."]
    kept = comparison.without_firmware
    assert kept(["x", *start, "SeaBIOS", *banner, "GRUB", "Google, Inc. made", *start, "again", *banner, "GRUB"]) == \
        ["x", "GRUB", "Google, Inc. made", "GRUB"]
    assert kept([*start, *banner, "Boot failed: not a bootable disk", "Booting from Floppy...", "ready"]) == ["ready"]
    assert kept([*start, "no line but these"]) == []


def test_ignored_lines_are_left_out_and_counted(directory):
    seen = compared(directory, ["a", "time 1", "b"], ["time 2", "a", "time 3", "b"],
                    "[[ignore]]\nline = '^time '\nreason = 'a clock'\n")
    assert (seen.equal, seen.different, seen.ignored_bare, seen.ignored_guest) == (2, [], 1, 2)


def test_a_failure_on_both_sides_is_a_difference(directory):
    seen = compared(directory, ["ok a", "FAIL b"], ["ok a", "FAIL b"], "fail = '^FAIL'\n")
    assert seen.equal == 1 and seen.different == [("FAIL b", "FAIL b")]


def test_deviations(directory):
    seen = compared(directory, ["FAIL x: observed 1", "a"], ["ok x", "a"], DEVIATION)
    assert seen.different == [] and [entry.reason for entry, *_ in seen.deviations] == ["it cannot"]
    # The guest must follow the SDM: the other way round nothing is explained, nor is a line that goes on.
    assert compared(directory, ["ok x"], ["FAIL x: observed 1"], DEVIATION).different
    assert compared(directory, ["FAIL x: observed 1"], ["ok x y"], DEVIATION).different


def test_deviations_of_one_side(directory):
    only = DEVIATION.replace("guest = 'ok x'\n", "")
    assert compared(directory, ["FAIL x: 1", "a"], ["a"], only).different == []
    seen = compared(directory, ["FAIL x: 1", "a"], ["other", "a"], only)
    assert seen.different == [(None, "other")] and len(seen.deviations) == 1


def test_what_a_power_off_swallows():
    assert comparison.complete(["a", "SUMMARY: 5 tes"], ["a", "SUMMARY: 5 tests"]) == ["a", "SUMMARY: 5 tests"]
    assert comparison.complete(["a", "x"], ["a", "y"]) == ["a", "x"]
    assert comparison.complete(["a", "x"], ["a", "x" * 19]) == ["a", "x"]
    assert comparison.complete([], ["a"]) == []


def judged(directory, bare_text, guest_text, bare=None, guest=None):
    outcomes = [sides.verdict(sides.Outcome(text=text, **(more or {})), describe(directory))
                for text, more in ((bare_text, bare), (guest_text, guest))]
    return result.judge(describe(directory), 1, "yes", *outcomes)


def test_verdicts(directory):
    assert judged(directory, "a\ndone\n", "a\r\ndone\r\n").ok()
    assert "'pass'" in "".join(judged(directory, "broken\n", "broken\n").problems())
    assert not judged(directory, "done\n", "done\n", bare={"problem": "waited"}).ok()
    assert not judged(directory, "done\n", "done\n", bare={"status": 1}, guest={"status": 3}).ok()
    assert judged(directory, "done\n", "done\n", bare={"status": 1}, guest={"status": 1}).ok()
    assert not judged(directory, "a\ndone\n", "b\ndone\n").ok()


def test_no_line_compared_is_a_failure(directory):
    everything = describe(directory, GOOD + "ignore = [{ line = '.', reason = 'all' }]\n")
    outcome = sides.Outcome(text="done\n")
    assert list(result.judge(everything, 1, "yes", outcome, outcome).problems()) == ["no line was compared"]


def test_the_report(directory):
    verdict = judged(directory, "a\nb\ndone\n", "a\nc\ndone\n")
    text = report.table([verdict])
    assert re.search(r"^one +1 +yes +2 +1 ", text, re.MULTILINE) and "bare : b" in text and "guest: c" in text
    assert '"different": [' in report.as_json([verdict]) and '"ok": false' in report.as_json([verdict])


def test_the_entry_of_a_multiboot_image():
    header = (0x1badb002).to_bytes(4, "little") + bytes(4) + (-0x1badb002 & 0xffffffff).to_bytes(4, "little")
    elf = b"\x7fELF\x01" + bytes(19) + (0x200000).to_bytes(4, "little") + bytes(36) + header
    assert sides.multiboot_entry(elf) == 0x200000
    kludge = (0x1badb002).to_bytes(4, "little") + (0x10000).to_bytes(4, "little")
    kludge += (-(0x1badb002 + 0x10000) & 0xffffffff).to_bytes(4, "little") + bytes(16) + (0x100010).to_bytes(4, "little")
    assert sides.multiboot_entry(bytes(8) + kludge) == 0x100010
    assert sides.multiboot_entry(b"\x7fELF\x01" + bytes(60)) is None
