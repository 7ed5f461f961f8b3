// SPDX-License-Identifier: Apache-2.0
#include "guest/bios_data.hpp"

#include <cstdint>

#include "guest/machine.hpp"
#include "guest/memory_map.hpp"

namespace bulkhead::guest {
namespace {

constexpr GuestPhys com1_base{0x400}, ebda_segment{0x40e}, equipment{0x410}, base_memory{0x413};
constexpr std::uint16_t has_fpu = 1u << 1, one_serial_port = 1u << 9;
constexpr std::uint64_t paragraph = 16;

}  // namespace

bool write_bios_data(Memory& memory) {
    constexpr std::uint64_t ebda_kib = (0xa'0000 - layout::ebda.value) / kib;
    return memory.store(com1_base, Machine::com1) &&
           memory.store(ebda_segment, static_cast<std::uint16_t>(layout::ebda.value / paragraph)) &&
           memory.store(equipment, static_cast<std::uint16_t>(has_fpu | one_serial_port)) &&
           memory.store(base_memory, static_cast<std::uint16_t>(layout::ebda.value / kib)) &&
           // The area starts with its own size.
           memory.store(layout::ebda, static_cast<std::uint8_t>(ebda_kib));
}

}  // namespace bulkhead::guest
