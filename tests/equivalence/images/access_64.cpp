// SPDX-License-Identifier: Apache-2.0
// What paging permits (SDM Vol. 3A, 4.6 and 4.7): each combination of a page's bits with CR0.WP, SMEP, SMAP, EFLAGS.AC,
// and NXE, for reads, writes and fetches of the supervisor and of a user; error codes, accessed and dirty flags; keys.
#include "rings.hpp"

extern "C" uint64_t page_directories[];

namespace {

constexpr word window = 0x40000000;
constexpr word cr0_wp = 1 << 16, cr4_smep = 1 << 20, cr4_smap = 1 << 21, cr4_pke = 1 << 22, ac = 1 << 18;
constexpr uint32_t efer = 0xc0000080;
alignas(4096) uint64_t table[512];
alignas(4096) uint8_t page[4096];

constexpr uint64_t present = 1, writable = 2, user = 4, accessed = 0x20, dirty = 0x40;
constexpr uint64_t reserved = 1ull << 51, xd = 1ull << 63;
constexpr uint64_t bits[] = {present, writable, user, reserved, xd};

struct Mode {
    bool wp, smep, smap, ac, nxe;
};
enum class Kind { read, write, fetch };
constexpr unsigned no_fault = ~0u;

// The error code of the access, or no_fault.
unsigned expected(uint64_t entry, Mode m, Kind kind, bool by_user) {
    const bool write = kind == Kind::write, fetch = kind == Kind::fetch;
    const unsigned error = (write ? 2u : 0) | (by_user ? 4u : 0) | (fetch && (m.nxe || m.smep) ? 0x10u : 0);
    if (!(entry & present)) return error;
    if ((entry & reserved) || ((entry & xd) && !m.nxe)) return error | 9;
    bool permitted = true;
    if (by_user) permitted = (entry & user) && (!write || (entry & writable));
    else {
        if (write && m.wp && !(entry & writable)) permitted = false;
        if (fetch && m.smep && (entry & user)) permitted = false;
        if (!fetch && m.smap && !m.ac && (entry & user)) permitted = false;
    }
    if (fetch && m.nxe && (entry & xd)) permitted = false;
    return permitted ? no_fault : error | 1;
}

// Sets what the mode has, for one access; at its end all is as before.
void set_mode(Mode m) {
    write_cr0((read_cr0() & ~cr0_wp) | (m.wp ? cr0_wp : 0));
    write_cr4((read_cr4() & ~(cr4_smep | cr4_smap)) | (m.smep ? cr4_smep : 0) | (m.smap ? cr4_smap : 0));
    write_msr(efer, (read_msr(efer) & ~(1ul << 11)) | (m.nxe ? 1ul << 11 : 0));
}

// Code of ring 3, in a page of its own.
asm(R"(
        .text
        .globl user_read, user_write, user_fetch
user_read:
        mov 0x40000000, %al
        int $0x80
user_write:
        movb $0xc3, 0x40000000
        int $0x80
user_fetch:
        mov $0x40000000, %eax
        call *%rax
        int $0x80
)");
extern "C" uint8_t user_read[], user_write[], user_fetch[];

Event access(Kind kind, bool by_user, bool with_ac) {
    return events_of([=] {
        if (by_user) {
            const uint8_t* const code = kind == Kind::read ? user_read : kind == Kind::write ? user_write : user_fetch;
            enter_ring3(reinterpret_cast<word>(code), 2);
        }
        if (with_ac) write_flags(read_flags() | ac);
        if (kind == Kind::read) asm volatile("mov (%0), %%al" ::"r"(window) : "rax");
        else if (kind == Kind::write) asm volatile("movb $0xc3, (%0)" ::"r"(window) : "memory");
        else asm volatile("call *%0" ::"r"(window) : "memory");
        if (with_ac) write_flags(read_flags() & ~ac);
    });
}

void open_to_users(bool open) {
    for (unsigned i = 0; i < 4; ++i) page_directories[i] = (page_directories[i] & ~4ull) | (open ? 4 : 0);
    asm volatile("mov %%cr3, %%rax; mov %%rax, %%cr3" ::: "rax", "memory");
}

unsigned wrong, tried;
uint64_t first_wrong;
void try_one(unsigned chosen, Mode m, Kind kind, bool by_user) {
    uint64_t entry = 0;
    for (unsigned i = 0; i < 5; ++i)
        if (chosen >> i & 1) entry |= bits[i];
    table[0] = reinterpret_cast<word>(page) | entry;
    asm volatile("invlpg (%0)" ::"r"(window) : "memory");
    const Event e = access(kind, by_user, m.ac);
    const unsigned due = expected(entry, m, kind, by_user);
    const uint64_t flags = due == no_fault ? accessed | (kind == Kind::write ? dirty : 0) : 0;
    const bool good = due == no_fault ? e.vector == (by_user ? finished : no_event)
                                      : e.vector == PF && e.error == due && e.cr2 == window;
    ++tried;
    if (good && (table[0] & (accessed | dirty)) == flags) return;
    if (wrong++ == 0) first_wrong = uint64_t{chosen} << 40 | uint64_t{e.vector} << 16 | e.error;
}

// Of one access by one ring: each entry.
void try_entries(const char* name, Mode m, Kind kind, bool by_user) {
    wrong = tried = 0;
    first_wrong = 0;
    // The check's own code and stack are the supervisor's, and a user's for accesses from ring 3.
    open_to_users(by_user);
    set_mode(m);
    for (unsigned chosen = 0; chosen < 32; ++chosen) try_one(chosen, m, kind, by_user);
    set_mode({});
    check(name, wrong == 0 ? tried : first_wrong, 32);
}

struct Flag {
    bool on;
    const char* name;
};
void try_kinds(Mode m, bool by_user) {
    put(by_user ? "user" : "supervisor");
    const Flag flags[] = {{m.wp, " WP"}, {m.smep, " SMEP"}, {m.smap, " SMAP"}, {m.ac, " AC"}, {m.nxe, " NXE"}};
    for (const Flag& flag : flags)
        if (flag.on) put(flag.name);
    put("\n");
    try_entries("  reads", m, Kind::read, by_user);
    try_entries("  writes", m, Kind::write, by_user);
    try_entries("  fetches", m, Kind::fetch, by_user);
}

}  // namespace

