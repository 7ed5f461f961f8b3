// SPDX-License-Identifier: Apache-2.0
// What a Multiboot loader hands over (Multiboot 0.6.96, section 3), and the state of the machine at the entry.
#include "runtime.hpp"

namespace {

struct Information {
    uint32_t flags, lower, upper, boot_device, command_line, module_count, modules;
    uint32_t symbols[4];
    uint32_t map_length, map;
};
struct Module {
    uint32_t start, end, string, reserved;
};
const Information& information() { return *reinterpret_cast<const Information*>(boot_information); }
const char* text(uint32_t address) { return reinterpret_cast<const char*>(address); }

}  // namespace

TEST(information_handed_over) {
    check("the magic", boot_magic, 0x2badb002);
    const Information& i = information();
    check("memory sizes are there", i.flags & 1, 1);
    check("the command line is there", i.flags >> 2 & 1, 1);
    check("modules are there", i.flags >> 3 & 1, 1);
    check("the memory map is there", i.flags >> 6 & 1, 1);
    put("command line: '");
    put(text(i.command_line));
    put("'\n");
    show("lower memory, of 64 KiB", i.lower / 64);
    show("upper memory, of MiB", (i.upper + 1023) / 1024);
}

TEST(modules) {
    const Information& i = information();
    show("modules", i.module_count);
    const auto* module = reinterpret_cast<const Module*>(i.modules);
    for (unsigned m = 0; m < i.module_count; ++m, ++module) {
        put("module '");
        put(text(module->string));
        put("'\n");
        show("  bytes", module->end - module->start);
        check("  begins at a page", module->start % 4096, 0);
        uint32_t sum = 0;
        for (uint32_t a = module->start; a < module->end; ++a) sum = sum * 31 + *reinterpret_cast<const uint8_t*>(a);
        show("  sum", sum);
    }
}

TEST(memory_map) {
    const Information& i = information();
    uint64_t usable = 0;
    bool low = false, ordered = true;
    uint64_t last = 0;
    for (uint32_t at = i.map; at < i.map + i.map_length; at += *reinterpret_cast<const uint32_t*>(at) + 4) {
        const uint64_t base = *reinterpret_cast<const uint64_t*>(at + 4),
                       length = *reinterpret_cast<const uint64_t*>(at + 12);
        const uint32_t type = *reinterpret_cast<const uint32_t*>(at + 20);
        ordered = ordered && base >= last;
        last = base + length;
        if (type != 1) continue;
        usable += length;
        low = low || base == 0;
    }
    check("usable memory from 0 on", low);
    check("in order, without overlaps", ordered);
    show("usable memory, of MiB", (usable + 0xfffff) >> 20);
}

TEST(state_at_entry) {
    check("CR0.PE without PG", read_cr0() & 0x80000001, 1);
    check("interrupts are off", read_flags() & 0x200, 0);
    check("A20 is on", [] {
        volatile uint32_t* low = reinterpret_cast<volatile uint32_t*>(0x300000);
        volatile uint32_t* high = reinterpret_cast<volatile uint32_t*>(0x400000);
        *low = 1;
        *high = 2;
        return *low == 1;
    }());
    show("CR4", read_cr4());
    show("EFER", read_msr(0xc0000080));
}
