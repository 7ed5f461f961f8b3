// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "arch/cpu/panic.hpp"
#include "lib/log.hpp"

namespace bulkhead::boot {

// For a machine on which Bulkhead cannot run: one sentence that names what is missing and what to do.
template <class... Args>
[[noreturn]] void refuse(std::string_view sentence, const Args&... args) {
    char storage[224];
    TextBuffer buffer{storage};
    print(buffer, sentence, args...);
    log("Bulkhead cannot run here: {}", buffer.view());
    cpu::stop_machine();
}

}  // namespace bulkhead::boot
