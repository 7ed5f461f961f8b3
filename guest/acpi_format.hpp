// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

// The tables as they lie in memory, by the field names of the ACPI specification 2.0 (chapter 5.2), the first with
// 64-bit addresses and the oldest that current systems take without complaint.
namespace bulkhead::guest::acpi {

template <std::size_t size>
using Text = std::array<char, size>;

// Without the terminating zero of the literal.
template <std::size_t size>
constexpr Text<size - 1> text(const char (&literal)[size]) {
    Text<size - 1> result{};
    for (std::size_t i = 0; i + 1 < size; ++i) result[i] = literal[i];
    return result;
}

struct [[gnu::packed]] GenericAddress {
    std::uint8_t space{1};  // system I/O
    std::uint8_t bit_width{}, bit_offset{}, access_size{};
    std::uint64_t address{};
};

struct [[gnu::packed]] Rsdp {
    Text<8> signature = text("RSD PTR ");
    std::uint8_t checksum{};  // over the first 20 bytes
    Text<6> oem_id = text("BULKHD");
    std::uint8_t revision{2};
    std::uint32_t rsdt_address{};
    std::uint32_t length{36};
    std::uint64_t xsdt_address{};
    std::uint8_t extended_checksum{};
    std::array<std::uint8_t, 3> reserved{};
};
static_assert(sizeof(Rsdp) == 36);

struct [[gnu::packed]] Header {
    Text<4> signature{};
    std::uint32_t length{};
    std::uint8_t revision{};
    std::uint8_t checksum{};
    Text<6> oem_id = text("BULKHD");
    Text<8> oem_table_id = text("BULKHEAD");
    std::uint32_t oem_revision{1};
    Text<4> creator_id = text("BLKH");
    std::uint32_t creator_revision{1};
};
static_assert(sizeof(Header) == 36);

struct [[gnu::packed]] Rsdt {
    Header header{.signature = text("RSDT"), .length = 44, .revision = 1};
    std::array<std::uint32_t, 2> entries{};
};
static_assert(sizeof(Rsdt) == 44);

struct [[gnu::packed]] Xsdt {
    Header header{.signature = text("XSDT"), .length = 52, .revision = 1};
    std::array<std::uint64_t, 2> entries{};
};
static_assert(sizeof(Xsdt) == 52);

struct [[gnu::packed]] Fadt {
    Header header{.signature = text("FACP"), .length = 244, .revision = 3};
    std::uint32_t firmware_ctrl{}, dsdt{};
    std::uint8_t reserved0{}, preferred_pm_profile{};
    std::uint16_t sci_int{};
    std::uint32_t smi_cmd{};
    std::uint8_t acpi_enable{}, acpi_disable{}, s4bios_req{}, pstate_cnt{};
    std::uint32_t pm1a_evt_blk{}, pm1b_evt_blk{}, pm1a_cnt_blk{}, pm1b_cnt_blk{}, pm2_cnt_blk{}, pm_tmr_blk{},
        gpe0_blk{}, gpe1_blk{};
    std::uint8_t pm1_evt_len{}, pm1_cnt_len{}, pm2_cnt_len{}, pm_tmr_len{}, gpe0_blk_len{}, gpe1_blk_len{}, gpe1_base{},
        cst_cnt{};
    std::uint16_t p_lvl2_lat{}, p_lvl3_lat{}, flush_size{}, flush_stride{};
    std::uint8_t duty_offset{}, duty_width{}, day_alrm{}, mon_alrm{}, century{};
    std::uint16_t iapc_boot_arch{};
    std::uint8_t reserved1{};
    std::uint32_t flags{};
    GenericAddress reset_reg{};
    std::uint8_t reset_value{};
    std::array<std::uint8_t, 3> reserved2{};
    std::uint64_t x_firmware_ctrl{}, x_dsdt{};
    GenericAddress x_pm1a_evt_blk{}, x_pm1b_evt_blk{}, x_pm1a_cnt_blk{}, x_pm1b_cnt_blk{}, x_pm2_cnt_blk{},
        x_pm_tmr_blk{}, x_gpe0_blk{}, x_gpe1_blk{};
};
static_assert(sizeof(Fadt) == 244);
static_assert(offsetof(Fadt, sci_int) == 46 && offsetof(Fadt, pm_tmr_blk) == 76 && offsetof(Fadt, century) == 108);
static_assert(offsetof(Fadt, flags) == 112 && offsetof(Fadt, reset_reg) == 116 && offsetof(Fadt, x_dsdt) == 140);

namespace fadt {
inline constexpr std::uint32_t WBINVD = 1u << 0, PROC_C1 = 1u << 2, SLP_BUTTON = 1u << 5, RESET_REG_SUP = 1u << 10;
inline constexpr std::uint16_t LEGACY_DEVICES = 1u << 0, I8042 = 1u << 1, VGA_NOT_PRESENT = 1u << 2;
}  // namespace fadt

struct [[gnu::packed]] Facs {
    Text<4> signature = text("FACS");
    std::uint32_t length{64};
    std::uint32_t hardware_signature{}, firmware_waking_vector{}, global_lock{}, flags{};
    std::uint64_t x_firmware_waking_vector{};
    std::uint8_t version{1};
    std::array<std::uint8_t, 31> reserved{};
};
static_assert(sizeof(Facs) == 64);

struct [[gnu::packed]] Madt {
    Header header{.signature = text("APIC"), .revision = 1};
    std::uint32_t local_apic_address{};
    std::uint32_t flags{1};  // PCAT_COMPAT: there is a pair of 8259s as well
};
static_assert(sizeof(Madt) == 44);

struct [[gnu::packed]] MadtLocalApic {
    std::uint8_t type{0}, length{8}, acpi_processor_id{}, apic_id{};
    std::uint32_t flags{1};  // enabled
};
static_assert(sizeof(MadtLocalApic) == 8);

struct [[gnu::packed]] MadtIoApic {
    std::uint8_t type{1}, length{12}, id{}, reserved{};
    std::uint32_t address{}, global_system_interrupt_base{};
};
static_assert(sizeof(MadtIoApic) == 12);

struct [[gnu::packed]] MadtInterruptOverride {
    std::uint8_t type{2}, length{10}, bus{0}, source{};
    std::uint32_t global_system_interrupt{};
    std::uint16_t flags{};
};
static_assert(sizeof(MadtInterruptOverride) == 10);
namespace mps_inti {
inline constexpr std::uint16_t conforms = 0, active_high = 1, level = 3u << 2;
}

struct [[gnu::packed]] MadtLocalApicNmi {
    std::uint8_t type{4}, length{6}, acpi_processor_id{0xff};  // all processors
    std::uint16_t flags{mps_inti::conforms};
    std::uint8_t lint{1};
};
static_assert(sizeof(MadtLocalApicNmi) == 6);

}  // namespace bulkhead::guest::acpi
