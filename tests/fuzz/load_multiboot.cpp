// SPDX-License-Identifier: Apache-2.0
// The Multiboot loader, with damaged ELF files and with files that have addresses in their header.
#include "guest/loader_multiboot.hpp"

#include "guest/multiboot_format.hpp"
#include "tests/fuzz/images.hpp"
#include "tests/unit/elf_fixture.hpp"

using namespace bulkhead;
using fuzz::require;
namespace mb = guest::multiboot;

FUZZ_TARGET(in) {
    fuzz::Ram memory{in};
    const fuzz::Modules modules{in};
    const std::string cmdline{in.ConsumeRandomLengthString(40).c_str()};
    const bool addresses = in.chance(), wide = in.chance();
    const auto make = [&] { return addresses ? addressed_kernel(0x202000, 0x204000) : elf_kernel(3, wide); };
    const fuzz::Bytes kernel = fuzz::any_image(in, make, 0x80);
    const auto state = guest::load_multiboot({kernel, cmdline, modules.list, memory.map()}, memory);
    fuzz::check_outcome(state, memory);
    if (!state) return;
    mb::Info info;
    require(memory.load(GuestPhys{state->gpr[isa::Gpr::RBX]}, info), "the boot information is in memory");
    require(memory.holds_text(info.cmdline, cmdline), "the command line is there, whole");
    require(info.mods_count == modules.list.size(), "all modules are told of");
    for (std::size_t i = 0; i < modules.list.size(); ++i) {
        mb::Module module;
        require(memory.load(GuestPhys{info.mods_addr + i * sizeof module}, module), "the list is in memory");
        require(module.mod_end - module.mod_start == modules.data[i].size() &&
                    memory.holds(module.mod_start, modules.data[i]),
                "a module is there, whole");
        require(memory.holds_text(module.string, modules.strings[i]), "and so is its string");
    }
}
