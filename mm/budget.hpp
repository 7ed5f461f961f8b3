// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "mm/owner.hpp"

namespace bulkhead::mm {

// What each owner holds and may hold. A budget is a limit, not a reservation; an owner starts without one. The lock is
// the allocator's.
class Budgets {
  public:
    void set(OwnerId owner, std::uint64_t limit) {
        if (is_owner(owner)) account(owner).limit = limit;
    }
    std::uint64_t used(OwnerId owner) const { return is_owner(owner) ? accounts_[index(owner)].used : 0; }

    [[nodiscard]] bool charge(OwnerId owner, std::uint64_t amount) {
        if (!is_owner(owner)) return false;
        Account& a = account(owner);
        // A limit may have been lowered below what is held.
        if (a.used > a.limit || amount > a.limit - a.used) return false;
        a.used += amount;
        return true;
    }
    void refund(OwnerId owner, std::uint64_t amount) { account(owner).used -= amount; }

  private:
    struct Account {
        std::uint64_t used{};
        std::uint64_t limit{~0ull};
    };
    static constexpr std::size_t index(OwnerId owner) { return static_cast<std::size_t>(owner); }
    static constexpr bool is_owner(OwnerId owner) { return owner != OwnerId::nobody && index(owner) < max_owners; }
    Account& account(OwnerId owner) { return accounts_[index(owner)]; }

    std::array<Account, max_owners> accounts_{};
};

}  // namespace bulkhead::mm
