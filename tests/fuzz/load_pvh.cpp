// SPDX-License-Identifier: Apache-2.0
// The PVH loader, with damaged ELF files and notes.
#include "guest/loader_pvh.hpp"

#include "guest/pvh_format.hpp"
#include "tests/fuzz/images.hpp"
#include "tests/unit/elf_fixture.hpp"

using namespace bulkhead;
using fuzz::require;

FUZZ_TARGET(in) {
    fuzz::Ram memory{in};
    const fuzz::Modules modules{in};
    const fuzz::Bytes initrd(in.chance() ? 0 : in.below(9000), std::byte{0x5a});
    const std::string cmdline{in.ConsumeRandomLengthString(40).c_str()};
    const bool wide = in.chance();
    fuzz::Bytes kernel = fuzz::any_image(
        in, [&] { return pvh_kernel(wide); }, wide ? 176 : 116);
    // The notes lie at the end.
    if (in.chance() && kernel.size() > 0x1000) {
        const fuzz::Bytes notes = fuzz::damaged(in, {kernel.end() - 100, kernel.end()}, 100);
        kernel.resize(kernel.size() - 100);
        kernel.insert(kernel.end(), notes.begin(), notes.end());
        kernel = fuzz::Bytes(kernel.begin(), kernel.end());
    }
    const guest::PvhBoot boot{kernel, initrd, cmdline, modules.list, memory.map(), GuestPhys{0xf0000}};
    const auto state = guest::load_pvh(boot, memory);
    fuzz::check_outcome(state, memory);
    if (!state) return;
    guest::pvh::StartInfo info;
    require(memory.load(GuestPhys{state->gpr[isa::Gpr::RBX]}, info), "the start information is in memory");
    require(memory.holds_text(info.cmdline_paddr, cmdline), "the command line is there, whole");
    std::vector<fuzz::Bytes> files{modules.data};
    if (!initrd.empty()) files.insert(files.begin(), initrd);
    require(info.nr_modules == files.size(), "all modules are told of");
    for (std::size_t i = 0; i < files.size(); ++i) {
        guest::pvh::ModlistEntry entry;
        require(memory.load(GuestPhys{info.modlist_paddr + i * sizeof entry}, entry), "the list is in memory");
        require(entry.size == files[i].size() && memory.holds(entry.paddr, files[i]), "a module is there, whole");
    }
}
