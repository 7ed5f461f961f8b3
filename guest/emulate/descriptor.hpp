// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <expected>
#include <span>

#include "arch/isa/exception.hpp"
#include "arch/isa/segment.hpp"
#include "guest/cpu_state.hpp"
#include "guest/emulate/bus.hpp"
#include "guest/emulate/result.hpp"

// Segment and system descriptors in the guest's tables (SDM volume 3, 3.4.5 and 3.5).
namespace bulkhead::guest::emulator {

// A selector's parts (SDM volume 3, 3.4.2).
constexpr bool is_null(std::uint16_t selector) { return (selector & ~3u) == 0; }
constexpr unsigned rpl_of(std::uint16_t selector) { return selector & 3; }
// As an error code: the RPL is not part of it (SDM volume 3, 6.13).
constexpr std::uint32_t error_of(std::uint16_t selector) { return selector & 0xfffcu; }

// System descriptor types (SDM volume 3, table 3-2), and the bits of the other ones (table 3-1).
namespace descriptor_type {
inline constexpr unsigned tss16_available = 1, ldt = 2, tss16_busy = 3, task_gate = 5, tss32_available = 9,
                          tss32_busy = 11;
inline constexpr unsigned tss_busy = 2, tss_32 = 8;  // bits
inline constexpr unsigned accessed = 1, writable = 2, readable = 2, conforming = 4, expand_down = 4, code = 8;
}  // namespace descriptor_type

struct Descriptor {
    std::uint64_t raw{};
    std::uint32_t upper_base{};  // of a system descriptor in IA-32e mode

    constexpr unsigned type() const { return raw >> 40 & 0xf; }
    constexpr bool is_system() const { return !(raw >> 44 & 1); }
    constexpr unsigned dpl() const { return raw >> 45 & 3; }
    constexpr bool present() const { return raw >> 47 & 1; }
    constexpr bool long_code() const { return raw >> 53 & 1; }
    constexpr bool big() const { return raw >> 54 & 1; }
    constexpr std::uint32_t rights() const { return static_cast<std::uint32_t>(raw >> 40 & 0xf0ff); }  // VMCS layout
    constexpr std::uint32_t limit() const {
        const auto limit = static_cast<std::uint32_t>((raw & 0xffff) | (raw >> 32 & 0xf0000));
        return raw >> 55 & 1 ? limit << 12 | 0xfff : limit;
    }
    constexpr std::uint64_t base() const {
        return (raw >> 16 & 0xffffff) | (raw >> 56) << 24 | static_cast<std::uint64_t>(upper_base) << 32;
    }
    constexpr bool is_code() const { return !is_system() && (type() & descriptor_type::code); }
    constexpr bool is_conforming() const { return is_code() && (type() & descriptor_type::conforming); }
    constexpr bool is_writable_data() const {
        return !is_system() && !is_code() && (type() & descriptor_type::writable);
    }
    constexpr bool is_readable() const { return !is_system() && (!is_code() || (type() & descriptor_type::readable)); }
    // What the segment register holds then.
    constexpr isa::SegmentRegister segment(std::uint16_t selector) const {
        return {selector, rights(), limit(), base()};
    }
};

// What the processor itself reads and writes at linear addresses: with supervisor rights, whatever the CPL.
class SystemMemory {
  public:
    SystemMemory(const CpuState& cpu, Bus& bus, Translate& translate) : cpu_(cpu), bus_(bus), translate_(translate) {}

    // Raises the faults that an access would have, and does nothing else.
    Expected<void> probe(GuestVirt at, unsigned size, Access::Kind kind);
    Expected<void> read(GuestVirt from, std::span<std::byte> to);
    Expected<void> write(GuestVirt to, std::span<const std::byte> from);

    // The descriptor that a selector names, wherever it may be: a null selector is the caller's affair. Nothing: it is
    // beyond its table.
    Expected<std::optional<Descriptor>> descriptor(std::uint16_t selector);
    // Sets and clears bits of its type.
    Expected<void> mark(std::uint16_t selector, unsigned set, unsigned clear = 0);
    // The accessed bit, where it is not set.
    Expected<void> mark_accessed(std::uint16_t selector, Descriptor& descriptor);

  private:
    std::optional<GuestVirt> address_of(std::uint16_t selector, unsigned size) const;

    const CpuState& cpu_;
    Bus& bus_;
    Translate& translate_;
};

}  // namespace bulkhead::guest::emulator
