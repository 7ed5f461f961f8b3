// SPDX-License-Identifier: Apache-2.0
// Segmentation, privilege and paging in 32-bit protected mode (SDM Vol. 3A, chapters 3 to 5).
#include "rings.hpp"

namespace {

constexpr word ac_flag = 1 << 18, cr0_am = 1 << 18, cr0_pg = 1u << 31, cr0_wp = 1 << 16, cr4_pse = 1 << 4,
               cr4_pae = 1 << 5, cr4_tsd = 1 << 2, cr4_umip = 1 << 11;
constexpr unsigned spare = 6;  // the first free descriptor
constexpr word spare_selector = spare * 8;

alignas(4096) uint32_t directory[1024];
alignas(4096) uint32_t table[1024];
alignas(4096) uint8_t page[4096];
alignas(32) uint64_t pdpt[4];
alignas(4096) uint64_t pae_directories[4][512];

word here(const void* p) { return reinterpret_cast<word>(p); }

uint64_t descriptor(word base, word limit, unsigned access, unsigned flags) {
    return (limit & 0xffff) | static_cast<uint64_t>(base & 0xffffff) << 16 | static_cast<uint64_t>(access) << 40 |
           static_cast<uint64_t>(limit >> 16 & 15) << 48 | static_cast<uint64_t>(flags) << 52 |
           static_cast<uint64_t>(base >> 24) << 56;
}
void set_spare(word base, word limit, unsigned access, unsigned flags = 4) {
    gdt[spare] = descriptor(base, limit, access, flags);
}

// Reads through ES, which has the spare segment.
template <class Type>
Event read_at(word offset) {
    return events_of([=] {
        asm volatile("mov %0, %%es" ::"r"(spare_selector));
        if constexpr (sizeof(Type) == 1) asm volatile("movb %%es:(%0), %%al" ::"r"(offset) : "eax");
        if constexpr (sizeof(Type) == 2) asm volatile("movw %%es:(%0), %%ax" ::"r"(offset) : "eax");
        if constexpr (sizeof(Type) == 4) asm volatile("movl %%es:(%0), %%eax" ::"r"(offset) : "eax");
        asm volatile("mov %0, %%es" ::"r"(0x10));
    });
}
Event write_at(word offset) {
    return events_of([=] {
        asm volatile("mov %0, %%es; movb $1, %%es:(%1); mov %2, %%es" ::"r"(spare_selector), "r"(offset), "r"(0x10)
                     : "memory");
    });
}

}  // namespace

TEST(limits) {
    set_spare(here(page), 0xfff, 0x92);
    check_event("a byte at the limit", read_at<uint8_t>(0xfff), no_event);
    check_event("a byte beyond", read_at<uint8_t>(0x1000), GP);
    check_event("a word that ends at the limit", read_at<uint16_t>(0xffe), no_event);
    check_event("a word across it", read_at<uint16_t>(0xfff), GP);
    check_event("four bytes across it", read_at<uint32_t>(0xffd), GP);
    check_event("four bytes that wrap", read_at<uint32_t>(0xfffffffe), GP);
    set_spare(here(page), 0, 0x92, 0xc);
    check_event("by pages: the last byte", read_at<uint8_t>(0xfff), no_event);
    check_event("by pages: beyond", read_at<uint8_t>(0x1000), GP);
    set_spare(here(page) - 0x1000, 0xfff, 0x96);
    check_event("expand-down: at the limit", read_at<uint8_t>(0xfff), GP);
    check_event("expand-down: above", read_at<uint8_t>(0x1000), no_event);
    set_spare(here(page) - 0x1000, 0xfff, 0x96, 0);
    check_event("expand-down of 16 bits: beyond FFFFh", read_at<uint8_t>(0x10000), GP);
}

