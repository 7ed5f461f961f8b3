// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>
#include <vector>

#include "lib/address.hpp"

// Stands for vmx/instructions.hpp in unit tests: a processor's VMX instructions after the SDM (volume 3, chapters 24
// and 30), with the same interface. It knows the fields of appendix B by their encodings, not by vmx/fields.hpp.
namespace bulkhead::vmx::instruction {

enum class Outcome : std::uint8_t { succeed, fail_valid, fail_invalid };
enum class InveptType : std::uint64_t { single_context = 1, all_contexts = 2 };
enum class InvvpidType : std::uint64_t {
    individual_address = 0,
    single_context = 1,
    all_contexts = 2,
    single_context_retaining_globals = 3,
};

}  // namespace bulkhead::vmx::instruction

namespace bulkhead::test {

using vmx::instruction::InveptType;
using vmx::instruction::InvvpidType;
using vmx::instruction::Outcome;

// What the real vmread and vmwrite make a panic of.
struct AccessRefused : std::runtime_error {
    AccessRefused(std::uint32_t field, std::uint32_t number)
        : std::runtime_error("VMCS access refused"), encoding(field), error(number) {}
    std::uint32_t encoding;
    std::uint32_t error;  // VM-instruction error; 0: VMfailInvalid
};

class FakeProcessor {
  public:
    // VM-instruction errors that it gives (SDM 30.4).
    enum Error : std::uint32_t {
        vmclear_invalid_address = 2,
        vmclear_vmxon_pointer = 3,
        vmptrld_invalid_address = 9,
        vmptrld_vmxon_pointer = 10,
        vmptrld_wrong_revision = 11,
        unsupported_component = 12,
        read_only_component = 13,
        vmxon_in_root = 15,
        invalid_operand = 28,
    };
    struct Invept {
        InveptType type;
        std::uint64_t ept_pointer;
        bool operator==(const Invept&) const = default;
    };
    struct Invvpid {
        InvvpidType type;
        std::uint16_t vpid;
        GuestVirt address;
        bool operator==(const Invvpid&) const = default;
    };

    // How it is made.
    std::uint32_t revision = 0x2b;
    unsigned physical_bits = 40;
    bool writes_read_only{};  // IA32_VMX_MISC bit 29
    std::set<std::uint32_t> missing_fields;
    std::set<InveptType> invept_types{InveptType::single_context, InveptType::all_contexts};
    std::set<InvvpidType> invvpid_types{InvvpidType::individual_address, InvvpidType::single_context,
                                        InvvpidType::all_contexts, InvvpidType::single_context_retaining_globals};
    // The first word of a region in memory; without it every region has the right revision.
    std::function<std::uint32_t(HostPhys)> first_word;

    // What the tests look at.
    std::vector<Invept> invepts;
    std::vector<Invvpid> invvpids;
    std::optional<HostPhys> current() const { return current_; }
    bool in_vmx_operation() const { return vmxon_.has_value(); }

    // Straight into VMX operation with a current VMCS, and no memory behind it.
    void start() {
        vmxon_ = HostPhys{0x1000};
        current_ = HostPhys{0x2000};
    }
    // As a VM exit does, which may write the read-only fields too.
    void set(std::uint32_t encoding, std::uint64_t value) { regions_[current_->value][encoding] = value; }
    std::uint64_t get(std::uint32_t encoding) { return regions_[current_->value][encoding]; }
    bool was_written(std::uint32_t encoding) { return regions_[current_->value].contains(encoding); }

    static bool exists(std::uint32_t encoding);

    Outcome vmxon(HostPhys region);
    Outcome vmxoff();
    Outcome vmclear(HostPhys region);
    Outcome vmptrld(HostPhys region);
    std::uint64_t vmread(std::uint64_t encoding);
    void vmwrite(std::uint64_t encoding, std::uint64_t value);
    Outcome invept(InveptType type, std::uint64_t ept_pointer);
    Outcome invvpid(InvvpidType type, std::uint16_t vpid, GuestVirt address);

