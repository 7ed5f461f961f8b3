// SPDX-License-Identifier: Apache-2.0
#include "guest/emulate/descriptor.hpp"

#include <algorithm>
#include <array>

#include "arch/isa/msr.hpp"

namespace bulkhead::guest::emulator {

namespace {

// Calls visit(address, offset, size) for the part in each page.
template <class Visit>
Expected<void> for_each_page(GuestVirt at, std::size_t size, Visit visit) {
    for (std::size_t done = 0; done < size;) {
        const GuestVirt piece = at + done;
        const std::size_t count = std::min<std::size_t>(size - done, page_size - piece.offset_in(page_size));
        if (const Expected<void> visited = visit(piece, done, count); !visited) return visited;
        done += count;
    }
    return {};
}

}  // namespace

Expected<void> SystemMemory::probe(GuestVirt at, unsigned size, Access::Kind kind) {
    return for_each_page(at, size, [&](GuestVirt piece, std::size_t, std::size_t) -> Expected<void> {
        const auto frame = translate_.translate(piece, {kind, false, true});
        if (!frame) return stop(frame.error());
        return {};
    });
}

Expected<void> SystemMemory::read(GuestVirt from, std::span<std::byte> to) {
    return for_each_page(from, to.size(), [&](GuestVirt piece, std::size_t offset, std::size_t size) -> Expected<void> {
        const auto frame = translate_.translate(piece, {Access::Kind::read, false, true});
        if (!frame) return stop(frame.error());
        if (!bus_.read(*frame, to.subspan(offset, size))) return unsupported();
        return {};
    });
}

Expected<void> SystemMemory::write(GuestVirt to, std::span<const std::byte> from) {
    return for_each_page(to, from.size(), [&](GuestVirt piece, std::size_t offset, std::size_t size) -> Expected<void> {
        const auto frame = translate_.translate(piece, {Access::Kind::write, false, true});
        if (!frame) return stop(frame.error());
        if (!bus_.write(*frame, from.subspan(offset, size))) return unsupported();
        return {};
    });
}

std::optional<GuestVirt> SystemMemory::address_of(std::uint16_t selector, unsigned size) const {
    const std::uint64_t offset = selector & 0xfff8u;
    std::uint64_t base = 0, limit = 0;
    if (selector & 4) {
        const isa::SegmentRegister ldt = cpu_.segment(isa::Segment::LDTR);
        if (ldt.rights & isa::access_rights::unusable) return std::nullopt;
        base = ldt.base;
        limit = ldt.limit;
    } else {
        const DescriptorTable gdt = cpu_.gdtr();
        base = gdt.base;
        limit = gdt.limit;
    }
    if (offset + size - 1 > limit) return std::nullopt;
    const std::uint64_t address = base + offset;
    return GuestVirt{cpu_.efer() & isa::efer::LMA ? address : address & 0xffffffff};
}

// System descriptors have 16 bytes in IA-32e mode (SDM volume 3, 7.2.3).
Expected<std::optional<Descriptor>> SystemMemory::descriptor(std::uint16_t selector) {
    const auto at = address_of(selector, 8);
    if (!at) return std::optional<Descriptor>{};
    std::array<std::uint64_t, 2> raw{};
    const auto bytes = std::as_writable_bytes(std::span{raw});
    if (const auto done = read(*at, bytes.first(8)); !done) return std::unexpected(done.error());
    Descriptor found{.raw = raw[0]};
    if (!found.is_system() || !(cpu_.efer() & isa::efer::LMA)) return found;
    if (!address_of(selector, 16)) return std::optional<Descriptor>{};
    if (const auto done = read(*at + 8, bytes.last(8)); !done) return std::unexpected(done.error());
    found.upper_base = static_cast<std::uint32_t>(raw[1]);
    return found;
}

Expected<void> SystemMemory::mark(std::uint16_t selector, unsigned set, unsigned clear) {
    const auto at = address_of(selector, 8);
    if (!at) return unsupported();
    std::array<std::byte, 1> rights{};
    if (const auto done = read(*at + 5, rights); !done) return done;
    rights[0] = (rights[0] & ~std::byte(clear)) | std::byte(set);
    return write(*at + 5, rights);
}

Expected<void> SystemMemory::mark_accessed(std::uint16_t selector, Descriptor& descriptor) {
    if (descriptor.type() & descriptor_type::accessed) return {};
    if (const auto marked = mark(selector, descriptor_type::accessed); !marked) return marked;
    descriptor.raw |= std::uint64_t{descriptor_type::accessed} << 40;
    return {};
}

}  // namespace bulkhead::guest::emulator
