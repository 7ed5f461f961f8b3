// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <stdexcept>
#include <vector>

#include "guest/memory.hpp"

namespace {

// RAM from address 0 on.
class FakeMemory final : public bulkhead::guest::Memory {
  public:
    explicit FakeMemory(std::size_t size) : bytes_(size) {}

    bool read(bulkhead::GuestPhys from, std::span<std::byte> to) override {
        if (!inside(from, to.size())) return false;
        std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(from.value), to.size(), to.begin());
        return true;
    }
    bool write(bulkhead::GuestPhys to, std::span<const std::byte> from) override {
        if (!inside(to, from.size())) return false;
        std::ranges::copy(from, bytes_.begin() + static_cast<std::ptrdiff_t>(to.value));
        return true;
    }
    bool fill(bulkhead::GuestPhys to, std::uint64_t size, std::byte value) override {
        if (!inside(to, size)) return false;
        std::fill_n(bytes_.begin() + static_cast<std::ptrdiff_t>(to.value), size, value);
        return true;
    }
    template <class T>
    T at(std::uint64_t address) {
        T value{};
        if (!load(bulkhead::GuestPhys{address}, value)) throw std::out_of_range("not RAM");
        return value;
    }
    template <class T>
    void set(std::uint64_t address, T value) {
        if (!store(bulkhead::GuestPhys{address}, value)) throw std::out_of_range("not RAM");
    }

  private:
    bool inside(bulkhead::GuestPhys first, std::uint64_t size) const {
        return first.value <= bytes_.size() && size <= bytes_.size() - first.value;
    }
    std::vector<std::byte> bytes_;
};

}  // namespace
