// SPDX-License-Identifier: Apache-2.0
// mm/window.cpp without page tables: a window shows the memory of mm/memory.hpp beside this file.
#include "mm/window.hpp"

#include "mm/memory.hpp"

namespace bulkhead::mm {

void use_window_tables(WindowTables) {}

Window::Window(HostPhys page, PageSize size)
    : data_(test::ram().at(page.align_down(bytes_in(size)), bytes_in(size))), size_(size) {}
Window::~Window() = default;

void BlockWindow::open(HostPhys block) { data_ = test::ram().at(block.align_down(large_page_size), large_page_size); }
void BlockWindow::close() { data_ = nullptr; }

}  // namespace bulkhead::mm
