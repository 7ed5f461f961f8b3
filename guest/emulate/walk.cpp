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

Walk::Walk(const CpuState& cpu, Memory& memory, PagingFeatures features, const std::array<std::uint64_t, 4>* pdptes)
    : cpu_(cpu), memory_(memory), features_(features), pdptes_(pdptes), cr0_(cpu.cr0()) {
    if (!(cr0_ & cr0::PG)) return;
    cr4_ = cpu.cr4();
    efer_ = cpu.efer();
    if (!(cr4_ & cr4::PAE)) {
        mode_ = Mode::bits32;
        levels_ = 2;
        index_bits_ = 10;
        entry_size_ = 4;
        frame_mask_ = bits(31, 12);
        return;
    }
    frame_mask_ = pte::address_mask;
    reserved_ = pte::address_mask & ~((1ull << features_.physical_bits) - 1);
    if (!(efer_ & efer::NXE)) reserved_ |= pte::XD;
    mode_ = !(efer_ & efer::LMA) ? Mode::pae : cr4_ & cr4::LA57 ? Mode::level5 : Mode::level4;
    levels_ = mode_ == Mode::pae ? 3 : mode_ == Mode::level4 ? 4 : 5;
    if (mode_ == Mode::pae) reserved_ |= bits(62, 52);
}

std::expected<GuestPhys, Fault> Walk::translate(GuestVirt address, Access access) {
    if (mode_ == Mode::none) return GuestPhys{address.value & 0xffffffff};
    for (unsigned attempt = 0;; ++attempt) {
        const auto path = walk(address, access);
        if (!path) return std::unexpected(path.error());
        if (attempt == mark_attempts || mark(*path, access) == Marked::yes) return output(*path, address);
    }
}

std::expected<Walk::Path, Fault> Walk::walk(GuestVirt address, Access access) const {
    Path path;
    // CR3 holds 32-byte alignment under PAE, else a page frame; bit 63 and the PCID are not part of it.
    GuestPhys table{cpu_.cr3() & (mode_ == Mode::pae ? bits(31, 5) : frame_mask_)};
    const std::uint64_t index_mask = (1u << index_bits_) - 1;
    for (unsigned level = levels_;; --level) {
        const unsigned shift = 12 + (level - 1) * index_bits_;
        const std::uint64_t index = (address.value >> shift) & index_mask;
        const GuestPhys at = table + index * entry_size_;
        const std::uint64_t entry = pdptes_ && is_pdpte(level) ? (*pdptes_)[index & 3] : load(at);
        if (!(entry & pte::P)) return std::unexpected(page_fault(address, access, 0));
        if (reserved(entry, level))
            return std::unexpected(page_fault(address, access, page_fault::present | page_fault::reserved_bit));
        path.entries[path.count++] = {at, entry};
        if (!is_pdpte(level)) {
            path.every &= entry;
            path.any |= entry;
        }
        if (level == 1 || large(entry, level)) {
            path.page_shift = shift;
            break;
        }
        table = GuestPhys{entry & frame_mask_};
    }
    if (!allowed(path, access)) {
        const bool key = (path.every & pte::US) && key_denies(path, access);
        return std::unexpected(
            page_fault(address, access, page_fault::present | (key ? page_fault::protection_key : 0)));
    }
    return path;
}

std::uint64_t Walk::load(GuestPhys at) const {
    return memory_.word(at, entry_size_).value_or(entry_size_ == 8 ? ~0ull : 0xffffffff);
}

bool Walk::large(std::uint64_t entry, unsigned level) const {
    if (!(entry & pte::PS)) return false;
    if (mode_ == Mode::bits32) return level == 2 && (cr4_ & cr4::PSE);
    return level == 2 || (level == 3 && mode_ != Mode::pae);
}

