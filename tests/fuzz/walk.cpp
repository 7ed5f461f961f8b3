// SPDX-License-Identifier: Apache-2.0
// The walk of a guest's page tables, whatever they and the control registers say.
#include "guest/emulate/walk.hpp"

#include "tests/fuzz/fuzz.hpp"
#include "tests/unit/emulate_fakes.hpp"
#include "tests/unit/fake_memory.hpp"

using fuzz::require;
using namespace bulkhead::guest::emulator;
using Kind = Access::Kind;

namespace {

constexpr std::size_t ram = 4 * page_size;
constexpr std::uint64_t A = 1u << 5, D = 1u << 6;

void set_paging(fuzz::Input& in, FakeCpu& cpu) {
    cpu.control0 = isa::cr0::PE | isa::cr0::PG | (in.chance() ? isa::cr0::WP : 0);
    cpu.control3 = in.below(4) * page_size;
    cpu.control4 = in.any<std::uint32_t>();
    cpu.efer_value = in.chance() ? isa::efer::NXE : 0;
    if (in.chance()) {
        cpu.efer_value |= isa::efer::LME | isa::efer::LMA;
        cpu.control4 |= isa::cr4::PAE;
    }
    cpu.flags = isa::rflags::FIXED | (in.chance() ? isa::rflags::AC : 0);
    cpu.keys = in.any<std::uint32_t>();
}

// Entries that lead somewhere, mostly: to one of the four pages, present.
void fill_tables(fuzz::Input& in, FakeMemory& memory) {
    for (unsigned n = in.below(24); n != 0; --n) {
        std::uint64_t entry =
            std::uint64_t{in.below(4)} * page_size | (in.any<std::uint16_t>() & 0x1ffu) | (in.below(4) ? 1 : 0);
        if (in.below(4) == 0) entry |= in.any<std::uint64_t>() << 32;
        memory.set(in.below(4) * page_size + in.below(8) * 8, entry);
    }
}

using Words = std::array<std::uint64_t, ram / 8>;
Words contents(FakeMemory& memory) {
    Words words;
    require(memory.read(GuestPhys{0}, std::as_writable_bytes(std::span{words})), "the memory is there");
    return words;
}

// A walk changes accessed and dirty flags, and nothing else. Entries have 4 or 8 bytes.
void check_flags_alone(const Words& before, const Words& after) {
    constexpr std::uint64_t flags = (A | D) << 32 | A | D;
    std::uint64_t changed = 0, cleared = 0;
    for (std::size_t i = 0; i < before.size(); ++i) {
        changed |= before[i] ^ after[i];
        cleared |= before[i] & ~after[i];
    }
    require((changed & ~flags) == 0 && cleared == 0, "a walk sets accessed and dirty flags, and writes nothing else");
}

// The registers that a write of CR3 loads under PAE paging: a walk may mark the entries that they came from.
std::array<std::uint64_t, 4> load_pdptes(const FakeCpu& cpu, FakeMemory& memory) {
    std::array<std::uint64_t, 4> pdptes;
    require(memory.read(GuestPhys{cpu.control3}, std::as_writable_bytes(std::span{pdptes})), "the memory is there");
    return pdptes;
}

}  // namespace

FUZZ_TARGET(in) {
    FakeCpu cpu;
    FakeMemory memory{ram};
    set_paging(in, cpu);
    fill_tables(in, memory);
    const auto pdptes = load_pdptes(cpu, memory);
    const auto walk = [&](GuestVirt at, Access access) {
        return Walk{cpu, memory, {}, &pdptes}.translate(at, access);
    };
    in.repeat(
        [&] {
            // An index below 8 at each level.
            std::uint64_t linear = in.any<std::uint16_t>() & 0xfffu;
            for (const unsigned shift : {12, 21, 30, 39}) linear |= std::uint64_t{in.below(8)} << shift;
            if ((cpu.efer_value & isa::efer::LMA) == 0) linear &= 0xffffffff;
            const GuestVirt at{linear};
            const Access access{static_cast<Kind>(in.below(3)), in.chance(), in.below(8) == 0};
            const Words before = contents(memory);
            const auto found = walk(at, access);
            check_flags_alone(before, contents(memory));
            if (!found) {
                require(found.error().vector != isa::Exception::PF || found.error().address == linear,
                        "CR2 is the address");
                return;
            }
            require(found->offset_in(page_size) == at.offset_in(page_size), "the offset in the page stays");
            require(found->value >> PagingFeatures{}.physical_bits == 0, "an address is within MAXPHYADDR");
            const auto again = walk(at, access);
            require(again && *again == *found, "a second walk finds the same");
            if (access.kind != Kind::write) return;
            const auto read = walk(at, {Kind::read, access.user, access.implicit});
            require(read && *read == *found, "what can be written can be read");
        },
        8);
}
