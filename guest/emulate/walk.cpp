// SPDX-License-Identifier: Apache-2.0
#include "guest/emulate/walk.hpp"

#include "arch/isa/msr.hpp"
#include "arch/isa/paging.hpp"

namespace bulkhead::guest::emulator {

namespace {

using namespace isa;

// Another vCPU that keeps changing an entry gets its way: the flags are then left as it wrote them.
constexpr unsigned mark_attempts = 8;

constexpr std::uint64_t bits(unsigned high, unsigned low) { return (~0ull >> (63 - high)) & (~0ull << low); }

}  // namespace

Walk::Mode Walk::mode() const {
    if (!(cpu_.cr0() & cr0::PG)) return {};
    if (!(cpu_.cr4() & cr4::PAE)) return {2, 4, 10, false};
    if (!(cpu_.efer() & efer::LMA)) return {3, 8, 9, true};
    return {cpu_.cr4() & cr4::LA57 ? 5u : 4u, 8, 9, false};
}

std::expected<GuestPhys, Fault> Walk::translate(GuestVirt address, Access access) {
    const Mode m = mode();
    if (m.levels == 0) return GuestPhys{address.value & 0xffffffff};
    for (unsigned attempt = 0;; ++attempt) {
        const auto path = walk(address, access, m);
        if (!path) return std::unexpected(path.error());
        if (attempt == mark_attempts || mark(*path, access, m) == Marked::yes) return output(*path, address, m);
    }
}

std::expected<Walk::Path, Fault> Walk::walk(GuestVirt address, Access access, const Mode& m) const {
    Path path;
    // CR3 holds 32-byte alignment under PAE, else a page frame; bit 63 and the PCID are not part of it.
    const std::uint64_t root_mask = m.pae_root ? bits(31, 5) : m.entry_size == 4 ? bits(31, 12) : pte::address_mask;
    GuestPhys table{cpu_.cr3() & root_mask};
    for (unsigned level = m.levels; level != 0; --level) {
        const unsigned shift = 12 + (level - 1) * m.index_bits;
        const std::uint64_t index_mask = m.pae_root && level == m.levels ? 3 : (1u << m.index_bits) - 1;
        const std::uint64_t index = (address.value >> shift) & index_mask;
        const bool in_register = pdptes_ && m.pae_root && level == m.levels;
        const GuestPhys at = table + index * m.entry_size;
        const Entry entry{at, in_register ? (*pdptes_)[index] : load(at, m.entry_size)};
        if (!(entry.value & pte::P)) return std::unexpected(page_fault(address, access, 0));
        if (reserved(entry.value, m, level))
            return std::unexpected(page_fault(address, access, page_fault::present | page_fault::reserved_bit));
        if (append(path, entry, m, level)) break;
        table = GuestPhys{entry.value & (m.entry_size == 4 ? bits(31, 12) : pte::address_mask)};
    }
    if (!allowed(path, access)) return std::unexpected(page_fault(address, access, page_fault::present));
    return path;
}

// True when `entry` maps a page.
bool Walk::append(Path& path, const Entry& entry, const Mode& m, unsigned level) const {
    path.entries[path.count++] = entry;
    path.page_shift = 12 + (level - 1) * m.index_bits;
    const bool has_rights = !(m.pae_root && level == m.levels);
    if (has_rights) {
        path.writable &= (entry.value & pte::RW) != 0;
        path.user &= (entry.value & pte::US) != 0;
        if (m.entry_size == 8 && (cpu_.efer() & efer::NXE)) path.executable &= (entry.value & pte::XD) == 0;
    }
    return level == 1 || large(entry.value, m, level);
}

std::uint64_t Walk::load(GuestPhys at, unsigned size) const {
    if (size == 4) {
        std::uint32_t value = 0;
        return memory_.load(at, value) ? value : 0xffffffff;
    }
    std::uint64_t value = 0;
    return memory_.load(at, value) ? value : ~0ull;
}

bool Walk::large(std::uint64_t entry, const Mode& m, unsigned level) const {
    if (!(entry & pte::PS)) return false;
    if (m.entry_size == 4) return level == 2 && (cpu_.cr4() & cr4::PSE);
    return level == 2 || (level == 3 && !m.pae_root);
}

// SDM volume 3, tables 4-4, 4-8 to 4-11 and 4-14 to 4-20.
bool Walk::reserved(std::uint64_t entry, const Mode& m, unsigned level) const {
    if (m.entry_size == 4) {
        if (!large(entry, m, level)) return false;
        // PSE-36: bits 20:13 are address bits 39:32, as far as MAXPHYADDR reaches.
        const unsigned reach = features_.physical_bits < 40 ? features_.physical_bits : 40;
        return entry & bits(21, reach - 19);
    }
    std::uint64_t mask = above_physical();
    if (m.pae_root) {
        if (level == m.levels) return entry & (mask | bits(63, 52) | bits(8, 5) | bits(2, 1));
        mask |= bits(62, 52);
    }
    if (!(cpu_.efer() & efer::NXE)) mask |= pte::XD;
    if (level >= 4 || (level == 3 && !features_.gigabyte_pages)) mask |= pte::PS;
    if (large(entry, m, level)) mask |= bits(12 + (level - 1) * m.index_bits - 1, 13);
    return entry & mask;
}

// SDM volume 3, 4.6.1.
bool Walk::allowed(const Path& path, Access access) const {
    if (!access.user) return allowed_supervisor(path, access);
    if (!path.user) return false;
    if (access.kind == Access::Kind::write) return path.writable;
    return access.kind == Access::Kind::read || path.executable;
}

bool Walk::allowed_supervisor(const Path& path, Access access) const {
    const std::uint64_t cr4_value = cpu_.cr4();
    if (access.kind == Access::Kind::execute) return path.executable && !(path.user && (cr4_value & cr4::SMEP));
    if (path.user && (cr4_value & cr4::SMAP) && !(cpu_.rflags() & rflags::AC)) return false;
    return access.kind == Access::Kind::read || path.writable || !(cpu_.cr0() & cr0::WP);
}

// Sets the accessed flags, and for a write the dirty flag (SDM volume 3, 4.8). A PDPTE under PAE paging has none.
Walk::Marked Walk::mark(const Path& path, Access access, const Mode& m) {
    for (unsigned i = m.pae_root ? 1 : 0; i < path.count; ++i) {
        const bool leaf = i + 1 == path.count;
        const std::uint64_t flags = pte::A | (leaf && access.kind == Access::Kind::write ? pte::D : 0);
        const Entry& e = path.entries[i];
        if ((e.value & flags) == flags) continue;
        if (!memory_.compare_exchange(e.at, e.value, e.value | flags, m.entry_size)) return Marked::changed;
    }
    return Marked::yes;
}

GuestPhys Walk::output(const Path& path, GuestVirt address, const Mode& m) const {
    const std::uint64_t leaf = path.entries[path.count - 1].value;
    const std::uint64_t within = (1ull << path.page_shift) - 1;
    std::uint64_t frame = leaf & pte::address_mask;
    if (m.entry_size == 4) {
        frame = leaf & bits(31, 12);
        if (path.page_shift == 22) frame = (leaf & bits(31, 22)) | (leaf & bits(20, 13)) << 19;
    }
    return GuestPhys{(frame & ~within) | (address.value & within)};
}

// SDM volume 3, 4.7.
Fault Walk::page_fault(GuestVirt address, Access access, std::uint32_t code) const {
    if (access.kind == Access::Kind::write) code |= page_fault::write;
    if (access.user) code |= page_fault::user;
    const bool xd = (cpu_.cr4() & cr4::PAE) && (cpu_.efer() & efer::NXE);
    if (access.kind == Access::Kind::execute && (xd || (cpu_.cr4() & cr4::SMEP))) code |= page_fault::instruction;
    return {Exception::PF, code, address.value};
}

}  // namespace bulkhead::guest::emulator
