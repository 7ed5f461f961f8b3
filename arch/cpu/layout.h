// SPDX-License-Identifier: Apache-2.0
// The virtual addresses of the hypervisor, as linker.ld and the assembly need them; C++ uses arch/cpu/layout.hpp.
#pragma once

// Shared by all CPUs. The image's physical address is its virtual address less LAYOUT_IMAGE_BASE.
#define LAYOUT_POOL_BASE 0xffff800000000000
#define LAYOUT_MODULES_BASE 0xffff900000000000
#define LAYOUT_MMIO_BASE 0xffffb00000000000
#define LAYOUT_IMAGE_BASE 0xffffffff80000000
#define LAYOUT_IMAGE_PHYS 0x200000
#define LAYOUT_IMAGE_LIMIT 0x1000000

// Private to each CPU: four regions, each under its own page table or page-directory entries.
#define LAYOUT_PRIVATE_BASE 0xffffffffc0000000
#define LAYOUT_STACKS_BASE 0xffffffffc0200000
#define LAYOUT_SMALL_WINDOWS_BASE 0xffffffffc0400000
#define LAYOUT_LARGE_WINDOWS_BASE 0xffffffffc0600000

// A stack lies at the upper end of its slot; the rest of the slot is its guard and never mapped.
#define LAYOUT_STACK_SLOT 0x10000
#define LAYOUT_STACK_SIZE 0x8000
#define LAYOUT_STACK_COUNT 4

// The four stacks of the boot CPU.
#define LAYOUT_BOOT_STACKS_SIZE 0x20000
#define LAYOUT_MAIN_STACK_TOP 0xffffffffc0210000

#define SELECTOR_CODE 0x08
#define SELECTOR_DATA 0x10
#define SELECTOR_TSS 0x18