TEST(types) {
    set_spare(here(page), 0xfff, 0x90);
    check_event("read of read-only data", read_at<uint8_t>(0), no_event);
    check_event("write to it", write_at(0), GP);
    check("loading a segment sets its accessed bit", gdt[spare] >> 40 & 1, 1);
    set_spare(here(page), 0xfff, 0x98);
    check_event("execute-only code in ES", read_at<uint8_t>(0), GP, spare_selector);
    set_spare(here(page), 0xfff, 0x9a);
    check_event("readable code in ES", read_at<uint8_t>(0), no_event);
    check_event("write to it", write_at(0), GP);
    set_spare(here(page), 0xfff, 0x12);
    check_event("not present", read_at<uint8_t>(0), NP, spare_selector);
    set_spare(0, 0xfff, 0x82);
    check_event("an LDT in ES", read_at<uint8_t>(0), GP, spare_selector);
    check_raises("a null selector in use", GP, 0, [] {
        asm volatile("xor %%eax, %%eax; mov %%eax, %%es; movb %%es:0, %%al" ::: "eax");
    });
    check_raises("a null selector in SS", GP, 0, [] { asm volatile("mov %0, %%ss" ::"r"(0)); });
    set_spare(0, 0xfffff, 0x90, 0xc);
    check_raises("read-only data in SS", GP, spare_selector,
                 [] { asm volatile("mov %0, %%ss" ::"r"(spare_selector)); });
    check_raises("a far jump to data", GP, spare_selector, [] { asm volatile("ljmp $0x30, $0"); });
    check_raises("a far jump beyond the limit", GP, 0, [] {
        set_spare(0, 0xfff, 0x9a);
        asm volatile("ljmp $0x30, $0x1000");
    });
    check_raises("a far jump to a null selector", GP, 0, [] { asm volatile("ljmp $0, $0"); });
}

TEST(questions) {
    set_spare(0, 0xfff, 0x92, 4);
    word value = 0, found = 0;
    asm volatile("lar %2, %0; setz %b1" : "=r"(value), "+q"(found) : "r"(spare_selector));
    check("LAR", found << 31 | value, 1u << 31 | 0x00409200);
    asm volatile("lsl %2, %0; setz %b1" : "=r"(value), "+q"(found) : "r"(spare_selector));
    check("LSL", found << 31 | value, 1u << 31 | 0xfff);
    asm volatile("lsl %2, %0; setz %b1" : "=r"(value), "+q"(found) : "r"(8));
    check("LSL of pages", value, 0xffffffff);
    asm volatile("verw %w1; setz %b0" : "+q"(found) : "r"(spare_selector));
    check("VERW of writable data", found, 1);
    asm volatile("verw %w1; setz %b0" : "+q"(found) : "r"(8));
    check("VERW of code", found, 0);
    asm volatile("verr %w1; setz %b0" : "+q"(found) : "r"(0x1000));
    check("VERR beyond the table", found, 0);
    asm volatile("lar %2, %0; setz %b1" : "=r"(value), "+q"(found) : "r"(0));
    check("LAR of null", found, 0);
    word selector = 0x10;
    asm volatile("arpl %w2, %w0; setz %b1" : "+r"(selector), "+q"(found) : "r"(3));
    check("ARPL raises", selector << 8 | found, 0x1301);
}

TEST(rings) {
    check_event("ring 3 comes to its end", RING3(2, "nop"), finished);
    check_event("CLI", RING3(2, "cli"), GP);
    check_event("STI", RING3(2, "sti"), GP);
    check_event("CLI with IOPL 3", RING3(0x3002, "cli; sti; cli"), finished);
    check_event("HLT", RING3(0x3002, "hlt"), GP);
    check_event("IN without IOPL", RING3(2, "inb $0x80, %%al"), GP);
    check_event("OUT with IOPL 3", RING3(0x3002, "outb %%al, $0x80"), finished);
    check_event("MOV from CR0", RING3(2, "mov %%cr0, %%eax"), GP);
    check_event("MOV to CR3", RING3(2, "mov %%eax, %%cr3"), GP);
    check_event("MOV from DR0", RING3(2, "mov %%dr0, %%eax"), GP);
    check_event("LGDT", RING3(2, "lgdt gdt_pointer"), GP);
    check_event("LTR", RING3(2, "ltr %%ax"), GP);
    check_event("LMSW", RING3(2, "lmsw %%ax"), GP);
    check_event("CLTS", RING3(2, "clts"), GP);
    check_event("INVD", RING3(2, "invd"), GP);
    check_event("WBINVD", RING3(2, "wbinvd"), GP);
    check_event("INVLPG", RING3(2, "invlpg gdt_pointer"), GP);
    check_event("RDMSR", RING3(2, "rdmsr"), GP);
    check_event("WRMSR", RING3(2, "wrmsr"), GP);
    check_event("RDPMC", RING3(2, "rdpmc"), GP);
    check_event("CPUID", RING3(2, "cpuid"), finished);
    check_event("RDTSC", RING3(2, "rdtsc"), finished);
    check_event("XSETBV without OSXSAVE", RING3(2, "xsetbv"), UD);
    check_event("SGDT", RING3(2, "sgdt page_of_ring3"), finished);
    check_event("SMSW", RING3(2, "smsw %%ax"), finished);
    check_event("kernel data", RING3(2, "mov $0x10, %%eax; mov %%eax, %%ds"), GP, 0x10);
    check_event("INT of a gate of DPL 0", RING3(2, "int $0x90"), GP, 0x90 * 8 + 2);
    check_event("INT3", RING3(2, "int3"), BP);
    check_event("INTO", RING3(2, "mov $0x7fffffff, %%eax; inc %%eax; into"), OF);
    check_event("INTO without overflow", RING3(2, "xor %%eax, %%eax; into"), finished);
    check_event("BOUND", RING3(2, "mov $5, %%eax; bound %%eax, bounds_of_ring3"), BR);
    check_event("BOUND within", RING3(2, "mov $4, %%eax; bound %%eax, bounds_of_ring3"), finished);
    write_cr4(read_cr4() | cr4_tsd);
    check_event("RDTSC with CR4.TSD", RING3(2, "rdtsc"), GP);
    check_event("RDTSCP with CR4.TSD", RING3(2, "rdtscp"), GP);
    check_quiet("RDTSC with CR4.TSD in ring 0", [] { rdtsc(); });
    write_cr4(read_cr4() & ~cr4_tsd);
    if (cpuid(7).c >> 2 & 1) {
        write_cr4(read_cr4() | cr4_umip);
        check_event("SGDT with UMIP", RING3(2, "sgdt page_of_ring3"), GP);
        write_cr4(read_cr4() & ~cr4_umip);
    } else {
        skip("UMIP", "not there");
    }
}
extern "C" {
alignas(16) uint8_t page_of_ring3[16];
int bounds_of_ring3[2] = {0, 4};
}

