// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <functional>
#include <map>
#include <optional>
#include <stdexcept>
#include <vector>

#include "arch/isa/cpuid.hpp"
#include "arch/isa/exception.hpp"
#include "arch/isa/msr.hpp"

// Stands for arch/cpu/instructions.hpp in unit tests: the registers of one processor as plain state, with the same
// interface. What the SDM makes a fault is a std::logic_error.
namespace bulkhead::test {

struct FakeCpu {
    std::map<isa::Msr, std::uint64_t> msrs;  // an MSR that is not in it does not exist
    std::array<std::uint64_t, 8> dr{};
    std::uint64_t cr0{}, cr2{}, cr3{}, cr4{};
    std::uint64_t xcr0{1};
    std::uint64_t tsc{};
    std::function<isa::CpuidResult(std::uint32_t, std::uint32_t)> cpuid;
    std::function<std::uint32_t(std::uint16_t port, unsigned size)> in;
    std::function<void(std::uint16_t port, unsigned size, std::uint32_t value)> out;
    // HLT with interrupts on: what happens until one comes. Without it nothing ever does.
    std::function<void()> halt;
    unsigned nmis_unblocked{};

    // Its local APIC, and who is told of an NMI (tests/fake/arch/cpu/processor.cpp).
    struct Ipi {
        std::uint32_t destination;
        std::uint8_t vector;
        bool operator==(const Ipi&) const = default;
    };
    std::vector<Ipi> ipis;
    std::optional<std::uint64_t> timer;
    unsigned eois{}, nmis_dispatched{};

    // The extended state, where the standard format of XSAVE has it (SDM volume 1, 13.4).
    struct Component {
        unsigned bit;
        std::size_t offset, size;
    };
    static constexpr Component components[] = {
        {0, 0, 24},     {0, 32, 128},    {1, 24, 8},       {1, 160, 256},    {2, 576, 256},
        {5, 1088, 64},  {6, 1152, 512},  {7, 1664, 1024},  {9, 2688, 8},
    };
    std::uint64_t supported_xcr0 = 0x2e7;
    std::array<std::byte, 4096> vector_state{};

    void xsetbv(std::uint64_t value) {
        const bool avx512 = (value & 0xe0) != 0;
        if ((value & 1) == 0 || (value & ~supported_xcr0) != 0 || ((value & 4) != 0 && (value & 2) == 0) ||
            (avx512 && (value & 0xe6) != 0xe6))
            throw std::logic_error("#GP: XSETBV");
        xcr0 = value;
    }
    void xsave(void* area, std::uint64_t mask) const {
        for (const Component& c : components)
            if ((mask & xcr0) >> c.bit & 1) std::memcpy(at(area, c.offset), vector_state.data() + c.offset, c.size);
        std::uint64_t xstate_bv = 0;
        std::memcpy(&xstate_bv, at(area, 512), 8);
        xstate_bv = (xstate_bv & ~(mask & xcr0)) | (mask & xcr0);
        std::memcpy(at(area, 512), &xstate_bv, 8);
    }
    void xrstor(const void* area, std::uint64_t mask) {
        std::uint64_t header[8];
        std::memcpy(header, static_cast<const std::byte*>(area) + 512, sizeof header);
        if ((header[0] & ~xcr0) != 0 || header[1] != 0 || header[2] != 0) throw std::logic_error("#GP: XRSTOR");
        const std::uint64_t requested = mask & xcr0;
        for (const Component& c : components) {
            if ((requested >> c.bit & 1) == 0) continue;
            const bool mxcsr = c.offset == 24;  // loaded whatever XSTATE_BV says (13.8.1)
            if ((header[0] >> c.bit & 1) != 0 || mxcsr)
                std::memcpy(vector_state.data() + c.offset, static_cast<const std::byte*>(area) + c.offset, c.size);
            else
                std::memset(vector_state.data() + c.offset, 0, c.size);
        }
        constexpr std::uint16_t initial_fcw = 0x37f;
        if ((requested & 1) != 0 && (header[0] & 1) == 0) std::memcpy(vector_state.data(), &initial_fcw, 2);
    }

