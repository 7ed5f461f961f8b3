// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "lib/address.hpp"

// The VMX instructions (SDM volume 3, chapter 30), and the only place that has them. VMLAUNCH and VMRESUME are in
// entry.S.
namespace bulkhead::vmx::instruction {

// VMsucceed, VMfailValid and VMfailInvalid (SDM 30.2).
enum class Outcome : std::uint8_t { succeed, fail_valid, fail_invalid };

enum class InveptType : std::uint64_t { single_context = 1, all_contexts = 2 };
enum class InvvpidType : std::uint64_t {
    individual_address = 0,
    single_context = 1,
    all_contexts = 2,
    single_context_retaining_globals = 3,
};

// A refused access of a VMCS field: stops the machine, naming the field and the VM-instruction error.
[[noreturn]] void access_refused(std::uint32_t encoding, bool write);

namespace detail {
constexpr Outcome outcome(bool carry, bool zero) {
    return carry ? Outcome::fail_invalid : zero ? Outcome::fail_valid : Outcome::succeed;
}
}  // namespace detail

[[nodiscard]] inline Outcome vmxon(HostPhys region) {
    bool carry, zero;
    asm volatile("vmxon %[region]" : "=@ccc"(carry), "=@ccz"(zero) : [region] "m"(region.value) : "memory");
    return detail::outcome(carry, zero);
}

[[nodiscard]] inline Outcome vmxoff() {
    bool carry, zero;
    asm volatile("vmxoff" : "=@ccc"(carry), "=@ccz"(zero) : : "memory");
    return detail::outcome(carry, zero);
}

[[nodiscard]] inline Outcome vmclear(HostPhys region) {
    bool carry, zero;
    asm volatile("vmclear %[region]" : "=@ccc"(carry), "=@ccz"(zero) : [region] "m"(region.value) : "memory");
    return detail::outcome(carry, zero);
}

[[nodiscard]] inline Outcome vmptrld(HostPhys region) {
    bool carry, zero;
    asm volatile("vmptrld %[region]" : "=@ccc"(carry), "=@ccz"(zero) : [region] "m"(region.value) : "memory");
    return detail::outcome(carry, zero);
}

// One instruction more than the bare access: a refusal is never passed over.
[[nodiscard]] inline std::uint64_t vmread(std::uint64_t encoding) {
    std::uint64_t value;
    asm goto volatile("vmread %[encoding], %[value]\n\t"
                      "jbe %l[refused]"
                      : [value] "=r"(value)
                      : [encoding] "r"(encoding)
                      : "cc", "memory"
                      : refused);
    return value;
refused:
    access_refused(static_cast<std::uint32_t>(encoding), false);
}

inline void vmwrite(std::uint64_t encoding, std::uint64_t value) {
    asm goto volatile("vmwrite %[value], %[encoding]\n\t"
                      "jbe %l[refused]"
                      :
                      : [value] "rm"(value), [encoding] "r"(encoding)
                      : "cc", "memory"
                      : refused);
    return;
refused:
    access_refused(static_cast<std::uint32_t>(encoding), true);
}

[[nodiscard]] inline Outcome invept(InveptType type, std::uint64_t ept_pointer) {
    struct {
        std::uint64_t ept_pointer, reserved;
    } descriptor{ept_pointer, 0};
    bool carry, zero;
    asm volatile("invept %[descriptor], %[type]"
                 : "=@ccc"(carry), "=@ccz"(zero)
                 : [descriptor] "m"(descriptor), [type] "r"(type)
                 : "memory");
    return detail::outcome(carry, zero);
}

[[nodiscard]] inline Outcome invvpid(InvvpidType type, std::uint16_t vpid, GuestVirt address) {
    struct {
        std::uint64_t vpid;
        GuestVirt address;
    } descriptor{vpid, address};
    bool carry, zero;
    asm volatile("invvpid %[descriptor], %[type]"
                 : "=@ccc"(carry), "=@ccz"(zero)
                 : [descriptor] "m"(descriptor), [type] "r"(type)
                 : "memory");
    return detail::outcome(carry, zero);
}

}  // namespace bulkhead::vmx::instruction
