// SPDX-License-Identifier: Apache-2.0
#include "guest/mp_table.hpp"

#include <array>
#include <cstring>
#include <span>

#include "guest/acpi_format.hpp"
#include "guest/acpi_pm.hpp"
#include "guest/config.hpp"
#include "guest/irq_fabric.hpp"
#include "guest/memory_map.hpp"
#include "guest/mp_format.hpp"

namespace bulkhead::guest {
namespace {

constexpr std::uint8_t local_apic_version = 0x14, io_apic_version = 0x20;
constexpr std::uint8_t pci_bus = 0, isa_bus = 1;
constexpr unsigned cascade = 2;

// What makes the sum of all bytes zero.
std::uint8_t checksum(std::span<const std::byte> bytes) {
    unsigned total = 0;
    for (const std::byte b : bytes) total += static_cast<unsigned>(b);
    return static_cast<std::uint8_t>(-total);
}

class TableBuilder {
  public:
    template <class T>
    void add(const T& entry) {
        std::memcpy(&bytes_[used_], &entry, sizeof entry);
        used_ += sizeof entry;
        ++header_.entry_count;
    }
    std::span<const std::byte> finish() {
        header_.length = static_cast<std::uint16_t>(used_);
        header_.local_apic_address = static_cast<std::uint32_t>(layout::lapic.value);
        std::memcpy(bytes_.data(), &header_, sizeof header_);
        header_.checksum = checksum(std::span{bytes_}.first(used_));
        std::memcpy(bytes_.data(), &header_, sizeof header_);
        return std::span{bytes_}.first(used_);
    }

  private:
    static constexpr std::size_t most = sizeof(mp::Header) + max_vcpus * sizeof(mp::Processor) + 2 * sizeof(mp::Bus) +
                                        sizeof(mp::IoApic) + (IrqFabric::isa_irqs + 2) * sizeof(mp::Interrupt);
    mp::Header header_;
    std::array<std::byte, most> bytes_{};
    std::size_t used_{sizeof(mp::Header)};
};

void add_processors(TableBuilder& table, const MpParameters& parameters) {
    using namespace mp::processor_flag;
    for (unsigned id = 0; id < parameters.vcpus; ++id)
        table.add(mp::Processor{.apic_id = static_cast<std::uint8_t>(id),
                                .apic_version = local_apic_version,
                                .flags = static_cast<std::uint8_t>(enabled | (id == 0 ? bootstrap : 0)),
                                .signature = parameters.cpu_signature,
                                .features = parameters.cpu_features});
}

// Each ISA interrupt is at the pin of its number, 0 at that of the cascade, which has no line.
void add_interrupts(TableBuilder& table) {
    using namespace acpi::mps_inti;
    for (unsigned irq = 0; irq < IrqFabric::isa_irqs; ++irq) {
        if (irq == cascade) continue;
        table.add(mp::Interrupt{.type = mp::io_interrupt,
                                .kind = mp::InterruptType::vectored,
                                .flags = irq == AcpiPm::sci_irq ? std::uint16_t{active_high | level} : conforms,
                                .bus = isa_bus,
                                .irq = static_cast<std::uint8_t>(irq),
                                .to_apic = layout::ioapic_id,
                                .to_input = static_cast<std::uint8_t>(irq == 0 ? cascade : irq)});
    }
    table.add(mp::Interrupt{.type = mp::local_interrupt,
                            .kind = mp::InterruptType::ext_int,
                            .bus = isa_bus,
                            .to_apic = mp::all_apics,
                            .to_input = 0});
    table.add(mp::Interrupt{.type = mp::local_interrupt,
                            .kind = mp::InterruptType::nmi,
                            .bus = isa_bus,
                            .to_apic = mp::all_apics,
                            .to_input = 1});
}

}  // namespace

bool write_mp_table(Memory& memory, const MpParameters& parameters) {
    TableBuilder table;
    add_processors(table, parameters);
    table.add(mp::Bus{.id = pci_bus, .name = {'P', 'C', 'I', ' ', ' ', ' '}});
    table.add(mp::Bus{.id = isa_bus, .name = {'I', 'S', 'A', ' ', ' ', ' '}});
    table.add(mp::IoApic{.id = layout::ioapic_id,
                         .version = io_apic_version,
                         .address = static_cast<std::uint32_t>(layout::ioapic.value)});
    add_interrupts(table);

    const GuestPhys table_at = layout::mp_pointer + sizeof(mp::FloatingPointer);
    mp::FloatingPointer pointer{.table = static_cast<std::uint32_t>(table_at.value)};
    pointer.checksum = checksum(std::as_bytes(std::span{&pointer, 1}));
    return memory.store(layout::mp_pointer, pointer) && memory.write(table_at, table.finish());
}

}  // namespace bulkhead::guest
