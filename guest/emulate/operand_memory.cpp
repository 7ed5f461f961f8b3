// SPDX-License-Identifier: Apache-2.0
#include "guest/emulate/operand_memory.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "arch/isa/exception.hpp"

namespace bulkhead::guest::emulator {

namespace {

using isa::Segment;
namespace ar = isa::access_rights;

// Segment types (SDM volume 3, 3.4.5.1).
constexpr std::uint32_t type_code = 8;
constexpr std::uint32_t type_expand_down = 4;  // of data
constexpr std::uint32_t type_writable = 2;     // of data
constexpr std::uint32_t type_readable = 2;     // of code

bool in_limit(const isa::SegmentRegister& s, std::uint64_t offset, unsigned size) {
    const std::uint64_t last = offset + size - 1;
    const bool expand_down = (s.rights & ar::S) && (s.rights & (type_code | type_expand_down)) == type_expand_down;
    if (!expand_down) return last <= s.limit;
    return offset > s.limit && last <= (s.rights & ar::DB ? 0xffffffffu : 0xffffu);
}

}  // namespace

const isa::SegmentRegister& OperandMemory::segment(Segment s) {
    auto& slot = segments_[static_cast<std::size_t>(s)];
    if (!slot) slot = cpu_.segment(s);
    return *slot;
}

bool OperandMemory::canonical(std::uint64_t linear) const {
    const unsigned unused = 64 - linear_bits_;
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(linear << unused) >> unused) == linear;
}

bool OperandMemory::valid_target(std::uint64_t rip) {
    return code_ == CodeSize::bits64 ? canonical(rip) : rip <= segment(Segment::CS).limit;
}

// Real-address mode pushes no error code (SDM volume 3, 20.1.4).
isa::Fault OperandMemory::segment_fault(Segment segment) const {
    isa::Fault fault{segment == Segment::SS ? isa::Exception::SS : isa::Exception::GP, 0u, 0};
    if (!(cpu_.cr0() & isa::cr0::PE)) fault.error_code.reset();
    return fault;
}

// Rights and limit outside 64-bit mode (SDM volume 3, 5.3 and 5.5; chapter 20 for real and virtual-8086 mode).
std::optional<isa::Fault> OperandMemory::violation(Segment name, std::uint64_t offset, unsigned size,
                                                   Access::Kind kind) {
    const isa::SegmentRegister& s = segment(name);
    const bool protected_mode = (cpu_.cr0() & isa::cr0::PE) && !(cpu_.rflags() & isa::rflags::VM);
    if (protected_mode && kind != Access::Kind::execute) {
        if (s.rights & ar::unusable) return segment_fault(name);
        const bool code = s.rights & type_code;
        if (kind == Access::Kind::write && (code || !(s.rights & type_writable))) return segment_fault(name);
        if (kind == Access::Kind::read && code && !(s.rights & type_readable)) return segment_fault(name);
    }
    if (!in_limit(s, offset, size)) return segment_fault(name);
    return std::nullopt;
}

std::expected<GuestVirt, isa::Fault> OperandMemory::linear(Segment name, std::uint64_t offset, unsigned size,
                                                           Access::Kind kind) {
    if (code_ == CodeSize::bits64) {
        const bool based = name == Segment::FS || name == Segment::GS;
        const std::uint64_t address = based ? offset + segment(name).base : offset;
        if (!canonical(address) || !canonical(address + size - 1)) return std::unexpected(segment_fault(name));
        return GuestVirt{address};
    }
    if (const auto fault = violation(name, offset, size, kind)) return std::unexpected(*fault);
    return GuestVirt{(segment(name).base + offset) & 0xffffffff};
}

std::expected<GuestPhys, isa::Fault> OperandMemory::physical(GuestVirt address, Access::Kind kind) {
    const GuestVirt page = address.align_down(page_size);
    for (const Translation& t : translations_)
        if (t.page == page && t.kind == kind) return t.frame + address.offset_in(page_size);
    const auto translated = translate_.translate(address, {kind, user_});
    if (!translated) return translated;
    translations_[next_translation_++ % translations_.size()] = {page, translated->align_down(page_size), kind};
    return translated;
}

