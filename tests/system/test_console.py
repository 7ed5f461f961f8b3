# SPDX-License-Identifier: Apache-2.0
"""The console as a person has it: scripts/run in a terminal, the guests of `make run` on one CPU."""
import sys

import pexpect
import pytest
from lab import LINUX, ROOT

CTRL_A, CTRL_C = "\x01", "\x03"
SOON = 60
DONE = "the terminal is "


@pytest.fixture(scope="module")
def terminal():
    # The shell around it tells how it left the terminal.
    script = f"scripts/run --machine bochs --cpus 1; echo status $?; echo {DONE}$(stty -a | grep -o -e '-\\?icanon')"
    child = pexpect.spawn("/bin/sh", ["-c", script], cwd=str(ROOT), timeout=SOON, encoding="utf-8",
                          codec_errors="replace", dimensions=(30, 120))
    child.logfile_read = open(ROOT / "build/results/console-test.log", "w", encoding="utf-8") \
        if (ROOT / "build/results").is_dir() else sys.stderr
    yield child
    child.close(force=True)


def focus(terminal, number, name):
    terminal.send(CTRL_A + str(number))
    terminal.expect(rf"\[{name}\]\x1b\[0m is running")


@pytest.fixture(scope="module")
def shells(terminal):
    """Both Linux shells, typed to by hand."""
    for number in (1, 2):
        terminal.expect(r"\[linux1\]|/ # ", LINUX) if number == 1 else None
        focus(terminal, number, f"linux{number}")
        terminal.send("\r")
        terminal.expect("/ # ", LINUX)
    return terminal


@pytest.mark.parametrize("number", [1, 2])
def test_uname(shells, number):
    focus(shells, number, f"linux{number}")
    shells.send("uname -a\r")
    shells.expect(r"Linux .* x86_64 GNU/Linux")


@pytest.mark.parametrize("number", [1, 2])
def test_interrupts(shells, number):
    focus(shells, number, f"linux{number}")
    shells.send("cat /proc/interrupts\r")
    shells.expect("ttyS0")
    shells.expect("LOC:")


def test_the_third_guest_beats(shells):
    focus(shells, 3, "heartbeat")
    shells.expect(r"\d+.*\r\n")
    shells.expect(r"\d+.*\r\n")


def test_ctrl_c_goes_to_the_guest(shells):
    focus(shells, 1, "linux1")
    shells.send("echo be''gin; sleep 1000\r")
    shells.expect("begin")
    shells.send(CTRL_C)
    shells.expect(r"\^C")
    shells.send("echo a''live\r")
    shells.expect("alive")


def test_ctrl_a_ctrl_a_is_ctrl_a(shells):
    focus(shells, 1, "linux1")
    shells.send("cat -v\r")
    shells.expect("cat -v")
    shells.send(CTRL_A + CTRL_A + "\r")
    shells.expect(r"\^A\r\n\^A")
    shells.send(CTRL_C)


def test_help(shells):
    shells.send(CTRL_A + "?")
    shells.expect("restart the guest in focus")


def test_all_view_tags_each_line(shells):
    focus(shells, 1, "linux1")
    shells.send(CTRL_A + "a")
    shells.expect(r"\[all\]")
    shells.send("echo se''en\r")
    shells.expect(r"\[linux1\]\x1b\[0m [^\n]*seen")
    shells.expect(r"\[heartbeat\]\x1b\[0m ")


def test_restart_by_key(shells):
    focus(shells, 2, "linux2")
    shells.send(CTRL_A + "r")
    shells.expect("Linux version", LINUX)
    shells.expect("/ # ", LINUX)


def test_leaving_ends_the_run_and_restores_the_terminal(shells):
    shells.send(CTRL_A + "x")
    shells.expect("status 0", SOON)
    shells.expect(DONE + "icanon")
