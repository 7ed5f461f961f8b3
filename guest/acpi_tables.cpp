// SPDX-License-Identifier: Apache-2.0
#include "guest/acpi_tables.hpp"

#include <cstring>

#include "guest/acpi_format.hpp"
#include "guest/acpi_pm.hpp"
#include "guest/memory_map.hpp"
#include "guest/pci.hpp"

extern "C" const std::byte guest_dsdt_begin[], guest_dsdt_end[], guest_dsdt_pc_begin[], guest_dsdt_pc_end[];

namespace bulkhead::guest {
namespace {

using namespace acpi;

constexpr std::uint8_t sci_irq = AcpiPm::sci_irq;
constexpr std::uint8_t cmos_century = 0x32;

std::uint8_t sum(std::span<const std::byte> bytes) {
    unsigned total = 0;
    for (const std::byte b : bytes) total += static_cast<unsigned>(b);
    return static_cast<std::uint8_t>(total);
}

template <class T>
std::span<const std::byte> bytes_of(const T& value) {
    return std::as_bytes(std::span{&value, 1});
}

// What makes the sum of all bytes zero.
template <class T>
void seal(T& table) {
    table.header.checksum = 0;
    table.header.checksum = static_cast<std::uint8_t>(-sum(bytes_of(table)));
}

bool is_dsdt(std::span<const std::byte> table) {
    Header header;
    if (table.size() < sizeof header) return false;
    std::memcpy(&header, table.data(), sizeof header);
    return header.signature == text("DSDT") && header.length == table.size() && sum(table) == 0;
}

constexpr GenericAddress io_register(std::uint16_t port, std::uint8_t bytes) {
    return {.bit_width = static_cast<std::uint8_t>(8 * bytes), .address = port};
}

Fadt make_fadt(GuestPhys facs, GuestPhys dsdt, const TableParameters& parameters) {
    const auto pm = [&](std::uint16_t port) {
        return static_cast<std::uint16_t>(port - AcpiPm::base + parameters.pm_base);
    };
    Fadt t;
    t.firmware_ctrl = static_cast<std::uint32_t>(facs.value);
    t.dsdt = static_cast<std::uint32_t>(dsdt.value);
    t.x_dsdt = dsdt.value;
    t.sci_int = sci_irq;
    t.pm1a_evt_blk = pm(AcpiPm::pm1_event);
    t.pm1_evt_len = 4;
    t.x_pm1a_evt_blk = io_register(pm(AcpiPm::pm1_event), 4);
    t.pm1a_cnt_blk = pm(AcpiPm::pm1_control);
    t.pm1_cnt_len = 2;
    t.x_pm1a_cnt_blk = io_register(pm(AcpiPm::pm1_control), 2);
    t.pm_tmr_blk = pm(AcpiPm::pm_timer);
    t.pm_tmr_len = 4;
    t.x_pm_tmr_blk = io_register(pm(AcpiPm::pm_timer), 4);
    // No C2 and no C3: latencies above 100 and 1000 us say so.
    t.p_lvl2_lat = 0x0fff;
    t.p_lvl3_lat = 0x0fff;
    t.century = cmos_century;
    // There is a serial port, but mostly neither a display nor a keyboard: systems need not look for one.
    t.iapc_boot_arch = fadt::LEGACY_DEVICES | (parameters.display_and_keyboard ? fadt::I8042 : fadt::VGA_NOT_PRESENT);
    // The power button and the RTC's alarm are in PM1; there is no sleep button.
    t.flags = fadt::WBINVD | fadt::PROC_C1 | fadt::SLP_BUTTON | fadt::RESET_REG_SUP;
    t.reset_reg = io_register(PciHost::reset_port, 1);
    t.reset_value = PciHost::reset_value;
    seal(t);
    return t;
}

// Puts one table after the other into their place.
class Writer {
  public:
    Writer(Memory& memory, const TablePlace& place)
        : memory_(memory), next_(place.tables), end_(place.tables + place.size) {}

    std::expected<GuestPhys, TableError> append(std::span<const std::byte> table) {
        const GuestPhys at = next_.align_up(alignment);
        if (at > end_ || table.size() > end_ - at) return std::unexpected{TableError::no_room};
        if (!memory_.write(at, table)) return std::unexpected{TableError::not_memory};
        next_ = at + table.size();
        return at;
    }
    GuestPhys next() const { return next_; }

