// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <expected>
#include <span>

#include "guest/emulate/instruction.hpp"

namespace bulkhead::guest::emulator {

inline constexpr std::size_t longest_instruction = 15;

enum class DecodeError : std::uint8_t {
    truncated,    // more bytes are needed
    too_long,     // more than 15 bytes: #GP(0) (SDM volume 3, 6.15)
    undefined,    // #UD on every processor
    unsupported,  // an instruction, or a reserved encoding, that this emulator does not know
};

// Decodes the instruction that starts at bytes[0]. Reads no state but the size of the code segment.
std::expected<Instruction, DecodeError> decode(std::span<const std::byte> bytes, CodeSize code);

}  // namespace bulkhead::guest::emulator
