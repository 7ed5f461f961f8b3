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

// What a PVH kernel is started with. The images are only read.
struct PvhBoot {
    std::span<const std::byte> kernel;  // an ELF file, 32-bit or 64-bit
    std::span<const std::byte> initrd;  // the first module; empty: none
    std::string_view cmdline;
    std::span<const BootModule> modules;
    std::span<const E820Entry> map;  // in ascending order
    GuestPhys rsdp{};
};

// Loads a kernel that has the note XEN_ELFNOTE_PHYS32_ENTRY (Xen, docs/misc/pvh.pandoc), as Linux's vmlinux does:
// 32-bit protected mode without paging, flat segments, EBX at hvm_start_info of version 1. The modules follow the
// kernel.
[[nodiscard]] std::expected<InitialState, LoadError> load_pvh(const PvhBoot& boot, Memory& memory);

}  // namespace bulkhead::guest