  private:
    bool is_address(HostPhys region) const {
        return region.is_aligned(4096) && region.value >> physical_bits == 0;
    }
    bool has_revision(HostPhys region) const { return !first_word || first_word(region) == revision; }
    Outcome fail(Error error);
    [[noreturn]] void refuse(std::uint32_t encoding, Error error);

    std::optional<HostPhys> vmxon_, current_;
    std::map<std::uint64_t, std::map<std::uint32_t, std::uint64_t>> regions_;
};

// The processor on which a test runs; a test begins with a new one.
inline FakeProcessor& processor() {
    static FakeProcessor fake;
    return fake;
}

namespace fake_detail {

struct Encodings {
    std::uint32_t first, last;
};
// SDM appendix B, tables B-1 to B-16: even codes from first to last.
inline constexpr Encodings appendix_b[] = {
    {0x0000, 0x0008}, {0x0800, 0x0814}, {0x0c00, 0x0c0c},                     // 16 bits
    {0x2000, 0x2044}, {0x204a, 0x204c}, {0x2400, 0x2400}, {0x2800, 0x2818}, {0x2c00, 0x2c06},  // 64 bits
    {0x4000, 0x4024}, {0x4400, 0x440e}, {0x4800, 0x482a}, {0x482e, 0x482e}, {0x4c00, 0x4c00},  // 32 bits
    {0x6000, 0x600e}, {0x6400, 0x640a}, {0x6800, 0x682c}, {0x6c00, 0x6c1c},   // natural width
};

inline bool is_64_bit(std::uint32_t encoding) { return (encoding >> 13 & 3) == 1; }
inline bool is_read_only(std::uint32_t encoding) { return (encoding >> 10 & 3) == 1; }
inline std::uint64_t width_mask(std::uint32_t encoding) {
    switch (encoding >> 13 & 3) {
    case 0: return 0xffff;
    case 2: return 0xffff'ffff;
    default: return ~0ull;
    }
}

}  // namespace fake_detail

inline bool FakeProcessor::exists(std::uint32_t encoding) {
    // The lowest bit names the high half of a 64-bit field (24.11.2).
    if ((encoding & 1) != 0 && !fake_detail::is_64_bit(encoding)) return false;
    for (const auto& range : fake_detail::appendix_b)
        if ((encoding & ~1u) >= range.first && (encoding & ~1u) <= range.last) return true;
    return false;
}

// 30.2: with a current VMCS the error number goes there, without one there is none.
inline Outcome FakeProcessor::fail(Error error) {
    if (!current_) return Outcome::fail_invalid;
    set(0x4400, error);
    return Outcome::fail_valid;
}

inline void FakeProcessor::refuse(std::uint32_t encoding, Error error) {
    fail(error);
    throw AccessRefused(encoding, current_ ? static_cast<std::uint32_t>(error) : 0);
}

inline Outcome FakeProcessor::vmxon(HostPhys region) {
    if (vmxon_) return fail(vmxon_in_root);
    if (!is_address(region) || !has_revision(region)) return Outcome::fail_invalid;
    vmxon_ = region;
    current_.reset();
    return Outcome::succeed;
}

inline Outcome FakeProcessor::vmxoff() {
    if (!vmxon_) throw std::logic_error("#UD: VMXOFF outside VMX operation");
    vmxon_.reset();
    current_.reset();
    return Outcome::succeed;
}

inline Outcome FakeProcessor::vmclear(HostPhys region) {
    if (!vmxon_) throw std::logic_error("#UD: VMCLEAR outside VMX operation");
    if (!is_address(region)) return fail(vmclear_invalid_address);
    if (region == *vmxon_) return fail(vmclear_vmxon_pointer);
    if (current_ == region) current_.reset();
    return Outcome::succeed;
}

inline Outcome FakeProcessor::vmptrld(HostPhys region) {
    if (!vmxon_) throw std::logic_error("#UD: VMPTRLD outside VMX operation");
    if (!is_address(region)) return fail(vmptrld_invalid_address);
    if (region == *vmxon_) return fail(vmptrld_vmxon_pointer);
    if (!has_revision(region)) return fail(vmptrld_wrong_revision);
    current_ = region;
    return Outcome::succeed;
}

inline std::uint64_t FakeProcessor::vmread(std::uint64_t wide) {
    if (!vmxon_) throw std::logic_error("#UD: VMREAD outside VMX operation");
    const auto encoding = static_cast<std::uint32_t>(wide);
    if (!current_) refuse(encoding, unsupported_component);
    if (!exists(encoding) || missing_fields.contains(encoding & ~1u)) refuse(encoding, unsupported_component);
    const std::uint64_t value = regions_[current_->value][encoding & ~1u];
    return (encoding & 1) != 0 ? value >> 32 : value;
}

inline void FakeProcessor::vmwrite(std::uint64_t wide, std::uint64_t value) {
    if (!vmxon_) throw std::logic_error("#UD: VMWRITE outside VMX operation");
    const auto encoding = static_cast<std::uint32_t>(wide);
    if (!current_) refuse(encoding, unsupported_component);
    if (!exists(encoding) || missing_fields.contains(encoding & ~1u)) refuse(encoding, unsupported_component);
    if (fake_detail::is_read_only(encoding) && !writes_read_only) refuse(encoding, read_only_component);
    std::uint64_t& field = regions_[current_->value][encoding & ~1u];
    if ((encoding & 1) != 0)
        field = (field & 0xffff'ffff) | value << 32;
    else
        field = value & fake_detail::width_mask(encoding);
}

// 30.3, INVEPT: the type must be supported; a single context needs an EPT pointer that VM entry would take.
inline Outcome FakeProcessor::invept(InveptType type, std::uint64_t ept_pointer) {
    if (!vmxon_) throw std::logic_error("#UD: INVEPT outside VMX operation");
    if (!invept_types.contains(type)) return fail(invalid_operand);
    const bool valid = (ept_pointer & 7) == 6 && (ept_pointer >> 3 & 7) == 3 && (ept_pointer & 0xf80) == 0;
    if (type == InveptType::single_context && !valid) return fail(invalid_operand);
    invepts.push_back({type, ept_pointer});
    return Outcome::succeed;
}

// 30.3, INVVPID: VPID 0 only with all contexts; the address canonical.
inline Outcome FakeProcessor::invvpid(InvvpidType type, std::uint16_t vpid, GuestVirt address) {
    if (!vmxon_) throw std::logic_error("#UD: INVVPID outside VMX operation");
    if (!invvpid_types.contains(type)) return fail(invalid_operand);
    if (type != InvvpidType::all_contexts && vpid == 0) return fail(invalid_operand);
    const auto upper = static_cast<std::int64_t>(address.value) >> 47;
    if (type == InvvpidType::individual_address && upper != 0 && upper != -1) return fail(invalid_operand);
    invvpids.push_back({type, vpid, address});
    return Outcome::succeed;
}

}  // namespace bulkhead::test

namespace bulkhead::vmx::instruction {

inline Outcome vmxon(HostPhys region) { return test::processor().vmxon(region); }
inline Outcome vmxoff() { return test::processor().vmxoff(); }
inline Outcome vmclear(HostPhys region) { return test::processor().vmclear(region); }
inline Outcome vmptrld(HostPhys region) { return test::processor().vmptrld(region); }
inline std::uint64_t vmread(std::uint64_t encoding) { return test::processor().vmread(encoding); }
inline void vmwrite(std::uint64_t encoding, std::uint64_t value) { test::processor().vmwrite(encoding, value); }
inline Outcome invept(InveptType type, std::uint64_t ept_pointer) {
    return test::processor().invept(type, ept_pointer);
}
inline Outcome invvpid(InvvpidType type, std::uint16_t vpid, GuestVirt address) {
    return test::processor().invvpid(type, vpid, address);
}

}  // namespace bulkhead::vmx::instruction
