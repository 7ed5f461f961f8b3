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

// Puts what QEMU has there of a machine into the device: processors, memory (all RAM, in `etc/e820`, since it is for
// firmware to say what it keeps), and the kernel with what goes with it. A bzImage is parted into its setup and its
// protected-mode part, with the addresses at which firmware is to put them; any other kernel is there as the file it
// is. What is in `items` stays where it is and as it is. False when there is no room.
[[nodiscard]] bool add_items(FwCfg& device, const FwCfgItems& items);

}  // namespace bulkhead::guest
