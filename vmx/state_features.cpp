// SPDX-License-Identifier: Apache-2.0
#include "vmx/switch.hpp"

#include <algorithm>

namespace bulkhead::vmx {

namespace {

using namespace isa::xcr0;

constexpr std::uint64_t avx512 = OPMASK | ZMM_Hi256 | Hi16_ZMM;
constexpr std::uint64_t known_components = X87 | SSE | AVX | avx512 | PKRU;

constexpr bool bit(std::uint32_t word, unsigned n) { return (word >> n & 1) != 0; }

// XCR0 takes AVX-512's three components together, and only on top of AVX (SDM volume 1, 13.3).
constexpr std::uint64_t drop_incomplete(std::uint64_t xcr0) {
    if ((xcr0 & AVX) == 0 || (xcr0 & avx512) != avx512) xcr0 &= ~avx512;
    return xcr0;
}

// The end of the area counted from the components' own offsets (leaf 0Dh, sub-leaf i): an emulator is known whose total
// does not agree with them.
void find_extended_components(CpuidReader cpuid, StateFeatures& features) {
    constexpr std::uint32_t legacy_and_header = 576;
    const std::uint64_t offered = cpuid(0xd, 0).eax & known_components;
    std::array<std::uint32_t, 32> ends{};
    std::uint64_t fitting = X87 | SSE;
    for (unsigned i = 2; i < ends.size(); ++i) {
        if ((offered >> i & 1) == 0) continue;
        const isa::CpuidResult component = cpuid(0xd, i);
        const std::uint64_t end = std::uint64_t{component.eax} + component.ebx;
        if (component.eax == 0 || end > ProcessorState::area_size) continue;
        ends[i] = static_cast<std::uint32_t>(end);
        fitting |= 1ull << i;
    }
    features.xcr0 = drop_incomplete(fitting);
    features.area_size = legacy_and_header;
    for (unsigned i = 2; i < ends.size(); ++i)
        if ((features.xcr0 >> i & 1) != 0) features.area_size = std::max(features.area_size, ends[i]);
}

}  // namespace

StateFeatures find_state_features(CpuidReader cpuid) {
    StateFeatures features;
    features.xsave = (cpuid(1, 0).ecx & isa::cpuid::leaf1_ecx::XSAVE) != 0;
    if (features.xsave && cpuid(0, 0).eax >= 0xd) find_extended_components(cpuid, features);
    // IBRS and IBPB, or STIBP, or SSBD: each of them brings IA32_SPEC_CTRL.
    if (cpuid(0, 0).eax >= 7) {
        const std::uint32_t edx = cpuid(7, 0).edx;
        features.spec_ctrl = bit(edx, 26) || bit(edx, 27) || bit(edx, 31);
    }
    if (cpuid(0x8000'0000, 0).eax >= 0x8000'0001) features.rdtscp = bit(cpuid(0x8000'0001, 0).edx, 27);
    return features;
}

}  // namespace bulkhead::vmx
