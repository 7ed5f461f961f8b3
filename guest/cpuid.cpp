// SPDX-License-Identifier: Apache-2.0
#include "guest/cpuid.hpp"

#include <algorithm>
#include <bit>
#include <limits>

#include "arch/isa/control.hpp"

namespace bulkhead::guest {
namespace {

using isa::CpuidResult;

constexpr std::uint32_t highest_extended = 0x8000'0008;
constexpr std::uint32_t topology_leaf_v2 = 0x1f, frequency_leaf = 0x16;

// The standard format of the XSAVE area, the same on all Intel processors (SDM volume 1, 13.4 and 13.5). It is not
// taken from the host: its leaf 0Dh describes components that guests do not get, and may lie about sizes.
struct Component {
    std::uint32_t size{}, offset{};
};
constexpr Component components[] = {{}, {}, {256, 576}, {}, {}, {64, 1088}, {512, 1152}, {1024, 1664}, {}, {8, 2688}};
constexpr std::uint32_t legacy_and_header = 512 + 64;
constexpr std::uint64_t avx512_state = isa::xcr0::OPMASK | isa::xcr0::ZMM_Hi256 | isa::xcr0::Hi16_ZMM;

constexpr std::uint32_t standard_size(std::uint64_t xcr0) {
    std::uint32_t size = legacy_and_header;
    for (unsigned i = 2; i < std::size(components); ++i)
        if (xcr0 >> i & 1) size = std::max(size, components[i].offset + components[i].size);
    return size;
}
// Components follow each other; none of those here asks for alignment.
constexpr std::uint32_t compacted_size(std::uint64_t xcr0) {
    std::uint32_t size = legacy_and_header;
    for (unsigned i = 2; i < std::size(components); ++i)
        if (xcr0 >> i & 1) size += components[i].size;
    return size;
}
static_assert(standard_size(0x2e7) == 2696 && standard_size(7) == 832 && compacted_size(0xe7) == 2432);

// Of a CpuidResult, const or not.
auto& register_of(auto& result, cpuid_table::Register reg) {
    switch (reg) {
        case cpuid_table::Register::eax: return result.eax;
        case cpuid_table::Register::ebx: return result.ebx;
        case cpuid_table::Register::ecx: return result.ecx;
        default: return result.edx;
    }
}

bool shown(cpuid_table::Show show, const CpuidParameters& p, std::uint64_t xcr0) {
    using enum cpuid_table::Show;
    switch (show) {
        case smp: return p.vcpus > 1;
        case xsave: return xcr0 != 0;
        case avx: return xcr0 & isa::xcr0::AVX;
        case avx512: return (xcr0 & avx512_state) == avx512_state;
        case pku: return xcr0 & isa::xcr0::PKRU;
        case xsavec: return xcr0 != 0 && p.compacted_area == compacted_size(p.xcr0);
        case xsaves: return xcr0 != 0 && p.xsaves && p.compacted_area == compacted_size(p.xcr0);
        case rdtscp: return p.rdtscp && !cpuid_table::names(p.hidden, "RDTSCP");  // and with it RDPID
        case invpcid: return p.invpcid;
        case spec_ctrl: return p.spec_ctrl;
        case arch_capabilities: return p.arch_capabilities;
        default: return true;
    }
}

constexpr std::uint32_t word(const char* text) {
    std::uint32_t value = 0;
    for (unsigned i = 0; i < 4; ++i)
        value |= static_cast<std::uint32_t>(static_cast<unsigned char>(text[i])) << (8 * i);
    return value;
}
// EBX, ECX and EDX hold the twelve characters in this order, unlike leaf 0.
constexpr CpuidResult signature(std::uint32_t highest, const char (&text)[13]) {
    return {highest, word(text), word(text + 4), word(text + 8)};
}

}  // namespace

TscRatio tsc_ratio(std::uint64_t tsc_hz) {
    constexpr std::uint64_t largest = std::numeric_limits<std::uint32_t>::max();
    for (std::uint32_t numerator = 2; numerator <= 64; ++numerator)
        if (tsc_hz / numerator <= largest && tsc_hz % numerator == 0)
            return {1, numerator, static_cast<std::uint32_t>(tsc_hz / numerator)};
    if (tsc_hz <= largest) return {1, 1, static_cast<std::uint32_t>(tsc_hz)};
    // Above 4.29 GHz and without a small divisor: less than one hertz is lost.
    return {1, 64, static_cast<std::uint32_t>(tsc_hz / 64)};
}

Cpuid::Cpuid(const CpuidParameters& parameters, Host host)
    : vcpus_(parameters.vcpus),
      apic_id_bits_(static_cast<unsigned>(std::bit_width(parameters.vcpus - 1))),
      kvm_(parameters.paravirt == Paravirt::kvm),
      xcr0_(usable_xcr0(parameters, host)) {
    apply_table(parameters, host);
    describe_caches(host);
    describe_clock(parameters.tsc_hz);
    describe_addresses();
    sign();
    basic_[0x1].result.ebx |= 1u << (16 + apic_id_bits_);  // how many APIC IDs the package has
    basic_[0x1].kind = Kind::features;
    basic_[0x4].kind = Kind::caches;
    basic_[0x7].kind = Kind::more_features;
    basic_[0xb].kind = Kind::topology;
    basic_[0xd].kind = Kind::xsave;
    extended_[1].kind = Kind::extended_features;
    set_limits(host);
}

// A component needs the one below it and a feature that is not hidden, and the host's standard-format place for it must
// be the one that is shown.
std::uint64_t Cpuid::usable_xcr0(const CpuidParameters& parameters, Host host) const {
    const auto hidden = [&](std::string_view name) { return cpuid_table::names(parameters.hidden, name); };
    if (!(host(1, 0).ecx & isa::cpuid::leaf1_ecx::XSAVE) || host(0, 0).eax < 0xd || hidden("XSAVE")) return 0;
    const CpuidResult supported = host(0xd, 0);
    std::uint64_t mask = parameters.xcr0 & supported.eax;
    if (hidden("AVX")) mask &= ~isa::xcr0::AVX;
    if (hidden("AVX512F")) mask &= ~avx512_state;
    if (hidden("PKU")) mask &= ~isa::xcr0::PKRU;
    for (unsigned i = 2; i < 64; ++i) {
        if (!(mask >> i & 1)) continue;
        const std::uint32_t offset = i < std::size(components) ? components[i].offset : 0;
        const std::uint32_t actual = host(0xd, i).ebx;
        if (offset == 0 || (actual != 0 && actual != offset)) mask &= ~(1ull << i);
    }
    if (!(mask & isa::xcr0::SSE)) mask &= isa::xcr0::X87;
    if (!(mask & isa::xcr0::AVX) || (mask & avx512_state) != avx512_state) mask &= ~avx512_state;
    return mask;
}

void Cpuid::apply_table(const CpuidParameters& parameters, Host host) {
    const std::uint32_t host_basic = host(0, 0).eax, host_extended = host(extended_first, 0).eax;
    for (const cpuid_table::Row& row : cpuid_table::rows) {
        if (!shown(row.show, parameters, xcr0_)) continue;
        if (cpuid_table::is_feature(row) && cpuid_table::names(parameters.hidden, row.name)) continue;
        // Beyond the host's highest leaf, its answer is that of another one.
        const bool there = row.leaf <= (row.leaf >= extended_first ? host_extended : host_basic) &&
                           (row.leaf != 7 || row.subleaf <= host(7, 0).eax);
        CpuidResult answer = there ? host(row.leaf, row.subleaf) : CpuidResult{};
        const bool given = row.show == cpuid_table::Show::always || row.show == cpuid_table::Show::smp;
        const std::uint32_t value = given ? row.mask : register_of(answer, row.reg) & row.mask;

        if (row.leaf == 0x7 && row.subleaf == 1)
            register_of(features_7_1_, row.reg) |= value;
        else if (row.leaf == 0xd && row.subleaf == 1)
            xsave_instructions_ |= value;
        else if (row.leaf >= extended_first)
            register_of(extended_[row.leaf - extended_first].result, row.reg) |= value;
        else
            register_of(basic_[row.leaf].result, row.reg) |= value;
    }
    basic_[0x7].result.eax = features_7_1_ == CpuidResult{} ? 0 : 1;
}

// The caches of the host, as vCPUs of one package share them: the first two levels are each vCPU's own.
void Cpuid::describe_caches(Host host) {
    if (host(0, 0).eax < 4) return;
    const std::uint32_t ids = (1u << apic_id_bits_) - 1;
    for (unsigned i = 0; i + 1 < cache_subleaves; ++i) {
        CpuidResult cache = host(4, i);
        if ((cache.eax & 0x1f) == 0) return;  // no more
        const bool shared = (cache.eax >> 5 & 7) >= 3;
        cache.eax = (cache.eax & 0x3fff) | (shared ? ids << 14 : 0) | ids << 26;
        caches_[i] = cache;
    }
}

void Cpuid::describe_clock(std::uint64_t tsc_hz) {
    const TscRatio ratio = tsc_ratio(tsc_hz);
    basic_[0x15].result = {ratio.denominator, ratio.numerator, ratio.crystal_hz, 0};
    const auto mhz = static_cast<std::uint32_t>((tsc_hz + 500'000) / 1'000'000);
    basic_[0x16].result = {mhz, mhz, 100, 0};
}

// Guest-physical addresses have 48 bits at most, which is what four levels of EPT translate (SDM volume 3, 28.3.2). Nor
// are there linear addresses of five levels, since LA57 is not shown.
void Cpuid::describe_addresses() {
    constexpr std::uint32_t widest = 48, smallest_physical = 36;
    std::uint32_t& widths = extended_[8].result.eax;
    const std::uint32_t physical = widths & 0xff;
    widths = widest << 8 | (physical == 0 ? smallest_physical : std::min(physical, widest));
}

void Cpuid::sign() {
    own_.result = signature(own_first, "BulkheadVMM\0");
    // No feature is advertised: that the hypervisor is known at all is what lets Linux keep the x2APIC mode.
    kvm_leaves_[0].result = signature(kvm_first + 1, "KVMKVMKVM\0\0\0");
}

// Leaf 1Fh is shown where the processor has it. What follows the highest basic leaf answers like it.
void Cpuid::set_limits(Host host) {
    const std::uint32_t highest = host(0, 0).eax >= topology_leaf_v2 ? topology_leaf_v2 : frequency_leaf;
    if (highest == topology_leaf_v2) basic_[topology_leaf_v2].kind = Kind::topology;
    basic_[0].result.eax = highest;
    extended_[0].result.eax = highest_extended;
    for (std::uint32_t leaf = highest + 1; leaf < basic_leaves; ++leaf) basic_[leaf] = basic_[highest];
    for (std::uint32_t leaf = highest_extended - extended_first + 1; leaf < extended_leaves; ++leaf)
        extended_[leaf] = basic_[highest];
}

bool Cpuid::shows(const cpuid_table::Row& feature) const {
    CpuidResult result;
    if (feature.leaf == 0x7 && feature.subleaf == 1)
        result = features_7_1_;
    else if (feature.leaf == 0xd)
        result.eax = xsave_instructions_;
    else
        result = find(feature.leaf).result;
    return (register_of(result, feature.reg) & feature.mask) != 0;
}

isa::CpuidResult Cpuid::complete(const Slot& slot, std::uint32_t subleaf, const CpuidDynamic& dynamic) const {
    CpuidResult result = slot.result;
    switch (slot.kind) {
        case Kind::features:
            result.ebx |= dynamic.apic_id << 24;
            if (dynamic.osxsave) result.ecx |= isa::cpuid::leaf1_ecx::OSXSAVE;
            if (!dynamic.apic_enabled) result.edx &= ~isa::cpuid::leaf1_edx::APIC;
            return result;
        case Kind::caches: return subleaf < caches_.size() ? caches_[subleaf] : CpuidResult{};
        case Kind::more_features:
            if (subleaf == 1) return features_7_1_;
            if (subleaf != 0) return {};
            if (dynamic.ospke) result.ecx |= 1u << 4;
            return result;
        case Kind::topology: return topology(subleaf, dynamic.apic_id);
        case Kind::xsave: return xsave(subleaf, dynamic.xcr0);
        case Kind::extended_features:
            if (dynamic.mode_64) result.edx |= 1u << 11;  // SYSCALL: seen in 64-bit mode only
            return result;
        default: return result;
    }
}

// Every vCPU is a core with one thread, all in one package (SDM volume 2, CPUID leaves 0Bh and 1Fh).
isa::CpuidResult Cpuid::topology(std::uint32_t subleaf, std::uint32_t apic_id) const {
    constexpr std::uint32_t smt = 1 << 8, core = 2 << 8;
    if (subleaf == 0) return {0, 1, smt | 0, apic_id};
    if (subleaf == 1) return {apic_id_bits_, vcpus_, core | 1, apic_id};
    return {0, 0, subleaf & 0xff, apic_id};
}

isa::CpuidResult Cpuid::xsave(std::uint32_t subleaf, std::uint64_t enabled) const {
    constexpr std::uint32_t XSAVEC = 1u << 1, XSAVES = 1u << 3;
    if (xcr0_ == 0) return {};
    if (subleaf == 0)
        return {static_cast<std::uint32_t>(xcr0_), standard_size(enabled), standard_size(xcr0_),
                static_cast<std::uint32_t>(xcr0_ >> 32)};
    if (subleaf == 1) {
        const bool compacts = xsave_instructions_ & (XSAVEC | XSAVES);
        return {xsave_instructions_, compacts ? compacted_size(enabled) : 0, 0, 0};
    }
    if (subleaf < std::size(components) && (xcr0_ >> subleaf & 1))
        return {components[subleaf].size, components[subleaf].offset, 0, 0};
    return {};
}

}  // namespace bulkhead::guest
