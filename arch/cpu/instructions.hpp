// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>

#include "arch/isa/cpuid.hpp"
#include "arch/isa/exception.hpp"
#include "arch/isa/msr.hpp"

// The privileged instructions that are not VMX: one inline function each, nothing else.
namespace bulkhead::cpu {

// ---- ports
inline void out8(std::uint16_t port, std::uint8_t value) { asm volatile("outb %0, %1" ::"a"(value), "Nd"(port)); }
inline void out16(std::uint16_t port, std::uint16_t value) { asm volatile("outw %0, %1" ::"a"(value), "Nd"(port)); }
inline void out32(std::uint16_t port, std::uint32_t value) { asm volatile("outl %0, %1" ::"a"(value), "Nd"(port)); }
inline std::uint8_t in8(std::uint16_t port) {
    std::uint8_t value;
    asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
inline std::uint16_t in16(std::uint16_t port) {
    std::uint16_t value;
    asm volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
inline std::uint32_t in32(std::uint16_t port) {
    std::uint32_t value;
    asm volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

// ---- control registers
inline std::uint64_t read_cr0() {
    std::uint64_t value;
    asm volatile("mov %%cr0, %0" : "=r"(value));
    return value;
}
inline std::uint64_t read_cr2() {
    std::uint64_t value;
    asm volatile("mov %%cr2, %0" : "=r"(value));
    return value;
}
inline std::uint64_t read_cr3() {
    std::uint64_t value;
    asm volatile("mov %%cr3, %0" : "=r"(value));
    return value;
}
inline std::uint64_t read_cr4() {
    std::uint64_t value;
    asm volatile("mov %%cr4, %0" : "=r"(value));
    return value;
}
inline void write_cr0(std::uint64_t value) { asm volatile("mov %0, %%cr0" ::"r"(value) : "memory"); }
inline void write_cr2(std::uint64_t value) { asm volatile("mov %0, %%cr2" ::"r"(value) : "memory"); }
inline void write_cr3(std::uint64_t value) { asm volatile("mov %0, %%cr3" ::"r"(value) : "memory"); }
inline void write_cr4(std::uint64_t value) { asm volatile("mov %0, %%cr4" ::"r"(value) : "memory"); }

inline std::uint64_t xgetbv(std::uint32_t xcr = 0) {
    std::uint32_t low, high;
    asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(xcr));
    return std::uint64_t{high} << 32 | low;
}
inline void xsetbv(std::uint32_t xcr, std::uint64_t value) {
    asm volatile("xsetbv" ::"c"(xcr), "a"(static_cast<std::uint32_t>(value)),
                 "d"(static_cast<std::uint32_t>(value >> 32))
                 : "memory");
}

// ---- debug registers
template <unsigned number>
inline std::uint64_t read_dr() {
    static_assert(number < 8 && number != 4 && number != 5, "DR4 and DR5 are aliases");
    std::uint64_t value;
    asm volatile("mov %%db%c1, %0" : "=r"(value) : "i"(number));
    return value;
}
template <unsigned number>
inline void write_dr(std::uint64_t value) {
    static_assert(number < 8 && number != 4 && number != 5, "DR4 and DR5 are aliases");
    asm volatile("mov %0, %%db%c1" ::"r"(value), "i"(number));
}

// ---- model-specific registers
inline std::uint64_t rdmsr(isa::Msr msr) {
    std::uint32_t low, high;
    asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(static_cast<std::uint32_t>(msr)));
    return std::uint64_t{high} << 32 | low;
}
inline void wrmsr(isa::Msr msr, std::uint64_t value) {
    asm volatile("wrmsr" ::"c"(static_cast<std::uint32_t>(msr)), "a"(static_cast<std::uint32_t>(value)),
                 "d"(static_cast<std::uint32_t>(value >> 32))
                 : "memory");
}

// An entry of the fixup table: when the instruction at label 1 faults, the trap handler continues at `to`. The `?` puts
// the entry into the group of the function it belongs to, so that the two are kept or dropped together.
#define BULKHEAD_FIXUP(to) ".pushsection .fixups, \"a?\"\n\t.balign 8\n\t.quad 1b, " to "\n\t.popsection"

// For a register that the processor may not have, or a value that it may refuse.
[[nodiscard]] inline std::expected<std::uint64_t, isa::Fault> rdmsr_safe(isa::Msr msr) {
    std::uint32_t low, high;
    asm goto("1: rdmsr\n\t" BULKHEAD_FIXUP("%l[fault]")
             : "=a"(low), "=d"(high)
             : "c"(static_cast<std::uint32_t>(msr))
             :
             : fault);
    return std::uint64_t{high} << 32 | low;
fault:
    return std::unexpected(isa::general_protection);
}
[[nodiscard]] inline std::expected<void, isa::Fault> wrmsr_safe(isa::Msr msr, std::uint64_t value) {
    asm goto("1: wrmsr\n\t" BULKHEAD_FIXUP("%l[fault]")
             :
             : "c"(static_cast<std::uint32_t>(msr)), "a"(static_cast<std::uint32_t>(value)),
               "d"(static_cast<std::uint32_t>(value >> 32))
             : "memory"
             : fault);
    return {};
fault:
    return std::unexpected(isa::general_protection);
}

// ---- identification and time
inline isa::CpuidResult cpuid(std::uint32_t leaf, std::uint32_t subleaf = 0) {
    isa::CpuidResult result;
    asm volatile("cpuid"
                 : "=a"(result.eax), "=b"(result.ebx), "=c"(result.ecx), "=d"(result.edx)
                 : "a"(leaf), "c"(subleaf));
    return result;
}
inline std::uint64_t rdtsc() {
    // RDTSC clears the upper halves of both registers.
    std::uint64_t low, high;
    asm volatile("rdtsc" : "=a"(low), "=d"(high));
    return high << 32 | low;
}

// ---- memory management
inline void invlpg(const volatile void* address) {
    asm volatile("invlpg %0" ::"m"(*static_cast<const volatile char*>(address)) : "memory");
}
inline void wbinvd() { asm volatile("wbinvd" ::: "memory"); }

struct [[gnu::packed]] DescriptorTablePointer {
    std::uint16_t limit;
    std::uint64_t base;
};
inline void lgdt(const DescriptorTablePointer& table) { asm volatile("lgdt %0" ::"m"(table) : "memory"); }
inline void lidt(const DescriptorTablePointer& table) { asm volatile("lidt %0" ::"m"(table) : "memory"); }
inline void lldt(std::uint16_t selector) { asm volatile("lldt %0" ::"r"(selector)); }
inline void ltr(std::uint16_t selector) { asm volatile("ltr %0" ::"r"(selector) : "memory"); }

// ---- extended state: `area` is aligned to 64 bytes and as large as CPUID leaf 0Dh says for `mask`.
inline void xsave(void* area, std::uint64_t mask) {
    asm volatile("xsave64 (%0)" ::"r"(area), "a"(static_cast<std::uint32_t>(mask)),
                 "d"(static_cast<std::uint32_t>(mask >> 32))
                 : "memory");
}
inline void xrstor(const void* area, std::uint64_t mask) {
    asm volatile("xrstor64 (%0)" ::"r"(area), "a"(static_cast<std::uint32_t>(mask)),
                 "d"(static_cast<std::uint32_t>(mask >> 32))
                 : "memory");
}

// ---- interrupts and waiting
inline std::uint64_t read_flags() {
    std::uint64_t value;
    asm volatile("pushfq; popq %0" : "=r"(value));
    return value;
}
// An NMI that ended a VM entry blocks others until the next IRET (SDM volume 3, 6.7.1 and 27.5.5): this one.
inline void unblock_nmis() {
    std::uint64_t scratch;
    asm volatile(
        "mov %%ss, %k0\n\t"
        "push %q0\n\t"
        "lea 8(%%rsp), %q0\n\t"
        "push %q0\n\t"
        "pushfq\n\t"
        "mov %%cs, %k0\n\t"
        "push %q0\n\t"
        "lea 1f(%%rip), %q0\n\t"
        "push %q0\n\t"
        "iretq\n"
        "1:"
        : "=&r"(scratch)
        :
        : "cc", "memory");
}

inline void sti() { asm volatile("sti" ::: "memory"); }
inline void cli() { asm volatile("cli" ::: "memory"); }
inline void hlt() { asm volatile("hlt" ::: "memory"); }
inline void pause() { asm volatile("pause" ::: "memory"); }
// Waits for an interrupt and takes it. STI lets none in before the next instruction has begun (SDM volume 2, STI), so
// that none is taken between a caller's last look at its queues and the HLT.
inline void safe_halt() { asm volatile("sti; hlt; cli" ::: "memory"); }

}  // namespace bulkhead::cpu
