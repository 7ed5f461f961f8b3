// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>

// What CPUID shows a guest: one row for each bit or field that may be seen. What is not listed reads as zero. The
// leaves that follow from the guest's own shape (4, 0Bh, 0Dh, 15h, 16h, 1Fh and the hypervisor's) are computed in
// cpuid.cpp. A name without a blank is a feature, which a configuration can hide by that name.
namespace bulkhead::guest::cpuid_table {

enum class Register : std::uint8_t { eax, ebx, ecx, edx };

// When a row is shown.
enum class Show : std::uint8_t {
    host,    // if the processor has it
    always,  // the model provides it, whatever the processor has
    smp,     // with more than one vCPU
    xsave,   // these: the processor has it, and the guest may enable the state in XCR0
    avx,
    avx512,
    pku,
    xsavec,  // ... and its compacted format is the architecture's
    xsaves,  // ... and IA32_XSS is offered
    rdtscp,  // these: the processor has it, and the instruction is enabled for guests
    invpcid,
    spec_ctrl,  // ... and IA32_SPEC_CTRL is switched with the guest
    arch_capabilities,
};

struct Row {
    std::uint32_t leaf;
    std::uint32_t subleaf;
    Register reg;
    std::uint32_t mask;
    Show show;
    std::string_view name;
};

constexpr std::uint32_t bit(unsigned n) { return 1u << n; }
constexpr std::uint32_t whole = 0xffff'ffff;

using enum Register;
using enum Show;

inline constexpr Row rows[] = {
    {0x0, 0, ebx, whole, host, "vendor"},
    {0x0, 0, ecx, whole, host, "vendor"},
    {0x0, 0, edx, whole, host, "vendor"},

    {0x1, 0, eax, 0x0fff'3fff, host, "family, model, stepping"},
    {0x1, 0, ebx, 0x0000'ffff, host, "brand index, CLFLUSH line size"},
    {0x1, 0, ecx, bit(0), host, "SSE3"},
    {0x1, 0, ecx, bit(1), host, "PCLMULQDQ"},
    {0x1, 0, ecx, bit(9), host, "SSSE3"},
    {0x1, 0, ecx, bit(12), avx, "FMA"},
    {0x1, 0, ecx, bit(13), host, "CMPXCHG16B"},
    {0x1, 0, ecx, bit(17), host, "PCID"},
    {0x1, 0, ecx, bit(19), host, "SSE4_1"},
    {0x1, 0, ecx, bit(20), host, "SSE4_2"},
    {0x1, 0, ecx, bit(21), always, "x2APIC"},
    {0x1, 0, ecx, bit(22), host, "MOVBE"},
    {0x1, 0, ecx, bit(23), host, "POPCNT"},
    {0x1, 0, ecx, bit(24), always, "TSC_DEADLINE"},
    {0x1, 0, ecx, bit(25), host, "AESNI"},
    {0x1, 0, ecx, bit(26), xsave, "XSAVE"},
    {0x1, 0, ecx, bit(28), avx, "AVX"},
    {0x1, 0, ecx, bit(29), avx, "F16C"},
    {0x1, 0, ecx, bit(30), host, "RDRAND"},
    {0x1, 0, ecx, bit(31), always, "HYPERVISOR"},
    {0x1, 0, edx, bit(0), host, "FPU"},
    {0x1, 0, edx, bit(1), host, "VME"},
    {0x1, 0, edx, bit(2), host, "DE"},
    {0x1, 0, edx, bit(3), host, "PSE"},
    {0x1, 0, edx, bit(4), always, "TSC"},
    {0x1, 0, edx, bit(5), always, "MSR"},
    {0x1, 0, edx, bit(6), host, "PAE"},
    {0x1, 0, edx, bit(7), host, "MCE"},
    {0x1, 0, edx, bit(8), host, "CX8"},
    {0x1, 0, edx, bit(9), always, "APIC"},
    {0x1, 0, edx, bit(11), host, "SEP"},
    {0x1, 0, edx, bit(12), always, "MTRR"},
    {0x1, 0, edx, bit(13), host, "PGE"},
    {0x1, 0, edx, bit(14), host, "MCA"},
    {0x1, 0, edx, bit(15), host, "CMOV"},
    {0x1, 0, edx, bit(16), host, "PAT"},
    {0x1, 0, edx, bit(17), host, "PSE36"},
    {0x1, 0, edx, bit(19), host, "CLFSH"},
    {0x1, 0, edx, bit(23), host, "MMX"},
    {0x1, 0, edx, bit(24), host, "FXSR"},
    {0x1, 0, edx, bit(25), host, "SSE"},
    {0x1, 0, edx, bit(26), host, "SSE2"},
    {0x1, 0, edx, bit(27), host, "SS"},
    {0x1, 0, edx, bit(28), smp, "HTT"},

    {0x2, 0, eax, whole, host, "cache and TLB descriptors"},
    {0x2, 0, ebx, whole, host, "cache and TLB descriptors"},
    {0x2, 0, ecx, whole, host, "cache and TLB descriptors"},
    {0x2, 0, edx, whole, host, "cache and TLB descriptors"},

    {0x6, 0, eax, bit(2), always, "ARAT"},

    {0x7, 0, ebx, bit(0), host, "FSGSBASE"},
    {0x7, 0, ebx, bit(1), always, "TSC_ADJUST"},
    {0x7, 0, ebx, bit(3), host, "BMI1"},
    {0x7, 0, ebx, bit(5), avx, "AVX2"},
    {0x7, 0, ebx, bit(6), host, "FDP on exceptions only"},
    {0x7, 0, ebx, bit(7), host, "SMEP"},
    {0x7, 0, ebx, bit(8), host, "BMI2"},
    {0x7, 0, ebx, bit(9), host, "ERMS"},
    {0x7, 0, ebx, bit(10), invpcid, "INVPCID"},
    {0x7, 0, ebx, bit(13), host, "no FCS and FDS"},
    {0x7, 0, ebx, bit(16), avx512, "AVX512F"},
    {0x7, 0, ebx, bit(17), avx512, "AVX512DQ"},
    {0x7, 0, ebx, bit(18), host, "RDSEED"},
    {0x7, 0, ebx, bit(19), host, "ADX"},
    {0x7, 0, ebx, bit(20), host, "SMAP"},
    {0x7, 0, ebx, bit(21), avx512, "AVX512_IFMA"},
    {0x7, 0, ebx, bit(23), host, "CLFLUSHOPT"},
    {0x7, 0, ebx, bit(24), host, "CLWB"},
    {0x7, 0, ebx, bit(28), avx512, "AVX512CD"},
    {0x7, 0, ebx, bit(29), host, "SHA"},
    {0x7, 0, ebx, bit(30), avx512, "AVX512BW"},
    {0x7, 0, ebx, bit(31), avx512, "AVX512VL"},
    {0x7, 0, ecx, bit(1), avx512, "AVX512_VBMI"},
    {0x7, 0, ecx, bit(2), host, "UMIP"},
    {0x7, 0, ecx, bit(3), pku, "PKU"},
    {0x7, 0, ecx, bit(6), avx512, "AVX512_VBMI2"},
    {0x7, 0, ecx, bit(8), host, "GFNI"},
    {0x7, 0, ecx, bit(9), avx, "VAES"},
    {0x7, 0, ecx, bit(10), avx, "VPCLMULQDQ"},
    {0x7, 0, ecx, bit(11), avx512, "AVX512_VNNI"},
    {0x7, 0, ecx, bit(12), avx512, "AVX512_BITALG"},
    {0x7, 0, ecx, bit(14), avx512, "AVX512_VPOPCNTDQ"},
    {0x7, 0, ecx, bit(22), rdtscp, "RDPID"},
    {0x7, 0, ecx, bit(25), host, "CLDEMOTE"},
    {0x7, 0, ecx, bit(27), host, "MOVDIRI"},
    {0x7, 0, ecx, bit(28), host, "MOVDIR64B"},
    {0x7, 0, edx, bit(4), host, "FSRM"},
    {0x7, 0, edx, bit(8), avx512, "AVX512_VP2INTERSECT"},
    {0x7, 0, edx, bit(10), host, "MD_CLEAR"},
    {0x7, 0, edx, bit(14), host, "SERIALIZE"},
    {0x7, 0, edx, bit(26), spec_ctrl, "IBRS"},
    {0x7, 0, edx, bit(27), spec_ctrl, "STIBP"},
    {0x7, 0, edx, bit(28), host, "L1D_FLUSH"},
    {0x7, 0, edx, bit(29), arch_capabilities, "ARCH_CAPABILITIES"},
    {0x7, 0, edx, bit(31), spec_ctrl, "SSBD"},
    {0x7, 1, eax, bit(4), avx, "AVX_VNNI"},
    {0x7, 1, eax, bit(5), avx512, "AVX512_BF16"},
    {0x7, 1, eax, bit(10), host, "FZRM"},
    {0x7, 1, eax, bit(11), host, "FSRS"},
    {0x7, 1, eax, bit(12), host, "FSRCS"},

    {0xd, 1, eax, bit(0), xsave, "XSAVEOPT"},
    {0xd, 1, eax, bit(1), xsavec, "XSAVEC"},
    {0xd, 1, eax, bit(2), xsave, "XGETBV1"},
    {0xd, 1, eax, bit(3), xsaves, "XSAVES"},

    {0x8000'0001, 0, ecx, bit(0), host, "LAHF64"},
    {0x8000'0001, 0, ecx, bit(5), host, "LZCNT"},
    {0x8000'0001, 0, ecx, bit(8), host, "PREFETCHW"},
    {0x8000'0001, 0, edx, bit(20), host, "NX"},
    {0x8000'0001, 0, edx, bit(26), host, "PDPE1GB"},
    {0x8000'0001, 0, edx, bit(27), rdtscp, "RDTSCP"},
    {0x8000'0001, 0, edx, bit(29), host, "LM"},
    {0x8000'0002, 0, eax, whole, host, "brand string"},
    {0x8000'0002, 0, ebx, whole, host, "brand string"},
    {0x8000'0002, 0, ecx, whole, host, "brand string"},
    {0x8000'0002, 0, edx, whole, host, "brand string"},
    {0x8000'0003, 0, eax, whole, host, "brand string"},
    {0x8000'0003, 0, ebx, whole, host, "brand string"},
    {0x8000'0003, 0, ecx, whole, host, "brand string"},
    {0x8000'0003, 0, edx, whole, host, "brand string"},
    {0x8000'0004, 0, eax, whole, host, "brand string"},
    {0x8000'0004, 0, ebx, whole, host, "brand string"},
    {0x8000'0004, 0, ecx, whole, host, "brand string"},
    {0x8000'0004, 0, edx, whole, host, "brand string"},
    {0x8000'0006, 0, ecx, whole, host, "L2 cache"},
    {0x8000'0007, 0, edx, bit(8), always, "INVARIANT_TSC"},
    {0x8000'0008, 0, eax, 0x0000'ffff, host, "address sizes"},
};

constexpr bool is_feature(const Row& row) { return row.name.find(' ') == std::string_view::npos && row.mask != whole; }

// As a configuration names it: case does not matter, and '-' stands for '_' too.
constexpr bool same_name(std::string_view a, std::string_view b) {
    const auto plain = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c == '_' ? '-' : c; };
    if (a.size() != b.size()) return false;
    for (std::size_t i = 0; i < a.size(); ++i)
        if (plain(a[i]) != plain(b[i])) return false;
    return true;
}

// Null: no feature has this name.
constexpr const Row* find_feature(std::string_view name) {
    for (const Row& row : rows)
        if (is_feature(row) && same_name(row.name, name)) return &row;
    return nullptr;
}

// For code that depends on a feature: a name that is not in the table does not compile.
consteval Row feature(std::string_view name) {
    for (const Row& row : rows)
        if (is_feature(row) && same_name(row.name, name)) return row;
    std::unreachable();
}

// Whether a list of names, with blanks between them, has this one.
constexpr bool names(std::string_view list, std::string_view name) {
    while (!list.empty()) {
        std::size_t length = 0;
        while (length < list.size() && list[length] != ' ' && list[length] != '\t') ++length;
        if (same_name({list.data(), length}, name)) return true;
        list.remove_prefix(length < list.size() ? length + 1 : length);
    }
    return false;
}

}  // namespace bulkhead::guest::cpuid_table
