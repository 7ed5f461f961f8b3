// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "lib/address.hpp"
#include "mm/page_table.hpp"

namespace bulkhead::mm {

// A mapping for a moment, on this CPU alone: a 4-KiB page or a 2-MiB block of memory that the hypervisor does not map
// otherwise, guest memory above all. A CPU has 32 windows on pages and 16 on blocks at a time; needing more is a fault
// of the hypervisor. A window is not handed to another CPU, and the interrupt sink opens none.
class [[nodiscard]] Window {
  public:
    // `page` may be any address in the page; `data` then is the page's first byte.
    explicit Window(HostPhys page, PageSize size = PageSize::size_4k);
    ~Window();
    Window(const Window&) = delete;
    Window& operator=(const Window&) = delete;

    std::byte* data() const { return data_; }
    std::span<std::byte> bytes() const { return {data_, bytes_in(size_)}; }
    template <class T>
    T* at(std::uint64_t offset) const {
        return reinterpret_cast<T*>(data_ + offset);
    }

  private:
    std::byte* data_{};
    PageSize size_;
    unsigned slot_{};
};

// A window on a 2-MiB block that stays open until it is closed: for a CPU's own cache of what it reaches again and
// again.
class BlockWindow {
  public:
    // The block that contains `block`, instead of what the window showed before.
    void open(HostPhys block);
    void close();
    std::byte* data() const { return data_; }  // null while closed

  private:
    std::byte* data_{};
    unsigned slot_{};
};

inline constexpr unsigned small_windows = 32;
inline constexpr unsigned large_windows = 16;

// The entries behind this CPU's windows: `small` are those of 4-KiB pages, `large` those of 2-MiB pages.
struct WindowTables {
    std::uint64_t* small;
    std::uint64_t* large;
};
void use_window_tables(WindowTables tables);

}  // namespace bulkhead::mm
