// SPDX-License-Identifier: Apache-2.0
// Prints what a Multiboot loader handed over, tries the debug console and the test device, and leaves by the debug
// exit.
#include "tests/system/guests/program.hpp"

namespace {

struct [[gnu::packed]] Info {
    uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4], mmap_length, mmap_addr,
        drives_length, drives_addr, config_table, boot_loader_name;
};
struct Module {
    uint32_t start, end, string, reserved;
};
struct [[gnu::packed]] MapEntry {
    uint32_t size;
    uint64_t base, length;
    uint32_t type;
};

// The compiler is not to know the address: it takes those near 0 for an error.
template <class T>
const T* at(uint32_t address) {
    asm("" : "+r"(address));
    return reinterpret_cast<const T*>(address);
}

void line_end() {
    serial::put("\r\n");
}

void word(const char* name, uint64_t value, int digits = 8) {
    serial::put(" ");
    serial::put(name);
    serial::put(" ");
    serial::hex(value, digits);
}

void text(const char* name, uint32_t address) {
    serial::put(name);
    serial::put(" <");
    serial::put(at<char>(address));
    serial::put(">");
    line_end();
}

void report_state(uint32_t flags) {
    uint32_t cr0, cr4;
    uint16_t cs, ds, ss;
    asm volatile("mov %%cr0, %0; mov %%cr4, %1" : "=r"(cr0), "=r"(cr4));
    asm volatile("mov %%cs, %0; mov %%ds, %1; mov %%ss, %2" : "=r"(cs), "=r"(ds), "=r"(ss));
    // Loads from the GDT that the loader left, which the specification does not promise.
    asm volatile("mov %0, %%es" ::"r"(ds));
    serial::put("state");
    word("cr0", cr0);
    word("cr4", cr4);
    word("eflags", flags);
    word("cs", cs, 4);
    word("ds", ds, 4);
    word("ss", ss, 4);
    line_end();
}

void report_modules(const Info& info) {
    for (uint32_t i = 0; i < info.mods_count; ++i) {
        const Module& module = at<Module>(info.mods_addr)[i];
        uint32_t sum = 0;
        for (uint32_t p = module.start; p != module.end; ++p) sum += *at<uint8_t>(p);
        serial::put("module");
        word("start", module.start);
        word("size", module.end - module.start);
        word("sum", sum);
        text(" string", module.string);
    }
}

void report_map(const Info& info) {
    for (uint32_t p = info.mmap_addr; p < info.mmap_addr + info.mmap_length;) {
        const MapEntry& entry = *at<MapEntry>(p);
        serial::put("map");
        word("base", entry.base, 16);
        word("length", entry.length, 16);
        word("type", entry.type, 1);
        line_end();
        p += entry.size + 4;
    }
}

void try_debug_console() {
    if (in8(0xe9) != 0xe9) return;
    for (const char* c = "debug console\r\n"; *c; ++c) out8(*c == 'd' ? 0x402 : 0xe9, static_cast<uint8_t>(*c));
}

// The tables in the BIOS area, each on a 16-byte boundary.
void report_tables() {
    serial::put("tables");
    for (uint32_t p = 0xe0000; p < 0x100000; p += 16) {
        if (*at<uint64_t>(p) == 0x2052545020445352) word("rsdp", p);
        if (*at<uint32_t>(p) == 0x5f504d5f) word("mp", p);
    }
    word("ebda", *at<uint16_t>(0x40e), 4);
    line_end();
}

void fw_cfg_select(uint16_t key) {
    asm volatile("outw %0, %1" ::"a"(key), "Nd"(uint16_t{0x510}));
}

uint64_t fw_cfg_number(uint16_t key, int size) {
    fw_cfg_select(key);
    uint64_t value = 0;
    for (int i = 0; i < size; ++i) value |= uint64_t{in8(0x511)} << (8 * i);
    return value;
}

// Numbers by the port, the command line by a transfer, the files' names by REP INSB.
void try_fw_cfg() {
    if (fw_cfg_number(0, 4) != 0x554d4551) return;
    serial::put("fw_cfg");
    word("id", fw_cfg_number(1, 4));
    word("cpus", fw_cfg_number(5, 2), 4);
    word("ram", fw_cfg_number(3, 8), 16);
    char cmdline[64]{};
    struct {
        uint32_t control, length;
        uint64_t address;
    } volatile request = {__builtin_bswap32(0x15u << 16 | 8 | 2), __builtin_bswap32(sizeof cmdline - 1),
                          __builtin_bswap64(reinterpret_cast<uint32_t>(cmdline))};
    asm volatile("outl %0, %w1" ::"a"(__builtin_bswap32(reinterpret_cast<uint32_t>(&request))), "d"(0x518) : "memory");
    while (request.control & __builtin_bswap32(~1u)) asm volatile("pause");
    word("error", __builtin_bswap32(request.control), 1);
    text(" cmdline", reinterpret_cast<uint32_t>(cmdline));
    fw_cfg_select(0x19);
    uint8_t directory[4 + 64];
    auto* to = directory;
    uint32_t count = sizeof directory;
    asm volatile("rep insb" : "+D"(to), "+c"(count) : "d"(0x511) : "memory");
    text("fw_cfg file", reinterpret_cast<uint32_t>(directory + 12));
}

void try_test_device() {
    uint32_t value;
    asm volatile("outl %0, %w1" ::"a"(0x12345678), "Nd"(0xe0));
    asm volatile("outw %w0, %w1" ::"a"(0xabcd), "Nd"(0xe1));
    asm volatile("inl %w1, %0" : "=a"(value) : "Nd"(0xe0));
    auto* const ram = reinterpret_cast<volatile uint32_t*>(0xff00fffc);
    *ram = 0xcafe;
    asm volatile("orl %1, %0" : "+m"(*ram) : "i"(0x10000));
    serial::put("test device");
    word("loop", value);
    word("ram", *ram);
    line_end();
}

}  // namespace

extern "C" void main(uint32_t eax, uint32_t ebx, uint32_t flags) {
    serial::start();
    const Info& info = *at<Info>(ebx);
    serial::put("multiboot");
    word("eax", eax);
    word("flags", info.flags);
    word("lower", info.mem_lower);
    word("upper", info.mem_upper);
    line_end();
    report_state(flags);
    text("cmdline", info.cmdline);
    text("loader", info.boot_loader_name);
    report_modules(info);
    report_map(info);
    report_tables();
    try_debug_console();
    try_fw_cfg();
    try_test_device();
    serial::put("report: end\r\n");
    serial::drain();
    asm volatile("outl %0, %w1" ::"a"(21), "Nd"(0xf4));
    emulator_off();
}
