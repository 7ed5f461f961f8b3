// SPDX-License-Identifier: Apache-2.0
// The Multiboot2 information structure: damaged ones and any bytes.
#include "boot/boot_info.hpp"

#include "tests/fuzz/images.hpp"
#include "tests/unit/boot_info_fixture.hpp"

using namespace bulkhead;
using fuzz::require;

namespace {

std::vector<std::byte> structure() {
    return boot::Builder()
        .text(1, "console=com1")
        .text(2, "loader")
        .module(0x200000, 0x300000, "kernel")
        .module(0x400000, 0x400010, "")
        .usable()
        .tag(14, std::vector<std::byte>(20))
        .tag(15, std::vector<std::byte>(36))
        .done();
}

}  // namespace

FUZZ_TARGET(in) {
    const fuzz::Bytes bytes = fuzz::any_image(in, structure, 256);
    if (bytes.size() >= 4) static_cast<void>(boot::boot_info_size(bytes));
    static boot::BootInfo info;
    const auto parsed = boot::parse_boot_info(bytes, info);
    if (!parsed) return require(!boot::describe(parsed.error()).empty(), "an error has its sentence");
    const auto inside = [&](const void* first, std::size_t size) {
        const auto* const at = static_cast<const std::byte*>(first);
        return size == 0 || (at >= bytes.data() && at + size <= bytes.data() + bytes.size());
    };
    require(inside(info.command_line.data(), info.command_line.size()) &&
                inside(info.loader_name.data(), info.loader_name.size()) && inside(info.rsdp.data(), info.rsdp.size()),
            "the views lie in the structure");
    require(!info.memory_map().empty(), "there is a memory map");
    for (const boot::BootModule& module : info.modules())
        require(inside(module.string.data(), module.string.size()), "and so do the modules' strings");
}
