// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <expected>
#include <span>

#include "guest/cpu_state.hpp"
#include "guest/e820.hpp"
#include "guest/load_error.hpp"
#include "guest/memory.hpp"

namespace bulkhead::guest {

// A flat binary is loaded at 1 MiB and entered at its first byte, in 32-bit protected mode without paging:
// - CS is 0010h and DS, ES, SS, FS and GS are 0018h, all flat 4 GiB with base 0; there is no GDT in memory behind
//   them, so a guest loads its own before it loads a segment register or takes an interrupt;
// - interrupts are off and there is no IDT; all general registers are zero, so there is no stack;
// - the memory after the image is zero.
inline constexpr GuestPhys flat_load_address{1 * mib};

[[nodiscard]] std::expected<InitialState, LoadError> load_flat(std::span<const std::byte> image,
                                                               std::span<const E820Entry> map, Memory& memory);

}  // namespace bulkhead::guest
