// SPDX-License-Identifier: Apache-2.0
// The processor's corners, one line a check: what must fault does, and traps come where the SDM puts them. It runs as a
// guest and bare, and checks only what both must do; what CPUID hides must not be there.
#include "cpu_events.hpp"
#include "cpu_registers.hpp"

namespace {

// ---- what is not there, and who may do what

void hidden_instructions() {
    const CpuidResult features = cpuid(1);
    if (!shows(features.ecx, 3)) {
        TRY("monitor", ::"a"(0), "c"(0), "d"(0) : "memory", "cc");
        check_fault("MONITOR", UD);
        TRY("mwait", ::"a"(0), "c"(0) : "memory", "cc");
        check_fault("MWAIT", UD);
    }
    if (!shows(features.ecx, 5)) {
        TRY("vmcall", ::: "memory", "cc");
        check_fault("VMCALL", UD);
        TRY("vmxoff", ::: "memory", "cc");
        check_fault("VMXOFF", UD);
        TRY("vmread %%eax, %%ecx", ::: "eax", "ecx", "memory", "cc");
        check_fault("VMREAD", UD);
        TRY("vmlaunch", ::: "memory", "cc");
        check_fault("VMLAUNCH", UD);
    }
    TRY("getsec", ::"a"(0) : "memory", "cc");
    check_fault("GETSEC without CR4.SMXE", UD);
    TRY("rsm", ::: "memory", "cc");
    check_fault("RSM outside SMM", UD);
    const bool counters = (cpuid(0).eax >= 0xa) && (cpuid(0xa).eax & 0xff) != 0;
    if (!counters) {
        TRY("rdpmc", ::"c"(0) : "eax", "edx", "memory", "cc");
        check_fault("RDPMC", GP);
    }
    if (!shows(cpuid(0x80000001).edx, 27)) {
        TRY("rdtscp", ::: "eax", "ecx", "edx", "memory", "cc");
        check_fault("RDTSCP", UD);
    }
    if (!shows(features.ecx, 26)) {
        set_cr4(cr4() | 1u << 18);
        check_fault("CR4: OSXSAVE where CPUID has no XSAVE", GP);
    }
    if (!shows(cpuid(7).ebx, 11) && cpuid(0).eax >= 7) {
        TRY("xtest", ::: "memory", "cc");
        check_fault("XTEST", UD);
    }
}

template <uint32_t vector>
void expect(const char* name) {
    check(name, last.count == 1 && last.vector == vector && last.error == 0 && (last.cs & 3) == 3);
}

// Compiled as one function each: they run at CPL 3 and must not print.
#define USER(name, instruction, ...)                          \
    void name() {                                             \
        TRY(instruction, ::__VA_ARGS__ : "eax", "edx", "memory", "cc"); \
        asm volatile("int $0x80");                            \
    }
USER(user_hlt, "hlt")
USER(user_rdmsr, "rdmsr", "c"(0x10))
USER(user_wrmsr, "wrmsr", "c"(0x10))
USER(user_invd, "invd")
USER(user_wbinvd, "wbinvd")
USER(user_clts, "clts")
USER(user_in, "inb $0x61, %%al")
USER(user_out, "outb %%al, $0x80")
USER(user_cli, "cli")
USER(user_cr0, "mov %%cr0, %%eax")
USER(user_dr7, "mov %%dr7, %%eax")
USER(user_invlpg, "invlpg 0")
USER(user_xsetbv, "xsetbv", "c"(0))
USER(user_rdpmc, "rdpmc", "c"(0))
USER(user_ltr, "ltr %%ax")
#undef USER

void user_cpuid() {
    forget();
    cpuid(0);
    asm volatile("int $0x80");
}
void user_unaligned() {
    alignas(8) static uint32_t place[2];
    TRY("pushf; orl $0x40000, (%%esp); popf; movl %%eax, 1(%0); nop", ::"r"(place) : "memory", "cc");
    asm volatile("pushf; andl $~0x40000, (%%esp); popf; int $0x80" ::: "memory", "cc");
}

void privileges() {
    set_cr4(cr4() | (shows(cpuid(1).ecx, 26) ? 1u << 18 : 0));
    const struct {
        const char* name;
        void (*code)();
    } all[] = {{"HLT at CPL 3", user_hlt},       {"RDMSR at CPL 3", user_rdmsr},   {"WRMSR at CPL 3", user_wrmsr},
               {"INVD at CPL 3", user_invd},     {"WBINVD at CPL 3", user_wbinvd}, {"CLTS at CPL 3", user_clts},
               {"IN at CPL 3", user_in},         {"OUT at CPL 3", user_out},       {"CLI at CPL 3", user_cli},
               {"MOV CR0 at CPL 3", user_cr0},   {"MOV DR7 at CPL 3", user_dr7},   {"INVLPG at CPL 3", user_invlpg},
               {"RDPMC at CPL 3", user_rdpmc},   {"LTR at CPL 3", user_ltr}};
    for (const auto& one : all) {
        run_as_user(one.code);
        expect<GP>(one.name);
    }
    if (shows(cpuid(1).ecx, 27)) {
        run_as_user(user_xsetbv);
        expect<GP>("XSETBV at CPL 3");
    }
    run_as_user(user_cpuid);
    check_none("CPUID at CPL 3");
    set_cr0(cr0() | 1u << 18);
    run_as_user(user_unaligned);
    expect<AC>("#AC at CPL 3");
    set_cr0(cr0() & ~(1u << 18));
}

// One instruction in virtual-8086 mode, with IOPL 3 and INT 80h behind it.
struct V86 {
    const char* name;
    bool faults;
    unsigned size;
    uint8_t code[4];
};

void virtual_8086_mode() {
    constexpr V86 all[] = {
        {"v86: CPUID", false, 2, {0x0f, 0xa2}},      {"v86: RDTSC", false, 2, {0x0f, 0x31}},
        {"v86: PUSHF", false, 1, {0x9c}},            {"v86: CLI with IOPL 3", false, 1, {0xfa}},
        {"v86: HLT", true, 1, {0xf4}},               {"v86: RDMSR", true, 2, {0x0f, 0x32}},
        {"v86: WRMSR", true, 2, {0x0f, 0x30}},       {"v86: MOV from CR0", true, 3, {0x0f, 0x20, 0xc0}},
        {"v86: MOV to DR7", true, 3, {0x0f, 0x23, 0xf8}}, {"v86: INVD", true, 2, {0x0f, 0x08}},
        {"v86: CLTS", true, 2, {0x0f, 0x06}},        {"v86: LMSW", true, 3, {0x0f, 0x01, 0xf0}},
        {"v86: IN without a bitmap", true, 2, {0xe4, 0x61}}, {"v86: OUT without a bitmap", true, 2, {0xe6, 0x80}},
    };
    auto* const code = reinterpret_cast<volatile uint8_t*>(0x7000);
    for (const V86& one : all) {
        for (unsigned i = 0; i < one.size; ++i) code[i] = one.code[i];
        code[one.size] = 0xcd;
        code[one.size + 1] = 0x80;
        forget();
        recovery = one.size;
        enter_v86();
        recovery = 0;
        if (one.faults)
            check(one.name, last.count == 1 && last.vector == GP && last.error == 0 && last.eip == 0 &&
                                shows(last.eflags, 17));
        else
            check_none(one.name);
    }
}

}  // namespace

extern "C" void main() {
    serial::start();
    start_traps();
    serial::put("cpu: start\r\n");
    model_specific_registers();
    time_stamp_counter();
    control_registers();
    pae_paging();
    extended_state();
    single_step();
    breakpoints();
    software_exceptions();
    interrupts();
    exceptions_of_exceptions();
    hidden_instructions();
    privileges();
    virtual_8086_mode();
    apic_base();
    if (shows(cpuid(1).ecx, 31)) {
        if (shows(cpuid(0x80000001).edx, 27)) check_refused("TSC_AUX: bit 32", 0xc0000103, 1ull << 32);
        apic_off();
        halt_and_trap();
    }
    serial::put("cpu: ");
    serial::decimal(passed);
    serial::put(" passed, ");
    serial::decimal(failed);
    serial::put(" failed\r\n");
    serial::drain();
    emulator_off();
}
