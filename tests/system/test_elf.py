# SPDX-License-Identifier: Apache-2.0
"""The linked hypervisor itself."""
import struct

import pytest
from lab import paths

PT_LOAD, EXECUTE, WRITE = 1, 1, 2


@pytest.fixture(scope="module")
def elf():
    return paths.HYPERVISOR.read_bytes()


def segments(elf):
    table, = struct.unpack_from("<Q", elf, 32)
    size, count = struct.unpack_from("<HH", elf, 54)
    assert count
    for index in range(count):
        kind, flags, offset, virtual, physical, in_file, in_memory, align = struct.unpack_from(
            "<IIQQQQQQ", elf, table + index * size)
        yield kind, flags, offset, virtual, physical, in_file, in_memory, align


def test_no_segment_is_both_writable_and_executable(elf):
    found = list(segments(elf))
    assert any(kind == PT_LOAD and flags & EXECUTE for kind, flags, *_ in found)
    assert any(kind == PT_LOAD and flags & WRITE for kind, flags, *_ in found)
    assert not [segment for segment in found if segment[1] & WRITE and segment[1] & EXECUTE]


def test_segments_do_not_share_a_page(elf):
    pages = sorted((virtual & ~0xFFF, (virtual + in_memory + 0xFFF) & ~0xFFF, flags)
                   for kind, flags, _, virtual, _, _, in_memory, _ in segments(elf) if kind == PT_LOAD and in_memory)
    for (_, end, flags), (start, _, next_flags) in zip(pages, pages[1:]):
        assert end <= start or flags == next_flags


def test_multiboot2_header_is_where_grub_looks(elf):
    """Multiboot2 specification 3.1: in the first 32768 bytes, aligned to 8, the sum of its first words zero."""
    magic = struct.pack("<I", 0xE85250D6)
    at = next(at for at in range(0, 32768, 8) if elf[at:at + 4] == magic)
    assert sum(struct.unpack_from("<IIII", elf, at)) % 2**32 == 0
