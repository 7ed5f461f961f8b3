// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <stdexcept>

#include "lib/address.hpp"

namespace bulkhead::test {

// The memory of the machine that the hypervisor reaches by windows only: guests' blocks.
struct FakeRam {
    HostPhys base;
    std::span<std::byte> bytes;

    std::byte* at(HostPhys address, std::uint64_t size) const {
        if (address < base || address - base > bytes.size() || size > bytes.size() - (address - base))
            throw std::logic_error("a window on what is not memory");
        return bytes.data() + (address - base);
    }
};

inline FakeRam& ram() {
    static FakeRam fake;
    return fake;
}

}  // namespace bulkhead::test