// SDM volume 3, tables 4-4, 4-8 to 4-11 and 4-14 to 4-20.
bool Walk::reserved(std::uint64_t entry, unsigned level) const {
    if (entry & reserved_) return true;
    if (is_pdpte(level)) return entry & (pte::XD | bits(8, 5) | bits(2, 1));
    if (!(entry & pte::PS) || level == 1) return false;
    if (mode_ == Mode::bits32) {
        // PSE-36: bits 20:13 are address bits 39:32, as far as MAXPHYADDR reaches.
        const unsigned reach = features_.physical_bits < 40 ? features_.physical_bits : 40;
        return large(entry, level) && (entry & bits(21, reach - 19));
    }
    if (level >= 4 || (level == 3 && !features_.gigabyte_pages)) return true;
    return entry & bits(12 + (level - 1) * index_bits_ - 1, 13);
}

// SDM volume 3, 4.6.1. XD is reserved, and so not set here, where it has no meaning.
bool Walk::allowed(const Path& path, Access access) const {
    const bool user_page = path.every & pte::US;
    if (access.user && !user_page) return false;
    switch (access.kind) {
        case Access::Kind::execute:
            return !(path.any & pte::XD) && (access.user || !user_page || !(cr4_ & cr4::SMEP));
        case Access::Kind::write:
            if (!(path.every & pte::RW) && (access.user || (cr0_ & cr0::WP))) return false;
            break;
        case Access::Kind::read: break;
    }
    if (user_page && key_denies(path, access)) return false;
    return access.user || !user_page || !(cr4_ & cr4::SMAP) || (!access.implicit && (cpu_.rflags() & rflags::AC));
}

// Protection keys hold for data on user pages (SDM volume 3, 4.6.2).
bool Walk::key_denies(const Path& path, Access access) const {
    if (!(cr4_ & cr4::PKE) || !(efer_ & efer::LMA) || access.kind == Access::Kind::execute) return false;
    const auto key = static_cast<unsigned>(path.entries[path.count - 1].value >> 59 & 0xf);
    const std::uint32_t rights = cpu_.pkru() >> (2 * key);
    if (rights & 1) return true;
    return (rights & 2) && access.kind == Access::Kind::write && (access.user || (cr0_ & cr0::WP));
}

// Sets the accessed flags, and for a write the dirty flag (SDM volume 3, 4.8). A PDPTE under PAE paging has none.
Walk::Marked Walk::mark(const Path& path, Access access) {
    const std::uint64_t leaf_flags = access.kind == Access::Kind::write ? pte::A | pte::D : pte::A;
    if ((path.every & pte::A) && (path.entries[path.count - 1].value & leaf_flags) == leaf_flags) return Marked::yes;
    for (unsigned i = mode_ == Mode::pae ? 1 : 0; i < path.count; ++i) {
        const std::uint64_t flags = i + 1 == path.count ? leaf_flags : pte::A;
        const Entry& e = path.entries[i];
        if ((e.value & flags) == flags) continue;
        if (!memory_.compare_exchange(e.at, e.value, e.value | flags, entry_size_)) return Marked::changed;
    }
    return Marked::yes;
}

GuestPhys Walk::output(const Path& path, GuestVirt address) const {
    const std::uint64_t leaf = path.entries[path.count - 1].value;
    const std::uint64_t within = (1ull << path.page_shift) - 1;
    std::uint64_t frame = leaf & frame_mask_;
    if (mode_ == Mode::bits32 && path.page_shift == 22) frame = (leaf & bits(31, 22)) | (leaf & bits(20, 13)) << 19;
    return GuestPhys{(frame & ~within) | (address.value & within)};
}

// SDM volume 3, 4.7.
Fault Walk::page_fault(GuestVirt address, Access access, std::uint32_t code) const {
    if (access.kind == Access::Kind::write) code |= page_fault::write;
    if (access.user) code |= page_fault::user;
    const bool xd = (cr4_ & cr4::PAE) && (efer_ & efer::NXE);
    if (access.kind == Access::Kind::execute && (xd || (cr4_ & cr4::SMEP))) code |= page_fault::instruction;
    return {Exception::PF, code, address.value};
}

}  // namespace bulkhead::guest::emulator