  private:
    static constexpr std::uint64_t alignment = 64;  // what FACS needs
    Memory& memory_;
    GuestPhys next_;
    const GuestPhys end_;
};

// The MADT is as long as there are processors.
class MadtBuilder {
  public:
    template <class T>
    bool add(const T& entry) {
        if (sizeof entry > bytes_.size() - used_) return false;
        std::memcpy(bytes_.data() + used_, &entry, sizeof entry);
        used_ += sizeof entry;
        return true;
    }
    std::span<const std::byte> finish(Madt header) {
        header.header.length = static_cast<std::uint32_t>(used_);
        std::memcpy(bytes_.data(), &header, sizeof header);
        header.header.checksum = static_cast<std::uint8_t>(-sum(std::span{bytes_}.first(used_)));
        std::memcpy(bytes_.data(), &header, sizeof header);
        return std::span{bytes_}.first(used_);
    }

  private:
    std::array<std::byte, 2304> bytes_{};  // room for 255 processors
    std::size_t used_{sizeof(Madt)};
};

std::expected<GuestPhys, TableError> append_madt(Writer& writer, unsigned vcpus) {
    MadtBuilder madt;
    bool room = true;
    for (unsigned id = 0; id < vcpus && room; ++id)
        room = madt.add(MadtLocalApic{.acpi_processor_id = static_cast<std::uint8_t>(id),
                                      .apic_id = static_cast<std::uint8_t>(id)});
    // ISA interrupts are at the I/O APIC's pins of the same number, edge and active high, but for these two.
    room =
        room &&
        madt.add(MadtIoApic{.id = layout::ioapic_id, .address = static_cast<std::uint32_t>(layout::ioapic.value)}) &&
        madt.add(MadtInterruptOverride{.source = 0, .global_system_interrupt = 2, .flags = mps_inti::conforms}) &&
        madt.add(MadtInterruptOverride{
            .source = sci_irq, .global_system_interrupt = sci_irq, .flags = mps_inti::active_high | mps_inti::level}) &&
        madt.add(MadtLocalApicNmi{});
    if (!room) return std::unexpected{TableError::no_room};
    return writer.append(madt.finish({.local_apic_address = static_cast<std::uint32_t>(layout::lapic.value)}));
}

std::expected<TablePlaces, TableError> write_root(Memory& memory, Writer& writer, GuestPhys fadt, GuestPhys madt,
                                                  GuestPhys rsdp_at) {
    Rsdt rsdt;
    rsdt.entries = {static_cast<std::uint32_t>(fadt.value), static_cast<std::uint32_t>(madt.value)};
    seal(rsdt);
    Xsdt xsdt;
    xsdt.entries = {fadt.value, madt.value};
    seal(xsdt);
    const auto rsdt_at = writer.append(bytes_of(rsdt));
    if (!rsdt_at) return std::unexpected{rsdt_at.error()};
    const auto xsdt_at = writer.append(bytes_of(xsdt));
    if (!xsdt_at) return std::unexpected{xsdt_at.error()};

    Rsdp rsdp;
    rsdp.rsdt_address = static_cast<std::uint32_t>(rsdt_at->value);
    rsdp.xsdt_address = xsdt_at->value;
    rsdp.checksum = static_cast<std::uint8_t>(-sum(bytes_of(rsdp).first(20)));
    rsdp.extended_checksum = static_cast<std::uint8_t>(-sum(bytes_of(rsdp)));
    if (!memory.store(rsdp_at, rsdp)) return std::unexpected{TableError::not_memory};
    return TablePlaces{.fadt = fadt, .rsdt = *rsdt_at, .xsdt = *xsdt_at, .end = writer.next()};
}

}  // namespace

std::span<const std::byte> built_in_dsdt() { return {guest_dsdt_begin, guest_dsdt_end}; }
std::span<const std::byte> built_in_pc_dsdt() { return {guest_dsdt_pc_begin, guest_dsdt_pc_end}; }

std::expected<TablePlaces, TableError> write_acpi_tables(Memory& memory, const TableParameters& parameters) {
    if (!is_dsdt(parameters.dsdt)) return std::unexpected{TableError::bad_dsdt};
    Writer writer{memory, parameters.place};
    const auto dsdt = writer.append(parameters.dsdt);
    if (!dsdt) return std::unexpected{dsdt.error()};
    const auto facs = writer.append(bytes_of(Facs{}));
    if (!facs) return std::unexpected{facs.error()};
    const auto fadt = writer.append(bytes_of(make_fadt(*facs, *dsdt, parameters)));
    if (!fadt) return std::unexpected{fadt.error()};
    const auto madt = append_madt(writer, parameters.vcpus);
    if (!madt) return std::unexpected{madt.error()};
    return write_root(memory, writer, *fadt, *madt, parameters.place.rsdp);
}

}  // namespace bulkhead::guest
