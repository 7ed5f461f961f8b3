// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "guest/memory.hpp"
#include "vmx/ept.hpp"

namespace bulkhead::monitor {

// A guest's RAM through its EPT. The blocks that were reached last stay mapped, on this CPU alone, until
// `close_windows`.
class GuestMemory final : public guest::Memory {
  public:
    explicit GuestMemory(vmx::Ept& ept) : ept_(ept) {}

    bool read(GuestPhys from, std::span<std::byte> to) override;
    bool write(GuestPhys to, std::span<const std::byte> from) override;
    bool fill(GuestPhys to, std::uint64_t size, std::byte value) override;
    std::optional<std::uint64_t> word(GuestPhys at, unsigned size) override;
    // One locked instruction: the guest's other vCPUs may be at it too.
    bool compare_exchange(GuestPhys at, std::uint64_t expected, std::uint64_t desired, unsigned size) override;

    // Unmaps all that this CPU has mapped of any guest's RAM: before it runs another guest, and before memory that was
    // reached here changes hands.
    static void close_windows();

  private:
    // The byte at `at`, mapped together with the rest of its 2-MiB block; null where there is no RAM.
    std::byte* reach(GuestPhys at);
    std::byte* open(GuestPhys block);
    template <class Visit>
    bool for_each_piece(GuestPhys start, std::uint64_t size, Visit visit);

    vmx::Ept& ept_;
};

}  // namespace bulkhead::monitor
