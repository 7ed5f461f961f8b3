// SPDX-License-Identifier: Apache-2.0
#include "guest/msr.hpp"

#include "guest/control_registers.hpp"
#include "guest/memory_map.hpp"

namespace bulkhead::guest {
namespace {

using isa::Msr;

enum MemoryType : std::uint8_t { UC = 0, WC = 1, WT = 4, WP = 5, WB = 6, UC_MINUS = 7 };

constexpr bool is_memory_type(std::uint8_t type) { return type <= WC || (type >= WT && type <= WB); }

// IA32_ARCH_CAPABILITIES: statements that the processor is not affected by something. The bits that stand for a further
// MSR or for a control are not among them.
constexpr std::uint64_t immunities = 1u << 0 | 1u << 3 | 1u << 5 | 1u << 6 | 1u << 8 | 7u << 13 | 1u << 24 | 1u << 26;

constexpr bool is_canonical(std::uint64_t address) {
    const auto sign = static_cast<std::int64_t>(address) >> 47;
    return sign == 0 || sign == -1;
}

template <class Predicate>
constexpr bool all_bytes(std::uint64_t value, Predicate predicate) {
    for (unsigned i = 0; i < 8; ++i)
        if (!predicate(static_cast<std::uint8_t>(value >> (8 * i)))) return false;
    return true;
}

constexpr std::uint64_t page_frame_bits(unsigned physical_address_bits) {
    return ((1ull << physical_address_bits) - 1) & ~0xfffull;
}

// The number of the row's first value among the stored ones.
consteval auto storage_offsets() {
    std::array<std::uint8_t, std::size(msr_table::rows)> offsets{};
    std::uint8_t next = 0;
    for (std::size_t i = 0; i < offsets.size(); ++i) {
        offsets[i] = next;
        if (msr_table::rows[i].home == MsrHome::stored)
            next = static_cast<std::uint8_t>(next + msr_table::rows[i].count);
    }
    return offsets;
}
constexpr auto offsets = storage_offsets();

std::size_t index_of(const MsrRow& r, Msr msr) {
    return offsets[static_cast<std::size_t>(&r - msr_table::rows)] + static_cast<std::uint32_t>(msr) -
           msr_table::first_of(r);
}

}  // namespace

MsrParameters msr_parameters(const Cpuid& cpuid) {
    using cpuid_table::feature;
    static constexpr struct {
        MsrShown shown;
        cpuid_table::Row by;
    } rows[] = {
        {MsrShown::apic, feature("APIC")},
        {MsrShown::x2apic, feature("x2APIC")},
        {MsrShown::tsc_deadline, feature("TSC_DEADLINE")},
        {MsrShown::tsc_adjust, feature("TSC_ADJUST")},
        {MsrShown::sep, feature("SEP")},
        {MsrShown::mtrr, feature("MTRR")},
        {MsrShown::pat, feature("PAT")},
        {MsrShown::mca, feature("MCA")},
        {MsrShown::spec_ctrl, feature("IBRS")},
        {MsrShown::spec_ctrl, feature("STIBP")},
        {MsrShown::spec_ctrl, feature("SSBD")},
        {MsrShown::ibpb, feature("IBRS")},
        {MsrShown::l1d_flush, feature("L1D_FLUSH")},
        {MsrShown::arch_capabilities, feature("ARCH_CAPABILITIES")},
        {MsrShown::xsaves, feature("XSAVES")},
        {MsrShown::long_mode, feature("LM")},
        {MsrShown::rdtscp, feature("RDTSCP")},
    };
    MsrParameters parameters{.physical_address_bits = cpuid.physical_address_bits(),
                             .offered_efer = offered_efer(cpuid)};
    for (const auto& row : rows)
        if (cpuid.shows(row.by)) parameters.shown |= 1u << static_cast<unsigned>(row.shown);
    return parameters;
}

// The other values are all as firmware leaves them; what it does here is to make the hole below 4 GiB uncacheable.
Msrs::Msrs(const MsrParameters& parameters) : parameters_(parameters) {
    for (const MsrRow& r : msr_table::rows)
        if (r.home == MsrHome::stored)
            for (std::uint32_t i = 0; i < r.count; ++i) values_[index_of(r, r.msr) + i] = r.reset;
    constexpr std::uint64_t valid = 1u << 11;
    const std::uint64_t hole = layout::high_ram - layout::low_ram_limit;
    const MsrRow& variable = *msr_table::find(Msr::IA32_MTRR_PHYSBASE0);
    values_[index_of(variable, Msr::IA32_MTRR_PHYSBASE0)] = layout::low_ram_limit.value | UC;
    values_[index_of(variable, Msr::IA32_MTRR_PHYSMASK0)] =
        (page_frame_bits(parameters.physical_address_bits) & ~(hole - 1)) | valid;
}

const MsrRow* Msrs::row(Msr msr) const {
    const auto number = static_cast<std::uint32_t>(msr);
    const MsrRow*& recent = recent_[number % recent_.size()];
    if (recent != nullptr && msr_table::first_of(*recent) <= number && number <= msr_table::last_of(*recent))
        return recent;
    const MsrRow* const r = msr_table::find(msr);
    if (r == nullptr || !parameters_.shows(r->shown)) return nullptr;
    return recent = r;
}

std::uint64_t Msrs::constant_value(const MsrRow& r) const {
    switch (r.msr) {
        // The maximum non-turbo ratio, and the present one: of 100 MHz.
        case Msr::MSR_PLATFORM_INFO:
        case Msr::IA32_PERF_STATUS: return (parameters_.tsc_hz + 50'000'000) / 100'000'000 % 256 << 8;
        case Msr::IA32_ARCH_CAPABILITIES: return parameters_.arch_capabilities_value & immunities;
        default: return r.reset;
    }
}

bool Msrs::passes(const MsrRow& r, Msr msr, std::uint64_t value) const {
    switch (r.check) {
        case MsrCheck::canonical: return is_canonical(value);
        case MsrCheck::memory_types: return all_bytes(value, is_memory_type);
        case MsrCheck::pat_types:
            return all_bytes(value, [](std::uint8_t type) { return is_memory_type(type) || type == UC_MINUS; });
        case MsrCheck::mtrr_default: return is_memory_type(static_cast<std::uint8_t>(value));
        case MsrCheck::mtrr_variable: {
            // Even: base and type. Odd: mask and valid bit (SDM volume 3, figure 11-7).
            const bool mask = static_cast<std::uint32_t>(msr) & 1;
            const std::uint64_t frame = page_frame_bits(parameters_.physical_address_bits);
            if (value & ~(frame | (mask ? 0x800u : 0xffu))) return false;
            return mask || is_memory_type(static_cast<std::uint8_t>(value));
        }
        default: return true;
    }
}

bool Msrs::legal(Msr msr, std::uint64_t value) const {
    const MsrRow* const r = row(msr);
    return r != nullptr && r->access != MsrAccess::read && (value & ~r->legal) == 0 && passes(*r, msr, value);
}

std::expected<std::uint64_t, isa::Fault> Msrs::read(Msr msr) const {
    const MsrRow* const r = row(msr);
    if (r == nullptr || r->access == MsrAccess::write) return std::unexpected{isa::general_protection};
    switch (r->home) {
        case MsrHome::stored: return values_[index_of(*r, msr)];
        case MsrHome::constant: return constant_value(*r);
        default: return std::unexpected{isa::general_protection};
    }
}

std::expected<void, isa::Fault> Msrs::write(Msr msr, std::uint64_t value) {
    if (!legal(msr, value)) return std::unexpected{isa::general_protection};
    const MsrRow& r = *row(msr);
    if (r.home == MsrHome::constant) return {};
    if (r.home != MsrHome::stored) return std::unexpected{isa::general_protection};
    if (r.check == MsrCheck::misc_enable)
        value = (value & ~msr_table::misc_enable_read_only) | (r.reset & msr_table::misc_enable_read_only);
    values_[index_of(r, msr)] = value;
    return {};
}

}  // namespace bulkhead::guest
