// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <type_traits>

#include "lib/address.hpp"

namespace bulkhead::guest {

// A guest's RAM as the hypervisor's model and loaders reach it: by copy, never by a lasting pointer. False, and
// nothing guaranteed about the rest, where a byte of the range is not RAM of this guest.
class Memory {
  public:
    [[nodiscard]] virtual bool read(GuestPhys from, std::span<std::byte> to) = 0;
    [[nodiscard]] virtual bool write(GuestPhys to, std::span<const std::byte> from) = 0;
    [[nodiscard]] virtual bool fill(GuestPhys to, std::uint64_t size, std::byte value) = 0;
    // Stores `desired` where `expected` stands; false where something else stands, or no RAM. `at` is aligned to
    // `size`, 4 or 8. An implementation whose guest has several vCPUs overrides this with an atomic one.
    [[nodiscard]] virtual bool compare_exchange(GuestPhys at, std::uint64_t expected, std::uint64_t desired,
                                                unsigned size) {
        std::uint64_t value = 0;
        const auto bytes = std::as_writable_bytes(std::span{&value, 1}).first(size);
        if (!read(at, bytes) || value != expected) return false;
        value = desired;
        return write(at, bytes);
    }

    // What stands at `at`, which is aligned to `size`, 4 or 8; nothing where there is no RAM. One access in an
    // implementation whose guest has several vCPUs.
    [[nodiscard]] virtual std::optional<std::uint64_t> word(GuestPhys at, unsigned size) {
        std::uint64_t value = 0;
        if (!read(at, std::as_writable_bytes(std::span{&value, 1}).first(size))) return std::nullopt;
        return value;
    }

    template <class T>
        requires std::is_trivially_copyable_v<T>
    [[nodiscard]] bool store(GuestPhys to, const T& value) {
        return write(to, std::as_bytes(std::span{&value, 1}));
    }
    template <class T>
        requires std::is_trivially_copyable_v<T>
    [[nodiscard]] bool load(GuestPhys from, T& value) {
        return read(from, std::as_writable_bytes(std::span{&value, 1}));
    }

  protected:
    ~Memory() = default;
};

}  // namespace bulkhead::guest
