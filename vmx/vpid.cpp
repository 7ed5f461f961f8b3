// SPDX-License-Identifier: Apache-2.0
#include "vmx/vpid.hpp"

#include <bit>

namespace bulkhead::vmx {

std::optional<std::uint16_t> VpidAllocator::allocate() {
    const LockGuard guard(lock_);
    for (unsigned word = 0; word < used_.size(); ++word) {
        const auto free_bit = static_cast<unsigned>(std::countr_one(used_[word]));
        if (free_bit == 64) continue;
        used_[word] |= 1ull << free_bit;
        return static_cast<std::uint16_t>(64 * word + free_bit);
    }
    return std::nullopt;
}

void VpidAllocator::release(std::uint16_t vpid) {
    const LockGuard guard(lock_);
    if (vpid != 0 && vpid < capacity) used_[vpid / 64] &= ~(1ull << vpid % 64);
}

}  // namespace bulkhead::vmx
