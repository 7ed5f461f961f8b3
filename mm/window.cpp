// SPDX-License-Identifier: Apache-2.0
#include "mm/window.hpp"

#include <atomic>
#include <bit>

#include "arch/cpu/instructions.hpp"
#include "arch/cpu/layout.hpp"
#include "arch/cpu/percpu.hpp"
#include "lib/log.hpp"
#include "mm/host_format.hpp"

namespace bulkhead::mm {
namespace {

struct Windows {
    std::uint64_t* entries{};
    std::uint32_t used{};  // a bit a window
};
BULKHEAD_PER_CPU constinit Windows small;
BULKHEAD_PER_CPU constinit Windows large;

Windows& windows_of(PageSize size) { return size == PageSize::size_4k ? small : large; }

unsigned take_slot(Windows& windows, unsigned count) {
    const auto slot = static_cast<unsigned>(std::countr_one(windows.used));
    if (slot >= count) panic("all {} memory windows of this kind are open", count);
    windows.used |= 1u << slot;
    return slot;
}

std::byte* show(HostPhys page, PageSize size, unsigned slot) {
    namespace layout = cpu::layout;
    const HostVirt base = size == PageSize::size_4k ? layout::small_windows_base : layout::large_windows_base;
    std::atomic_ref(windows_of(size).entries[slot])
        .store(HostFormat::leaf(page.align_down(bytes_in(size)), host::private_data, size), std::memory_order_release);
    asm volatile("" ::: "memory");  // what is read through the window is read after
    return reinterpret_cast<std::byte*>((base + slot * bytes_in(size)).value);
}

void close_slot(PageSize size, unsigned slot, const std::byte* data) {
    Windows& windows = windows_of(size);
    std::atomic_ref(windows.entries[slot]).store(0, std::memory_order_release);
    cpu::invlpg(data);
    windows.used &= ~(1u << slot);
}

}  // namespace

void use_window_tables(WindowTables tables) {
    small.entries = tables.small;
    large.entries = tables.large;
}

Window::Window(HostPhys page, PageSize size) : size_(size) {
    slot_ = take_slot(windows_of(size), size == PageSize::size_4k ? small_windows : large_windows);
    // The entry was not present, and such a translation is not cached (SDM volume 3, 4.10.2.3).
    data_ = show(page, size, slot_);
}

Window::~Window() { close_slot(size_, slot_, data_); }

void BlockWindow::open(HostPhys block) {
    close();
    slot_ = take_slot(large, large_windows);
    data_ = show(block, PageSize::size_2m, slot_);
}

void BlockWindow::close() {
    if (data_ == nullptr) return;
    close_slot(PageSize::size_2m, slot_, data_);
    data_ = nullptr;
}

}  // namespace bulkhead::mm
