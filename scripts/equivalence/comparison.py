# SPDX-License-Identifier: Apache-2.0
"""Two consoles, line by line."""
import dataclasses
import difflib
import itertools
import re

# What moves a cursor ends a line, as far as reading goes.
CONTROL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[()][A-Z0-9]|[=>78cDEHM])")
# A machine that switches itself off loses what its UART has not sent: the 16 bytes of a FIFO and the one on its way.
UART_HOLDS = 17
# What a PC's firmware says: from the first line of sgabios, which it runs at each start, to that of what it boots from.
FIRMWARE_STARTS = re.compile(r"Google, Inc\.")
FIRMWARE_BOOTS = re.compile(r"Booting from .*\.\.\.|Boot failed: .*|\d+MB medium detected")


@dataclasses.dataclass
class Comparison:
    equal: int = 0
    different: list = dataclasses.field(default_factory=list)  # of (bare or None, guest or None)
    deviations: list = dataclasses.field(default_factory=list)  # of (deviation, bare or None, guest or None)
    ignored_bare: int = 0
    ignored_guest: int = 0


def lines(text):
    """Lines that have something in them."""
    pieces = CONTROL.sub("\n", text).replace("\r", "\n").split("\n")
    return [piece.rstrip() for piece in pieces if piece.strip()]


def without_firmware(all_lines):
    """Lines that a program wrote, and not the firmware that started it, which is another one on the bare machine."""
    kept, speaks = [], False
    for line in all_lines:
        speaks = speaks or bool(FIRMWARE_STARTS.fullmatch(line))
        boots = bool(FIRMWARE_BOOTS.fullmatch(line))
        if not speaks and not boots:
            kept.append(line)
        speaks = speaks and not boots
    return kept


def complete(cut, whole):
    """`cut`, whose last bytes a power-off may have swallowed, with what `whole` has in their place."""
    if not cut or not whole or cut[-1] == whole[-1]:
        return cut
    missing = len(whole[-1]) - len(cut[-1])
    return cut[:-1] + whole[-1:] if whole[-1].startswith(cut[-1]) and missing <= UART_HOLDS else cut


def compare(bare, guest, description):
    """Holds two lists of lines against each other."""
    result = Comparison()

    def kept(all_lines):
        return [line for line in all_lines if not any(entry.line.search(line) for entry in description.ignore)]

    bare_kept, guest_kept = kept(bare), kept(guest)
    result.ignored_bare, result.ignored_guest = len(bare) - len(bare_kept), len(guest) - len(guest_kept)
    matcher = difflib.SequenceMatcher(None, bare_kept, guest_kept, autojunk=False)
    for kind, bare_from, bare_to, guest_from, guest_to in matcher.get_opcodes():
        for pair in itertools.zip_longest(bare_kept[bare_from:bare_to], guest_kept[guest_from:guest_to]):
            if kind != "equal":
                _judge(pair, description, result)
            elif description.fail and description.fail.search(pair[0]):
                result.different.append(pair)
            else:
                result.equal += 1
    return result


def _judge(pair, description, result):
    """Of two lines that stand where the other is: what a deviation explains, together or each alone, and what none does."""
    def known(bare, guest):
        return next((entry for entry in description.deviations if entry.explains(bare, guest)), None)

    bare, guest = pair
    alone = [(bare, None), (None, guest)]
    pieces = [pair] if None in pair or known(*pair) or not any(known(*piece) for piece in alone) else alone
    for piece in pieces:
        if entry := known(*piece):
            result.deviations.append((entry, *piece))
        else:
            result.different.append(piece)
