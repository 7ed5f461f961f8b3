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

namespace bulkhead::guest {

// What a Linux guest is started with. The images are only read.
struct LinuxBoot {
    std::span<const std::byte> kernel;  // a bzImage
    std::span<const std::byte> initrd;  // empty: none
    std::string_view cmdline;
    std::span<const E820Entry> map;     // in ascending order
    GuestPhys rsdp{};
};

// Loads a kernel by the boot protocol (Linux, Documentation/arch/x86/boot.rst), 2.10 or newer: by the 64-bit one where
// it has a 64-bit entry point, with the first 4 GiB mapped to themselves, else by the 32-bit one.
[[nodiscard]] std::expected<InitialState, LoadError> load_linux(const LinuxBoot& boot, Memory& memory);

}  // namespace bulkhead::guest
