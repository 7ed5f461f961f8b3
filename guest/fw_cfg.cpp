// SPDX-License-Identifier: Apache-2.0
#include "guest/fw_cfg.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

namespace bulkhead::guest {
namespace {

constexpr std::string_view signature = "QEMU", dma_signature = "QEMU CFG";
constexpr std::uint32_t has_ports = 1u << 0, has_dma = 1u << 1;

// The request in memory, big-endian: control, length, address.
namespace control {
constexpr std::uint32_t error = 1u << 0, read = 1u << 1, skip = 1u << 2, select = 1u << 3, write = 1u << 4;
constexpr unsigned key_shift = 16;
}  // namespace control

// How much is moved at a time, and how long the guest then runs before the next.
constexpr std::uint64_t part = 1 * mib;
constexpr std::uint64_t pauses_per_second = 10'000;

// Bit 14 asks to write, which no item allows.
constexpr std::uint16_t key_mask = 0xbfff;

template <class T>
T get_big_endian(std::span<const std::byte> bytes, std::size_t offset) {
    T value{};
    std::memcpy(&value, bytes.data() + offset, sizeof value);
    return std::byteswap(value);
}

template <class T>
void put_big_endian(std::span<std::byte> bytes, std::size_t offset, T value) {
    value = std::byteswap(value);
    std::memcpy(bytes.data() + offset, &value, sizeof value);
}

}  // namespace

FwCfg::FwCfg(Memory& memory, TimerQueue& timers)
    : memory_(memory), timers_(timers), timer_(timers, Delegate<void()>::to<&FwCfg::go_on>(this)) {
    static_cast<void>(add(fw_cfg_key::signature, std::as_bytes(std::span{signature})));
    static_cast<void>(add_value(fw_cfg_key::id, has_ports | has_dma));
    static_cast<void>(add(fw_cfg_key::file_directory, std::span{directory_}.first(4)));
    selected_ = items_[0].data;
}

// ---- items

const FwCfg::Item* FwCfg::find(std::uint16_t key) const {
    const auto end = items_.begin() + static_cast<std::ptrdiff_t>(item_count_);
    const auto found = std::find_if(items_.begin(), end, [key](const Item& item) { return item.key == key; });
    return found == end ? nullptr : &*found;
}

bool FwCfg::add(std::uint16_t key, std::span<const std::byte> data) {
    if (item_count_ == items_.size() || find(key) != nullptr || data.size() > ~std::uint32_t{0}) return false;
    items_[item_count_++] = {key, data};
    return true;
}

std::optional<std::span<const std::byte>> FwCfg::keep(std::span<const std::byte> data) {
    if (data.size() > kept_.size() - kept_size_) return std::nullopt;
    const auto copy = std::span{kept_}.subspan(kept_size_, data.size());
    std::ranges::copy(data, copy.begin());
    kept_size_ += data.size();
    return copy;
}

bool FwCfg::add_copy(std::uint16_t key, std::span<const std::byte> data) {
    const auto copy = keep(data);
    return copy && add(key, *copy);
}

bool FwCfg::is_file(std::string_view name) const {
    for (std::size_t i = 0; i < file_count_; ++i) {
        const auto* const present = reinterpret_cast<const char*>(&directory_[4 + i * directory_entry + 8]);
        if (name == present) return true;
    }
    return false;
}

// The directory: how many there are, then size, key, two bytes of nothing, and the name with a zero behind it.
bool FwCfg::add_file(std::string_view name, std::span<const std::byte> data) {
    if (file_count_ == max_files || name.empty() || name.size() > longest_name || is_file(name)) return false;
    const auto key = static_cast<std::uint16_t>(fw_cfg_key::file_first + file_count_);
    if (!add(key, data)) return false;
    const auto entry = std::span{directory_}.subspan(4 + file_count_ * directory_entry, directory_entry);
    put_big_endian(entry, 0, static_cast<std::uint32_t>(data.size()));
    put_big_endian(entry, 4, key);
    std::memcpy(&entry[8], name.data(), name.size());
    ++file_count_;
    put_big_endian(std::span{directory_}, 0, static_cast<std::uint32_t>(file_count_));
    for (Item& item : items_)
        if (item.key == fw_cfg_key::file_directory)
            item.data = std::span{directory_}.first(4 + file_count_ * directory_entry);
    return true;
}

bool FwCfg::add_file_copy(std::string_view name, std::span<const std::byte> data) {
    const auto copy = keep(data);
    return copy && add_file(name, *copy);
}

// ---- ports

void FwCfg::select(std::uint16_t key) {
    const Item* const item = find(key & key_mask);
    selected_ = item != nullptr ? item->data : std::span<const std::byte>{};
    offset_ = 0;
}

std::span<const std::byte> FwCfg::rest() const {
    return selected_.subspan(std::min(offset_, selected_.size()));
}

// Zeros behind the end.
std::uint8_t FwCfg::next_byte() {
    const auto left = rest();
    if (left.empty()) return 0;
    ++offset_;
    return static_cast<std::uint8_t>(left[0]);
}

std::uint32_t FwCfg::in(std::uint16_t port, unsigned size) {
    if (port >= dma_port)
        return bytewise_in(port, size, [](std::uint16_t p) {
            return p <= dma_last ? static_cast<std::uint8_t>(dma_signature[p - dma_port]) : std::uint8_t{0xff};
        });
    return size == 1 ? next_byte() : ~0u;
}

// The selector has 16 bits; the address has 64, and writing its lower half starts the transfer.
void FwCfg::out(std::uint16_t port, unsigned size, std::uint32_t value) {
    if (port == selector_port && size == 2) select(static_cast<std::uint16_t>(value));
    if (size != 4) return;
    if (port == dma_port) dma_address_ = std::uint64_t{std::byteswap(value)} << 32;
    if (port != dma_port + 4) return;
    dma_address_ |= std::byteswap(value);
    start_transfer();
}

// ---- transfers

void FwCfg::start_transfer() {
    const GuestPhys at{std::exchange(dma_address_, 0)};
    std::array<std::byte, 16> request{};
    if (transfer_ || !memory_.read(at, request)) return finish(at, false);
    const auto command = get_big_endian<std::uint32_t>(request, 0);
    const auto length = get_big_endian<std::uint32_t>(request, 4);
    if ((command & control::select) != 0) select(static_cast<std::uint16_t>(command >> control::key_shift));
    if ((command & control::read) != 0) {
        transfer_ = {at, GuestPhys{get_big_endian<std::uint64_t>(request, 8)}, length};
        return go_on();
    }
    if ((command & control::write) != 0) return finish(at, length == 0);
    if ((command & control::skip) != 0) offset_ = std::min<std::uint64_t>(offset_ + length, selected_.size());
    finish(at, true);
}

// False where the guest has no memory.
bool FwCfg::move_part() {
    Transfer& t = *transfer_;
    const std::uint64_t size = std::min(t.left, part);
    const auto data = rest().first(std::min<std::uint64_t>(size, rest().size()));
    if (!memory_.write(t.to, data) || !memory_.fill(t.to + data.size(), size - data.size(), std::byte{})) return false;
    offset_ += data.size();
    t.to += size;
    t.left -= size;
    return true;
}

// Until it is finished the guest sees its own command in the control word, as the specification allows.
void FwCfg::go_on() {
    const GuestPhys control = transfer_->control;
    const bool good = move_part();
    if (good && transfer_->left != 0) return timer_.arm(timers_.now() + timers_.hz() / pauses_per_second + 1);
    transfer_.reset();
    finish(control, good);
}

void FwCfg::finish(GuestPhys at, bool good) {
    // Where the guest has no memory there is nobody to tell.
    static_cast<void>(memory_.store(at, std::byteswap(good ? 0u : control::error)));
}

}  // namespace bulkhead::guest