TEST(alignment) {
    check_event("not aligned, without AM", RING3(2 | ac_flag, "movl page_of_ring3 + 1, %%eax"), finished);
    write_cr0(read_cr0() | cr0_am);
    check_event("not aligned, with AM and AC", RING3(2 | ac_flag, "movl page_of_ring3 + 1, %%eax"), AC);
    check_event("without AC", RING3(2, "movl page_of_ring3 + 1, %%eax"), finished);
    check_event("aligned", RING3(2 | ac_flag, "movl page_of_ring3 + 4, %%eax"), finished);
    check_event("a word", RING3(2 | ac_flag, "movw page_of_ring3 + 1, %%ax"), AC);
    check_event("a byte", RING3(2 | ac_flag, "movb page_of_ring3 + 1, %%al"), finished);
    check_quiet("in ring 0 it does not count", [] {
        write_flags(read_flags() | ac_flag);
        asm volatile("movl page_of_ring3 + 1, %%eax" ::: "eax");
        write_flags(read_flags() & ~ac_flag);
    });
    write_cr0(read_cr0() & ~cr0_am);
}

TEST(io_bitmap) {
    // A TSS with a bitmap behind it that opens port 80h and closes 81h.
    static uint8_t wide[0x68 + 33];
    for (unsigned i = 0; i < 0x68; ++i) wide[i] = tss[i];
    for (unsigned i = 0; i < 33; ++i) wide[0x68 + i] = 0xff;
    wide[0x68 + 0x80 / 8] = 0xfe;
    gdt[spare + 1] = descriptor(here(wide), sizeof wide - 1, 0x89, 0);
    asm volatile("ltr %w0" ::"r"((spare + 1) * 8));
    check_event("a port that is open", RING3(2, "outb %%al, $0x80"), finished);
    check_event("one that is closed", RING3(2, "outb %%al, $0x81"), GP);
    check_event("a word over both", RING3(2, "outw %%ax, $0x80"), GP);
    check_event("one beyond the bitmap", RING3(2, "mov $0x1000, %%edx; outb %%al, %%dx"), GP);
    gdt[5] &= ~(2ull << 40);  // not busy
    asm volatile("ltr %w0" ::"r"(0x28));
}

