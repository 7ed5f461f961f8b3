// SPDX-License-Identifier: Apache-2.0
#include "guest/bus.hpp"

#include <algorithm>

namespace bulkhead::guest {
namespace {

constexpr std::uint64_t all_ones(unsigned size) { return size >= 8 ? ~0ull : (1ull << (8 * size)) - 1; }

}  // namespace

void PortDevice::in_run(std::uint16_t port, unsigned size, std::span<std::byte> to) {
    each_in(to, size, [&] { return in(port, size); });
}

void PortDevice::out_run(std::uint16_t port, unsigned size, std::span<const std::byte> from) {
    each_out(from, size, [&](std::uint32_t value) { out(port, size, value); });
}

bool PortBus::claim(std::uint16_t first, std::uint16_t last, PortDevice& device) {
    if (count_ == ranges_.size() || last < first) return false;
    for (std::size_t i = 0; i < count_; ++i)
        if (first <= ranges_[i].last && last >= ranges_[i].first) return false;
    ranges_[count_++] = {.first = first, .last = last, .device = &device};
    return true;
}

void PortBus::release(PortDevice& device) {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < count_; ++i)
        if (ranges_[i].device != &device) ranges_[kept++] = ranges_[i];
    std::fill(ranges_.begin() + static_cast<std::ptrdiff_t>(kept), ranges_.end(), Range{});
    count_ = kept;
    last_ = 0;
}

PortBus::Range* PortBus::find(std::uint16_t port) {
    const auto has = [&](const Range& range) { return port >= range.first && port <= range.last; };
    if (has(ranges_[last_])) return &ranges_[last_];
    for (std::size_t i = 0; i < count_; ++i)
        if (has(ranges_[i])) {
            last_ = i;
            return &ranges_[i];
        }
    return nullptr;
}

PortDevice* PortBus::accessed(std::uint16_t port) {
    Range* const range = find(port);
    if (range == nullptr) {
        ++unclaimed_accesses_;
        return nullptr;
    }
    ++range->accesses;
    return range->device;
}

std::uint32_t PortBus::in(std::uint16_t port, unsigned size) {
    PortDevice* const device = accessed(port);
    if (device == nullptr) return static_cast<std::uint32_t>(all_ones(size));
    return device->in(port, size) & static_cast<std::uint32_t>(all_ones(size));
}

void PortBus::out(std::uint16_t port, unsigned size, std::uint32_t value) {
    if (PortDevice* const device = accessed(port))
        device->out(port, size, value & static_cast<std::uint32_t>(all_ones(size)));
}

void PortBus::in_run(std::uint16_t port, unsigned size, std::span<std::byte> to) {
    if (PortDevice* const device = accessed(port))
        device->in_run(port, size, to);
    else
        std::ranges::fill(to, std::byte{0xff});
}

void PortBus::out_run(std::uint16_t port, unsigned size, std::span<const std::byte> from) {
    if (PortDevice* const device = accessed(port)) device->out_run(port, size, from);
}

bool MmioBus::claim(GuestPhys first, std::uint64_t size, MmioDevice& device) {
    if (count_ == ranges_.size() || size == 0) return false;
    for (std::size_t i = 0; i < count_; ++i)
        if (first < ranges_[i].first + ranges_[i].size && ranges_[i].first < first + size) return false;
    ranges_[count_++] = {first, size, &device};
    return true;
}

void MmioBus::move(MmioDevice& device, GuestPhys first) {
    for (std::size_t i = 0; i < count_; ++i)
        if (ranges_[i].device == &device) ranges_[i].first = first;
}

void MmioBus::release(MmioDevice& device) {
    for (std::size_t i = 0; i < count_; ++i)
        if (ranges_[i].device == &device) {
            ranges_[i] = ranges_[--count_];
            return;
        }
}

const MmioBus::Range* MmioBus::find(GuestPhys address) const {
    for (std::size_t i = 0; i < count_; ++i)
        if (address >= ranges_[i].first && address - ranges_[i].first < ranges_[i].size) return &ranges_[i];
    return nullptr;
}

std::uint64_t MmioBus::read(GuestPhys address, unsigned size) {
    const Range* const range = find(address);
    if (range == nullptr) return all_ones(size);
    return range->device->read(address - range->first, size) & all_ones(size);
}

void MmioBus::write(GuestPhys address, unsigned size, std::uint64_t value) {
    if (const Range* const range = find(address))
        range->device->write(address - range->first, size, value & all_ones(size));
}

}  // namespace bulkhead::guest
