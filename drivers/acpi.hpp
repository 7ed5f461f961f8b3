// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string_view>

#include "arch/isa/apic.hpp"
#include "drivers/ioapic.hpp"
#include "lib/address.hpp"
#include "lib/delegate.hpp"

// What the hypervisor needs from the ACPI tables (ACPI 6.4, chapter 5). The tables are firmware's word and not trusted:
// all that is wrong in them is an error or left out, and never a reason to hang.
namespace bulkhead::drivers::acpi {

inline constexpr std::size_t max_processors = 64;
inline constexpr std::size_t max_io_apics = 8;
inline constexpr std::size_t isa_irqs = 16;

// Makes `size` bytes of physical memory readable until the next call; an empty span when it cannot.
using MapPhysical = Delegate<std::span<const std::byte>(HostPhys, std::uint64_t size)>;

enum class Error : std::uint8_t {
    bad_rsdp,       // signature or checksum of the pointer that the boot loader handed over
    bad_root,       // neither the XSDT nor the RSDT can be read
    no_madt,        // no MADT, or one with a wrong length or checksum
    no_processors,  // a MADT that lists no usable processor
};
std::string_view describe(Error error);

struct IoApicEntry {
    std::uint8_t id{};
    HostPhys address;
    std::uint32_t gsi_base{};
};

// Where an ISA interrupt arrives.
struct IsaRoute {
    std::uint32_t gsi{};
    isa::apic::TriggerMode trigger{isa::apic::TriggerMode::edge};
    Polarity polarity{Polarity::active_high};

    friend constexpr bool operator==(const IsaRoute&, const IsaRoute&) = default;
};

struct PmTimerBlock {
    std::uint16_t port{};
    bool is_32_bit{};

    friend constexpr bool operator==(const PmTimerBlock&, const PmTimerBlock&) = default;
};

enum class AddressSpace : std::uint8_t { memory = 0, io = 1, pci_configuration = 2 };

struct ResetRegister {
    AddressSpace space{};
    std::uint64_t address{};
    std::uint8_t value{};

    friend constexpr bool operator==(const ResetRegister&, const ResetRegister&) = default;
};

// How to enter S5 (ACPI 6.4, 4.8.3.2 and 7.4.2): PM1 control ports and the sleep types of \_S5. In legacy mode
// `enable_value` goes to `smi_command` first.
struct SoftOff {
    std::uint16_t pm1a_control{};
    std::uint16_t pm1b_control{};  // 0: none
    std::uint8_t sleep_type_a{};
    std::uint8_t sleep_type_b{};
    std::uint16_t smi_command{};  // 0: the machine is always in ACPI mode
    std::uint8_t enable_value{};

    friend constexpr bool operator==(const SoftOff&, const SoftOff&) = default;
};

struct Platform {
    std::array<std::uint32_t, max_processors> apic_ids{};  // of the processors that can be used, in the table's order
    std::size_t processor_count{};
    std::size_t processors_left_out{};  // beyond max_processors
    std::array<IoApicEntry, max_io_apics> io_apics{};
    std::size_t io_apic_count{};
    std::array<IsaRoute, isa_irqs> isa_routes{};
    HostPhys local_apic;
    bool has_legacy_pics{};

    // From the FADT; absent when it is, or says nothing usable.
    std::optional<PmTimerBlock> pm_timer;
    std::optional<ResetRegister> reset;
    std::optional<SoftOff> soft_off;
    std::uint8_t century_register{};  // of the RTC; 0: none

    bool madt_truncated{};  // an entry was malformed; what came after it is not known

    std::span<const std::uint32_t> processors() const { return {apic_ids.data(), processor_count}; }
    std::span<const IoApicEntry> io_apic_entries() const { return {io_apics.data(), io_apic_count}; }
};

// `rsdp` is the pointer structure itself, as Multiboot2 hands over a copy of it: version 1 or 2.
std::expected<Platform, Error> read_platform(std::span<const std::byte> rsdp, MapPhysical map);

}  // namespace bulkhead::drivers::acpi
