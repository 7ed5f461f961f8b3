// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "arch/isa/apic.hpp"
#include "lib/address.hpp"

namespace bulkhead::guest {

// The registers of a local APIC as the architecture lays them out (SDM volume 3, table 10-1), 32 bits every 16 bytes.
// A processor with APIC virtualisation works on the same page (29.1), which is why it is a page.
class alignas(page_size) RegisterPage {
  public:
    constexpr std::uint32_t read(std::uint32_t offset) const { return words_[offset / 4]; }
    constexpr void write(std::uint32_t offset, std::uint32_t value) { words_[offset / 4] = value; }
    constexpr void clear() { words_ = {}; }

    // IRR, ISR and TMR: a bit for each vector. `bank` is the first register of one of them.
    constexpr bool test(std::uint32_t bank, std::uint8_t vector) const {
        return (read(word_of(bank, vector)) & bit_of(vector)) != 0;
    }
    constexpr void set(std::uint32_t bank, std::uint8_t vector, bool value = true) {
        std::uint32_t& word = words_[word_of(bank, vector) / 4];
        word = value ? word | bit_of(vector) : word & ~bit_of(vector);
    }
    // 0 if none: no vector below 16 is ever requested or in service (10.5.2).
    constexpr std::uint8_t highest(std::uint32_t bank) const {
        for (unsigned i = 8; i-- != 0;)
            if (const std::uint32_t word = read(bank + 16 * i); word != 0)
                return static_cast<std::uint8_t>(32 * i + 31 - static_cast<unsigned>(std::countl_zero(word)));
        return 0;
    }

  private:
    static constexpr std::uint32_t word_of(std::uint32_t bank, std::uint8_t vector) {
        return bank + 16 * (vector / 32u);
    }
    static constexpr std::uint32_t bit_of(std::uint8_t vector) { return 1u << (vector % 32u); }

    std::array<std::uint32_t, page_size / 4> words_{};
};
static_assert(sizeof(RegisterPage) == page_size);

}  // namespace bulkhead::guest
