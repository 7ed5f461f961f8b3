// SPDX-License-Identifier: Apache-2.0
#include "vmx/instructions.hpp"

#include "lib/log.hpp"
#include "vmx/entry_failure.hpp"

namespace bulkhead::vmx::instruction {

void access_refused(std::uint32_t encoding, bool write) {
    // Read without the check that led here: with no current VMCS there is no error number either.
    std::uint64_t error = 0;
    bool carry;
    asm volatile("vmread %[encoding], %[value]"
                 : "=@ccc"(carry), [value] "+r"(error)
                 : [encoding] "r"(std::uint64_t{0x4400})
                 : "memory");
    if (carry) panic("{} of VMCS field {:04x}: there is no current VMCS", write ? "VMWRITE" : "VMREAD", encoding);
    panic("{} of VMCS field {:04x}: {}", write ? "VMWRITE" : "VMREAD", encoding,
          instruction_error_text(static_cast<std::uint32_t>(error)));
}

}  // namespace bulkhead::vmx::instruction
