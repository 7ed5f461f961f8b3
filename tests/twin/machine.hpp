// SPDX-License-Identifier: Apache-2.0
// The processor's modes, and the window: pages at one linear address that are RAM in one run of a case and the test
// device's memory in the other.
#pragma once

#include "runtime.hpp"
#include "tests/twin/forms.hpp"
#include "tests/twin/state.h"

struct alignas(16) State {
    uint64_t gpr[16];  // by number: AX, CX, DX, BX, SP, BP, SI, DI
    uint64_t ip, flags, cs, ss, ds, es, fs, gs;
    uint64_t vector, error, cr2, unused;
    uint8_t fx[512];
};
static_assert(__builtin_offsetof(State, ip) == STATE_IP && __builtin_offsetof(State, vector) == STATE_VECTOR &&
              __builtin_offsetof(State, fx) == STATE_FX);
namespace reg {
enum Gpr { AX, CX, DX, BX, SP, BP, SI, DI };
}

extern "C" {
extern State state;
void run_case();
extern uint8_t case_stubs[];
}

enum class Paging : uint8_t { none, legacy, pae, long_mode };
struct Mode {
    const char* name;
    uint8_t code;  // bytes of an address
    uint8_t ring;
    Paging paging;
    bool v86{};
    bool thorough{};
    bool real() const { return paging == Paging::none; }
    bool in_64() const { return code == 8; }
    bool is_protected() const { return !v86 && !real(); }
};

inline constexpr uint32_t page = 4096, window = 0x50000, window_pages = 10, code_page = 0x5e000, stack_page = 0x5c000;
inline constexpr uint32_t fs_base = 0x4f000, limited_to = 0x1123;
inline constexpr word device = 0xff000000;
enum Page : uint8_t {
    writable,
    writable_2,
    read_only,
    absent,
    supervisor,
    memory_before,
    twin_6,
    memory_after,
    read_only_2,
    memory_9
};

alignas(page) inline uint8_t ram_twin[16 * page];
alignas(page) inline uint64_t page_table[512];
enum Run : uint8_t { on_ram, on_device };
inline bool is_memory(unsigned n) { return n == memory_before || n == memory_after || n == memory_9; }

// Where a byte of the linear addresses is, as the program itself reaches it.
inline uint8_t* backing(const Mode& mode, uint32_t linear, Run run) {
    const uint32_t offset = linear - window;
    if (offset >= window_pages * page) return reinterpret_cast<uint8_t*>(static_cast<word>(linear));
    if (run == on_device && (mode.real() || !is_memory(offset / page)))
        return reinterpret_cast<uint8_t*>(device + offset);
    return ram_twin + offset;
}

// ---- segments: those under test have a base of their own

#ifdef __x86_64__
inline constexpr unsigned own = 10;  // the first free descriptor
#else
inline constexpr unsigned own = 6;
#endif
enum Own : unsigned { own_code = own, own_data, own_fs, own_limited, own_absent, own_code16 };
constexpr uint16_t selector_of(unsigned index, unsigned ring) { return static_cast<uint16_t>(index << 3 | ring); }

inline void set_descriptor(unsigned index, uint32_t base, uint32_t limit, uint32_t rights) {
    gdt[index] = (limit & 0xffff) | static_cast<uint64_t>(base & 0xffffff) << 16 |
                 static_cast<uint64_t>(rights & 0xf0ff) << 40 | static_cast<uint64_t>(limit >> 16 & 0xf) << 48 |
                 static_cast<uint64_t>(base >> 24) << 56;
}

inline void set_segments(const Mode& mode) {
    const uint32_t ring = static_cast<uint32_t>(mode.ring) << 5, base = mode.in_64() ? 0 : window;
    const bool narrow = mode.code == 2;
    const uint32_t size = narrow ? 0 : 0xc000, limit = narrow ? 0xffff : 0xfffff;
    set_descriptor(own_code, base, limit, 0x9b | ring | (mode.in_64() ? 0xa000 : size));
    set_descriptor(own_data, base, limit, 0x93 | ring | size);
    set_descriptor(own_fs, fs_base, limit, 0x93 | ring | size);
    set_descriptor(own_limited, base, limited_to, 0x93 | ring | (size & 0x4000));
    set_descriptor(own_absent, base, limit, 0x13 | ring | size);
}

// ---- paging

inline bool wide_entries() { return read_cr4() & 0x20; }  // PAE
inline void set_entry(unsigned n, uint64_t value) {
    if (wide_entries()) page_table[n] = value;
    else reinterpret_cast<uint32_t*>(page_table)[n] = static_cast<uint32_t>(value);
}
inline uint64_t entry(unsigned n) {
    return wide_entries() ? page_table[n] : reinterpret_cast<uint32_t*>(page_table)[n];
}

// The first MiBs one to one, for the program alone.
inline void map_low_memory() {
    for (unsigned n = 0; n < (wide_entries() ? 512 : 1024); ++n) set_entry(n, n * page | 3);
}

#ifdef __x86_64__
extern "C" uint64_t page_directories[];
inline void start_paging() { page_directories[0] = reinterpret_cast<word>(page_table) | 7; }
inline void set_paging(Paging) { map_low_memory(); }
#else
alignas(page) inline uint32_t legacy_directory[1024];
alignas(page) inline uint64_t pae_directories[4 * 512];
alignas(32) inline uint64_t pdptes[4];
inline void start_paging() {
    for (uint32_t n = 0; n < 1024; ++n) legacy_directory[n] = n << 22 | 0x83;
    for (uint32_t n = 0; n < 2048; ++n) pae_directories[n] = static_cast<uint64_t>(n) << 21 | 0x83;
    for (unsigned n = 0; n < 4; ++n) pdptes[n] = reinterpret_cast<word>(pae_directories + 512 * n) | 1;
    legacy_directory[0] = reinterpret_cast<word>(page_table) | 7;
    pae_directories[0] = reinterpret_cast<word>(page_table) | 7;
}
// CR4.PSE and OSFXSR stay.
inline void set_paging(Paging paging) {
    write_cr0(read_cr0() & ~0x80000000ul);
    write_cr4((read_cr4() & ~0x20ul) | 0x210 | (paging == Paging::pae ? 0x20 : 0));
    map_low_memory();
    if (paging == Paging::none) return;
    write_cr3(reinterpret_cast<word>(paging == Paging::pae ? static_cast<void*>(pdptes) : legacy_directory));
    write_cr0(read_cr0() | 0x80010000ul);  // PG, WP
}
#endif

inline void map_window(const Mode& mode, Run run, uint64_t key) {
    for (unsigned n = 0; n < window_pages; ++n) {
        const uint64_t at = reinterpret_cast<word>(backing(mode, window + n * page, run));
        uint64_t rights = 7;
        if (n == read_only || n == read_only_2) rights = 5;
        if (n == absent) rights = 6;
        if (n == supervisor) rights = 3;
        set_entry(window / page + n, at | rights | (n == twin_6 ? key << 59 : 0));
    }
    const uint64_t user = mode.ring == 3 ? 4 : 0;
    for (const uint32_t linear : List{code_page, code_page + page, stack_page, stack_page + page})
        set_entry(linear / page, linear | 0x63 | user);
    write_cr3(read_cr3());
}