// SDM volume 3, table 6-7; 16 bytes are as the processor likes.
bool OperandMemory::misaligned(GuestVirt address, unsigned unit) const {
    return unit < 16 && !address.is_aligned(std::bit_floor(unit)) && user_ && (cpu_.cr0() & isa::cr0::AM) &&
           (cpu_.rflags() & isa::rflags::AC);
}

Expected<Location> OperandMemory::locate(Segment name, std::uint64_t offset, unsigned size, Access::Kind kind,
                                         Alignment alignment) {
    const auto first = linear(name, offset, size, kind);
    if (!first) return stop(first.error());
    if (alignment == Alignment::required && !first->is_aligned(size)) return stop(segment_fault(Segment::DS));
    const auto in_page = static_cast<unsigned>(page_size - first->offset_in(page_size));
    const unsigned first_size = std::min(size, in_page);
    Location location{};
    const auto frame = physical(*first, kind);
    if (!frame) return stop(frame.error());
    location.first = *frame;
    location.first_size = static_cast<std::uint8_t>(first_size);
    if (first_size < size) {
        GuestVirt next = *first + first_size;
        if (code_ != CodeSize::bits64) next.value &= 0xffffffff;
        const auto second = physical(next, kind);
        if (!second) return stop(second.error());
        location.second = *second;
        location.second_size = static_cast<std::uint8_t>(size - first_size);
    }
    // Comes last: a page fault has priority (SDM volume 3, table 6-2).
    if (misaligned(*first, alignment == Alignment::pointer ? size - 2 : size)) return stop({isa::Exception::AC, 0u, 0});
    breakpoints_met_ |= cpu_.breakpoints_at(*first, size, kind == Access::Kind::write);
    return location;
}

// The first and the last one stand for those between them: limits are at ends, and a page has one translation.
OperandMemory::Run OperandMemory::locate_run(Segment name, std::uint64_t offset, unsigned size, unsigned count,
                                             Access::Kind kind) {
    const auto first = locate(name, offset, size, kind);
    if (!first || first->second_size != 0) return {};
    const auto left_in_page = static_cast<unsigned>(page_size - first->first.offset_in(page_size));
    count = std::min(count, left_in_page / size);
    const auto last = locate(name, offset + (count - 1) * size, size, kind);
    if (!last || !bus_.takes_runs(first->first, count * size)) return {};
    return {first->first, count};
}

Expected<unsigned> OperandMemory::fetch(std::uint64_t rip, std::span<std::byte> to) {
    const auto first = linear(Segment::CS, rip, 1, Access::Kind::execute);
    if (!first) return stop(first.error());
    std::uint64_t size = std::min<std::uint64_t>(to.size(), page_size - first->offset_in(page_size));
    if (code_ != CodeSize::bits64) size = std::min<std::uint64_t>(size, segment(Segment::CS).limit - rip + 1);
    const auto frame = physical(*first, Access::Kind::execute);
    if (!frame) return stop(frame.error());
    if (!bus_.read(*frame, to.first(size))) return unsupported();
    return static_cast<unsigned>(size);
}

Expected<void> OperandMemory::read(const Location& location, std::span<std::byte> to) {
    if (!bus_.read(location.first, to.first(location.first_size))) return unsupported();
    const auto rest = to.subspan(location.first_size, location.second_size);
    if (!rest.empty() && !bus_.read(location.second, rest)) return unsupported();
    return {};
}

Expected<void> OperandMemory::write(const Location& location, std::span<const std::byte> from) {
    if (!bus_.write(location.first, from.first(location.first_size))) return unsupported();
    const auto rest = from.subspan(location.first_size, location.second_size);
    if (!rest.empty() && !bus_.write(location.second, rest)) return unsupported();
    return {};
}

Expected<std::uint64_t> OperandMemory::read(const Location& location) {
    std::array<std::byte, 16> bytes{};
    const auto done = read(location, bytes);
    if (!done) return std::unexpected(done.error());
    std::uint64_t value = 0;
    std::memcpy(&value, bytes.data(), sizeof value);
    return value;
}

Expected<void> OperandMemory::write(const Location& location, std::uint64_t value) {
    std::array<std::byte, sizeof value> bytes{};
    std::memcpy(bytes.data(), &value, sizeof value);
    return write(location, bytes);
}

}  // namespace bulkhead::guest::emulator
