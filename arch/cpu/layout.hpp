// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "arch/cpu/layout.h"
#include "lib/address.hpp"

// Where things are in the hypervisor's virtual address space. There is no identity map.
namespace bulkhead::cpu::layout {

inline constexpr HostVirt pool_base{LAYOUT_POOL_BASE};
inline constexpr HostVirt modules_base{LAYOUT_MODULES_BASE};
inline constexpr HostVirt mmio_base{LAYOUT_MMIO_BASE};
inline constexpr HostVirt image_base{LAYOUT_IMAGE_BASE};
inline constexpr HostVirt private_base{LAYOUT_PRIVATE_BASE};
inline constexpr HostVirt stacks_base{LAYOUT_STACKS_BASE};
inline constexpr HostVirt small_windows_base{LAYOUT_SMALL_WINDOWS_BASE};
inline constexpr HostVirt large_windows_base{LAYOUT_LARGE_WINDOWS_BASE};

// The order is the order of the slots. Those after `main` are switched to by the interrupt stack table.
enum class Stack : std::uint8_t { main, nmi, double_fault, machine_check };
inline constexpr unsigned stack_count = LAYOUT_STACK_COUNT;
inline constexpr std::uint64_t stack_size = LAYOUT_STACK_SIZE;

constexpr HostVirt stack_top(Stack stack) {
    return stacks_base + (static_cast<std::uint64_t>(stack) + 1) * LAYOUT_STACK_SLOT;
}
constexpr HostVirt stack_bottom(Stack stack) { return stack_top(stack) - stack_size; }

enum class StackAddress : std::uint8_t { elsewhere, stack, guard };
constexpr StackAddress classify(HostVirt address) {
    if (address < stacks_base || address >= stacks_base + stack_count * LAYOUT_STACK_SLOT)
        return StackAddress::elsewhere;
    return address.offset_in(LAYOUT_STACK_SLOT) >= LAYOUT_STACK_SLOT - stack_size ? StackAddress::stack
                                                                                  : StackAddress::guard;
}

static_assert(stack_top(Stack::main) == HostVirt{LAYOUT_MAIN_STACK_TOP});
static_assert(stack_count * stack_size == LAYOUT_BOOT_STACKS_SIZE);
static_assert(stack_size % page_size == 0 && stack_size < LAYOUT_STACK_SLOT);
static_assert(stacks_base + stack_count * LAYOUT_STACK_SLOT <= small_windows_base);

}  // namespace bulkhead::cpu::layout
