// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "lib/format.hpp"

namespace bulkhead::vmx {

// Why this machine cannot run guests: printed, one sentence that names what is missing and what to do.
struct Refusal {
    std::string_view missing;  // "the processor does not offer ..."
    std::string_view name;     // of the control that `missing` speaks of, where there is one
    std::string_view remedy;   // "use ..."

    void print(TextSink& sink) const {
        if (name.empty())
            bulkhead::print(sink, "{}; {}.", missing, remedy);
        else
            bulkhead::print(sink, "{} \"{}\"; {}.", missing, name, remedy);
    }
};

}  // namespace bulkhead::vmx
