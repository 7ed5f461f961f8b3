// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

// The tables of the MultiProcessor Specification 1.4, chapter 4, as they lie in memory.
namespace bulkhead::guest::mp {

template <std::size_t size>
using Text = std::array<char, size>;

inline constexpr std::uint8_t revision_1_4 = 4;

struct FloatingPointer {
    Text<4> signature{'_', 'M', 'P', '_'};
    std::uint32_t table{};
    std::uint8_t length{1};  // in units of 16 bytes
    std::uint8_t revision{revision_1_4};
    std::uint8_t checksum{};
    // All zero: there is a table, and the 8259s reach the first processor by its LINT0 (virtual wire mode).
    std::array<std::uint8_t, 5> features{};
};
static_assert(sizeof(FloatingPointer) == 16);

struct Header {
    Text<4> signature{'P', 'C', 'M', 'P'};
    std::uint16_t length{};
    std::uint8_t revision{revision_1_4};
    std::uint8_t checksum{};
    Text<8> oem_id{'B', 'U', 'L', 'K', 'H', 'E', 'A', 'D'};
    Text<12> product_id{'V', 'I', 'R', 'T', 'U', 'A', 'L', ' ', 'P', 'C', ' ', ' '};
    std::uint32_t oem_table{};
    std::uint16_t oem_table_size{};
    std::uint16_t entry_count{};
    std::uint32_t local_apic_address{};
    std::uint16_t extended_length{};
    std::uint8_t extended_checksum{}, reserved{};
};
static_assert(sizeof(Header) == 44);

struct Processor {
    std::uint8_t type{0}, apic_id{}, apic_version{}, flags{};
    std::uint32_t signature{}, features{};  // EAX and EDX of CPUID 1
    std::uint32_t reserved[2]{};
};
static_assert(sizeof(Processor) == 20);
namespace processor_flag {
inline constexpr std::uint8_t enabled = 1u << 0, bootstrap = 1u << 1;
}

struct Bus {
    std::uint8_t type{1}, id{};
    Text<6> name{};
};
static_assert(sizeof(Bus) == 8);

struct IoApic {
    std::uint8_t type{2}, id{}, version{}, flags{1};  // usable
    std::uint32_t address{};
};
static_assert(sizeof(IoApic) == 8);

enum class InterruptType : std::uint8_t { vectored = 0, nmi = 1, ext_int = 3 };

// From a bus to a pin of an I/O APIC (type 3), or to an input of local APICs (type 4).
struct Interrupt {
    std::uint8_t type{};
    InterruptType kind{};
    std::uint16_t flags{};  // as in the MADT: acpi::mps_inti
    std::uint8_t bus{}, irq{}, to_apic{}, to_input{};
};
static_assert(sizeof(Interrupt) == 8);
inline constexpr std::uint8_t io_interrupt = 3, local_interrupt = 4, all_apics = 0xff;

}  // namespace bulkhead::guest::mp
