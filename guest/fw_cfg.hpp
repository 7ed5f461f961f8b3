// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "guest/bus.hpp"
#include "guest/clock.hpp"
#include "guest/memory.hpp"

namespace bulkhead::guest {

// Keys of items (QEMU, include/standard-headers/linux/qemu_fw_cfg.h). Files have keys from `file_first` on.
namespace fw_cfg_key {
inline constexpr std::uint16_t signature = 0x00, id = 0x01, ram_size = 0x03, cpus = 0x05, kernel_address = 0x07,
                               kernel_size = 0x08, initrd_address = 0x0a, initrd_size = 0x0b, boot_menu = 0x0e,
                               max_cpus = 0x0f, kernel_entry = 0x10, kernel_data = 0x11, initrd_data = 0x12,
                               cmdline_address = 0x13, cmdline_size = 0x14, cmdline_data = 0x15, setup_address = 0x16,
                               setup_size = 0x17, setup_data = 0x18, file_directory = 0x19, file_first = 0x20,
                               irq0_override = 0x8002;
}

// QEMU's firmware configuration device (docs/specs/fw_cfg.rst): a selector at port 510h, data at 511h, and transfers to
// memory by the address at 514h. It holds items, which the guest can only read. An item that is not there is empty.
class FwCfg final : public PortDevice {
  public:
    static constexpr std::uint16_t selector_port = 0x510, data_port = 0x511, dma_port = 0x514, dma_last = 0x51b;
    static constexpr std::size_t max_files = 32, longest_name = 55;

    // Comes with its signature, its features and an empty directory.
    FwCfg(Memory& memory, TimerQueue& timers);

    // What is added stays where it is and as it is; false when there is no room, or the key or the name is taken.
    [[nodiscard]] bool add(std::uint16_t key, std::span<const std::byte> data);
    [[nodiscard]] bool add_file(std::string_view name, std::span<const std::byte> data);
    // A copy of a small item: 1 KiB for all of them.
    [[nodiscard]] bool add_copy(std::uint16_t key, std::span<const std::byte> data);
    [[nodiscard]] bool add_file_copy(std::string_view name, std::span<const std::byte> data);
    // Numbers are little-endian.
    template <class T>
    [[nodiscard]] bool add_value(std::uint16_t key, T value) {
        return add_copy(key, std::as_bytes(std::span{&value, 1}));
    }

    std::uint32_t in(std::uint16_t port, unsigned size) override;
    void out(std::uint16_t port, unsigned size, std::uint32_t value) override;

  private:
    struct Item {
        std::uint16_t key{};
        std::span<const std::byte> data;
    };
    // A read that takes so long that it is done in parts: nothing else of this guest's, and of no other, waits for it.
    struct Transfer {
        GuestPhys control, to;
        std::uint64_t left{};
    };

    static constexpr std::size_t max_items = max_files + 32;
    static constexpr std::size_t directory_entry = 64;

    const Item* find(std::uint16_t key) const;
    std::optional<std::span<const std::byte>> keep(std::span<const std::byte> data);
    bool is_file(std::string_view name) const;
    void select(std::uint16_t key);
    // What is left of the selected item.
    std::span<const std::byte> rest() const;
    std::uint8_t next_byte();
    void start_transfer();
    bool move_part();
    void go_on();
    void finish(GuestPhys control, bool good);

    Memory& memory_;
    TimerQueue& timers_;
    Timer timer_;
    std::array<Item, max_items> items_{};
    std::size_t item_count_{};
    std::size_t file_count_{};
    std::array<std::byte, 4 + max_files * directory_entry> directory_{};
    std::array<std::byte, 1024> kept_{};
    std::size_t kept_size_{};
    std::span<const std::byte> selected_;
    std::uint64_t offset_{};
    std::uint64_t dma_address_{};
    std::optional<Transfer> transfer_;
};

}  // namespace bulkhead::guest