TEST(supervisor) {
    page_directories[window >> 21] = reinterpret_cast<word>(table) | 7;
    page[0] = 0xc3;
    const bool smep = cpuid(7).b >> 7 & 1, smap = cpuid(7).b >> 20 & 1;
    for (unsigned m = 0; m < 32; ++m) {
        const Mode mode{(m & 1) != 0, (m & 2) != 0, (m & 4) != 0, (m & 8) != 0, (m & 16) != 0};
        if ((mode.smep && !smep) || (mode.smap && !smap) || (mode.ac && !mode.smap)) continue;
        try_kinds(mode, false);
    }
}

TEST(users) {
    for (unsigned m = 0; m < 4; ++m) try_kinds({(m & 1) != 0, false, false, false, (m & 2) != 0}, true);
    open_to_users(false);
}

TEST(protection_keys) {
    if (!(cpuid(7).c >> 3 & 1)) {
        check_raises("CR4.PKE where there are none", GP, 0, [] { write_cr4(read_cr4() | cr4_pke); });
        return check_raises("RDPKRU where there are none", UD, 0, [] {
            asm volatile(".byte 0x0f, 0x01, 0xee" ::"c"(0) : "rax", "rdx");
        });
    }
    check_raises("RDPKRU without CR4.PKE", UD, 0, [] {
        asm volatile(".byte 0x0f, 0x01, 0xee" ::"c"(0) : "rax", "rdx");
    });
    write_cr4(read_cr4() | cr4_pke);
    check("CPUID.7 shows OSPKE", cpuid(7).c >> 4 & 1, 1);
    const auto write_pkru = [](uint32_t value) { asm volatile(".byte 0x0f, 0x01, 0xef" ::"a"(value), "c"(0), "d"(0)); };
    check_raises("RDPKRU with ECX", GP, 0, [] { asm volatile(".byte 0x0f, 0x01, 0xee" ::"c"(1) : "rax", "rdx"); });
    check_raises("WRPKRU with EDX", GP, 0, [] { asm volatile(".byte 0x0f, 0x01, 0xef" ::"a"(0), "c"(0), "d"(1)); });
    table[0] = reinterpret_cast<word>(page) | present | writable | user | 5ull << 59;
    asm volatile("invlpg (%0)" ::"r"(window) : "memory");
    const auto read = [] { asm volatile("mov (%0), %%al" ::"r"(window) : "rax"); };
    const auto write = [] { asm volatile("movb $0xc3, (%0)" ::"r"(window) : "memory"); };
    check_quiet("a key that permits: read", read);
    check_quiet("  write", write);
    write_pkru(1u << 10);
    check_raises("access disabled: read", PF, 0x21, read);
    check_raises("  write", PF, 0x23, write);
    check_quiet("  fetch", [] { asm volatile("call *%0" ::"r"(window) : "memory"); });
    write_pkru(2u << 10);
    check_quiet("writes disabled: read", read);
    check_quiet("  write without CR0.WP", write);
    write_cr0(read_cr0() | cr0_wp);
    check_raises("  write with CR0.WP", PF, 0x23, write);
    write_cr0(read_cr0() & ~cr0_wp);
    write_pkru(0x55555555 & ~(3u << 10));
    check_quiet("other keys do not matter", write);
    table[0] &= ~user;
    asm volatile("invlpg (%0)" ::"r"(window) : "memory");
    write_pkru(~0u);
    check_quiet("nor does a page of the supervisor", write);
    write_pkru(0);
    write_cr4(read_cr4() & ~cr4_pke);
}
