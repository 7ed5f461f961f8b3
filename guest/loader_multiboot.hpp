// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <expected>
#include <span>
#include <string_view>

#include "guest/cpu_state.hpp"
#include "guest/e820.hpp"
#include "guest/load_error.hpp"
#include "guest/memory.hpp"
#include "guest/placement.hpp"

namespace bulkhead::guest {

// What a Multiboot kernel is started with. The images are only read.
struct MultibootBoot {
    std::span<const std::byte> kernel;  // an ELF file, or any file whose header has its addresses
    std::string_view cmdline;           // without the kernel's own name, as GRUB has it
    std::span<const BootModule> modules;
    std::span<const E820Entry> map;  // in ascending order
};

// Loads a kernel by the Multiboot Specification, version 0.6.96 ("Multiboot 1"): 32-bit protected mode without paging,
// flat segments, EAX and EBX as there. The modules follow the kernel, page-aligned; the boot information lies in base
// memory.
[[nodiscard]] std::expected<InitialState, LoadError> load_multiboot(const MultibootBoot& boot, Memory& memory);

}  // namespace bulkhead::guest
