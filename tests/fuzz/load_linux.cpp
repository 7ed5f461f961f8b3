// SPDX-License-Identifier: Apache-2.0
// The loader of bzImages, with damaged ones.
#include "guest/loader_linux.hpp"

#include "tests/fuzz/images.hpp"
#include "tests/unit/bzimage_fixture.hpp"

using namespace bulkhead;
using fuzz::require;

FUZZ_TARGET(in) {
    fuzz::Ram memory{in};
    const fuzz::Bytes initrd(in.chance() ? 0 : in.below(20000), std::byte{0x5a});
    const std::string cmdline{in.ConsumeRandomLengthString(40).c_str()};
    const fuzz::Bytes kernel = fuzz::any_image(in, bzimage, 0x270);
    const auto state = guest::load_linux({kernel, initrd, cmdline, memory.map(), GuestPhys{0xf0000}}, memory);
    fuzz::check_outcome(state, memory);
    if (!state) return;
    // The zero page (Linux, Documentation/arch/x86/zero-page.rst): cmd_line_ptr, ramdisk_image and ramdisk_size.
    const std::uint64_t zero_page = state->gpr[isa::Gpr::RSI];
    std::uint32_t cmd_line_ptr = 0, ramdisk_image = 0, ramdisk_size = 0;
    require(memory.load(GuestPhys{zero_page + 0x228}, cmd_line_ptr) &&
                memory.load(GuestPhys{zero_page + 0x218}, ramdisk_image) &&
                memory.load(GuestPhys{zero_page + 0x21c}, ramdisk_size),
            "the zero page is in memory");
    require(memory.holds_text(cmd_line_ptr, cmdline), "the command line is there, whole");
    require(ramdisk_size == initrd.size() && memory.holds(ramdisk_image, initrd), "and so is the initrd");
}
