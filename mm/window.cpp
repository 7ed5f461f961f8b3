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

}  // namespace

void use_window_tables(WindowTables tables) {
    small.entries = tables.small;
    large.entries = tables.large;
}

Window::Window(HostPhys page, PageSize size) : size_(size) {
    namespace layout = cpu::layout;
    const bool is_small = size == PageSize::size_4k;
    Windows& windows = windows_of(size);
    slot_ = take_slot(windows, is_small ? small_windows : large_windows);
    const HostVirt address =
        (is_small ? layout::small_windows_base : layout::large_windows_base) + slot_ * bytes_in(size);
    data_ = reinterpret_cast<std::byte*>(address.value);
    // The entry was not present, and such a translation is not cached (SDM volume 3, 4.10.2.3).
    std::atomic_ref(windows.entries[slot_])
        .store(HostFormat::leaf(page.align_down(bytes_in(size)), host::private_data, size), std::memory_order_release);
    asm volatile("" ::: "memory");  // what is read through the window is read after
}

Window::~Window() {
    Windows& windows = windows_of(size_);
    std::atomic_ref(windows.entries[slot_]).store(0, std::memory_order_release);
    cpu::invlpg(data_);
    windows.used &= ~(1u << slot_);
}

}  // namespace bulkhead::mm