TEST(paging) {
    for (unsigned i = 0; i < 1024; ++i) directory[i] = i << 22 | 0x83;
    for (unsigned i = 0; i < 1024; ++i) table[i] = 0;
    directory[0x100] = here(table) | 7;  // 1 GiB
    table[0] = here(page) | 1;
    table[1] = here(page) | 7;
    write_cr4(read_cr4() | cr4_pse);
    write_cr3(here(directory));
    write_cr0(read_cr0() | cr0_pg);
    const auto read = [](word a) { asm volatile("movb (%0), %%al" ::"r"(a) : "eax"); };
    const auto write = [](word a) { asm volatile("movb $1, (%0)" ::"r"(a) : "memory"); };
    check_quiet("a read", [=] { read(0x40000000); });
    check_quiet("a write to a read-only page without WP", [=] { write(0x40000000); });
    write_cr0(read_cr0() | cr0_wp);
    check_raises("with WP", PF, 3, [=] { write(0x40000000); });
    check("  CR2", last_event.cr2, 0x40000000);
    check_raises("a page that is not there", PF, 0, [=] { read(0x40002000); });
    check_raises("a page's end", PF, 0, [] { asm volatile("movl 0x40001ffd, %%eax" ::: "eax"); });
    check("  CR2", last_event.cr2, 0x40002000);
    directory[0x101] = 1u << 21 | 0x83;
    check_raises("a reserved bit of a large page", PF, 9, [=] { read(0x40400000); });
    check("not dirty before a write", table[1] & 0x40, 0);
    write(0x40001000);
    check("accessed and dirty after a write", table[1] & 0x60, 0x60);
    check("accessed in the directory", directory[0x100] & 0x20, 0x20);
    write_cr0(read_cr0() & ~(cr0_pg | cr0_wp));
    write_cr4(read_cr4() & ~cr4_pse);
}

TEST(pae_paging) {
    for (unsigned d = 0; d < 4; ++d) {
        for (unsigned i = 0; i < 512; ++i) pae_directories[d][i] = static_cast<uint64_t>(d * 512 + i) << 21 | 0x83;
        pdpt[d] = here(pae_directories[d]) | 1;
    }
    write_cr4(read_cr4() | cr4_pae);
    pdpt[1] |= 2;
    write_cr3(here(pdpt));
    check_raises("PG with a reserved bit in a PDPTE", GP, 0, [] { write_cr0(read_cr0() | cr0_pg); });
    check("  paging stays off", read_cr0() & cr0_pg, 0);
    pdpt[1] &= ~2ull;
    check_quiet("PG without", [] { write_cr0(read_cr0() | cr0_pg); });
    pdpt[3] |= 1ull << 63;
    check_raises("CR3 with a reserved bit in a PDPTE", GP, 0, [] { write_cr3(here(pdpt)); });
    pdpt[3] &= ~(1ull << 63);
    // A PDPTE counts as it was when CR3 was loaded.
    const auto read = [] { asm volatile("movb 0x40000000, %%al" ::: "eax"); };
    pdpt[1] = 0;
    check_quiet("a PDPTE cleared in memory still counts", read);
    write_cr3(here(pdpt));
    check_raises("until CR3 is loaded", PF, 0, read);
    pdpt[1] = here(pae_directories[1]) | 1;
    asm volatile("invlpg 0x40000000" ::: "memory");
    check_raises("INVLPG does not load it", PF, 0, read);
    write_cr0(read_cr0() | cr0_wp);
    show("after MOV to CR0 of WP: event", events_of(read).vector);
    write_cr3(here(pdpt));
    check_quiet("after CR3", read);
    pae_directories[1][0] |= 1ull << 62;
    asm volatile("invlpg 0x40000000" ::: "memory");
    check_raises("a reserved bit of a directory's entry", PF, 9, read);
    pae_directories[1][0] &= ~(1ull << 62);
    pdpt[2] |= 4;
    check_raises("CR4.PGE changed with a reserved bit in a PDPTE", GP, 0, [] { write_cr4(read_cr4() | 1 << 7); });
    pdpt[2] &= ~4ull;
    write_cr0(read_cr0() & ~(cr0_pg | cr0_wp));
    write_cr4(read_cr4() & ~cr4_pae);
}

TEST(system_enter) {
    static word reached;
    word entry;
    asm volatile("jmp 2f; 1: mov %%esp, %1; int $0x80; 2: mov $1b, %0" : "=r"(entry), "=m"(reached));
    write_msr(0x174, 0);
    check_event("SYSENTER without a segment", RING3(2, "sysenter"), GP);
    write_msr(0x174, 0x8);
    write_msr(0x175, here(page) + 4096);
    write_msr(0x176, entry);
    check_event("SYSENTER", RING3(2, "sysenter"), finished);
    check("  its stack", reached, here(page) + 4096);
    check_event("SYSEXIT in ring 3", RING3(2, "sysexit"), GP);
    check_event("SYSCALL is not for 32-bit mode", RING3(2, "syscall"), UD);
    write_msr(0x174, 0);
}
