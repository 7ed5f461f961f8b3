// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "guest/config.hpp"
#include "guest/fw_cfg.hpp"

namespace bulkhead::guest {

struct FwCfgItems {
    std::uint64_t memory{};  // bytes
    unsigned vcpus{1};
    Loader loader{};
    std::span<const std::byte> kernel{}, initrd{};
    std::string_view cmdline{};
    std::uint64_t entry{};  // where Bulkhead's loader entered the kernel
};

// What firmware is told beside the machine's own description.
struct FirmwareItems {
    std::uint64_t memory{};  // bytes
    unsigned vcpus{1};
    unsigned boot_menu{};  // seconds; 0: none
    // Each may be empty.
    std::span<const std::byte> vgabios{}, option_rom{}, floppy{};
};

// Puts what QEMU has there of a machine into the device: processors, memory (all RAM, in `etc/e820`, since it is for
// firmware to say what it keeps), and the kernel with what goes with it. A bzImage is parted into its setup and its
// protected-mode part, with the addresses at which firmware is to put them; any other kernel is there as the file it
// is. What is in `items` stays where it is and as it is. False when there is no room.
[[nodiscard]] bool add_items(FwCfg& device, const FwCfgItems& items);

// The same of a machine that starts with firmware, and the files that SeaBIOS looks for (SeaBIOS,
// docs/Runtime_config.md).
[[nodiscard]] bool add_firmware_items(FwCfg& device, const FirmwareItems& items);

}  // namespace bulkhead::guest