  private:
    static std::byte* at(void* area, std::size_t offset) { return static_cast<std::byte*>(area) + offset; }
};

// The processor on which a test runs; a test begins with a new one.
inline FakeCpu& cpu_state() {
    static FakeCpu fake;
    return fake;
}

}  // namespace bulkhead::test

namespace bulkhead::cpu {

inline void out8(std::uint16_t port, std::uint8_t value) { test::cpu_state().out(port, 1, value); }
inline void out16(std::uint16_t port, std::uint16_t value) { test::cpu_state().out(port, 2, value); }
inline void out32(std::uint16_t port, std::uint32_t value) { test::cpu_state().out(port, 4, value); }
inline std::uint8_t in8(std::uint16_t port) { return static_cast<std::uint8_t>(test::cpu_state().in(port, 1)); }
inline std::uint16_t in16(std::uint16_t port) { return static_cast<std::uint16_t>(test::cpu_state().in(port, 2)); }
inline std::uint32_t in32(std::uint16_t port) { return test::cpu_state().in(port, 4); }

inline std::uint64_t read_cr0() { return test::cpu_state().cr0; }
inline std::uint64_t read_cr2() { return test::cpu_state().cr2; }
inline std::uint64_t read_cr3() { return test::cpu_state().cr3; }
inline std::uint64_t read_cr4() { return test::cpu_state().cr4; }
inline void write_cr0(std::uint64_t value) { test::cpu_state().cr0 = value; }
inline void write_cr2(std::uint64_t value) { test::cpu_state().cr2 = value; }
inline void write_cr3(std::uint64_t value) { test::cpu_state().cr3 = value; }
inline void write_cr4(std::uint64_t value) { test::cpu_state().cr4 = value; }

inline std::uint64_t xgetbv(std::uint32_t = 0) { return test::cpu_state().xcr0; }
inline void xsetbv(std::uint32_t, std::uint64_t value) { test::cpu_state().xsetbv(value); }
inline void xsave(void* area, std::uint64_t mask) { test::cpu_state().xsave(area, mask); }
inline void xrstor(const void* area, std::uint64_t mask) { test::cpu_state().xrstor(area, mask); }

template <unsigned number>
inline std::uint64_t read_dr() {
    return test::cpu_state().dr[number];
}
template <unsigned number>
inline void write_dr(std::uint64_t value) {
    test::cpu_state().dr[number] = value;
}

inline std::expected<std::uint64_t, isa::Fault> rdmsr_safe(isa::Msr msr) {
    const auto found = test::cpu_state().msrs.find(msr);
    if (found == test::cpu_state().msrs.end()) return std::unexpected(isa::general_protection);
    return found->second;
}
inline std::expected<void, isa::Fault> wrmsr_safe(isa::Msr msr, std::uint64_t value) {
    const auto found = test::cpu_state().msrs.find(msr);
    if (found == test::cpu_state().msrs.end()) return std::unexpected(isa::general_protection);
    found->second = value;
    return {};
}
inline std::uint64_t rdmsr(isa::Msr msr) {
    const auto value = rdmsr_safe(msr);
    if (!value) throw std::logic_error("#GP: RDMSR");
    return *value;
}
inline void wrmsr(isa::Msr msr, std::uint64_t value) {
    if (!wrmsr_safe(msr, value)) throw std::logic_error("#GP: WRMSR");
}

inline isa::CpuidResult cpuid(std::uint32_t leaf, std::uint32_t subleaf = 0) {
    return test::cpu_state().cpuid ? test::cpu_state().cpuid(leaf, subleaf) : isa::CpuidResult{};
}
inline std::uint64_t rdtsc() { return test::cpu_state().tsc++; }

inline void invlpg(const volatile void*) {}
inline void wbinvd() {}

struct [[gnu::packed]] DescriptorTablePointer {
    std::uint16_t limit;
    std::uint64_t base;
};

inline void pause() {}
inline void unblock_nmis() { ++test::cpu_state().nmis_unblocked; }
inline void safe_halt() {
    if (!test::cpu_state().halt) throw std::logic_error("halted for ever");
    test::cpu_state().halt();
}
inline void hlt() { safe_halt(); }

}  // namespace bulkhead::cpu
