# SPDX-License-Identifier: Apache-2.0
"""Equal guests on one CPU get equal shares of it, and lose little to the sharing."""
from lab import BOOT, boot, flat


def ticks(session, guest):
    return int(session.expect(guest, r"work: ticks=([0-9a-f]{16}) from", BOOT)[1], 16)


def test_three_guests_on_one_cpu():
    with boot(flat("alone", "work"), cpus=1) as session:
        alone = ticks(session, "alone")
    names = ("first", "second", "third")
    with boot("".join(flat(name, "work") for name in names), cpus=1) as session:
        shared = [ticks(session, name) for name in names]
    assert max(shared) <= 1.05 * min(shared)
    assert max(shared) <= 3.1 * alone
    assert min(shared) > 2 * alone, "they did share"
