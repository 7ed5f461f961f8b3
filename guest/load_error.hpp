// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <expected>
#include <string_view>

#include "lib/format.hpp"

namespace bulkhead::guest {

// Why an image cannot be started, in a sentence for the operator.
struct LoadError {
    std::array<char, 200> text{};
    std::string_view message() const { return text.data(); }
};

template <class... Args>
std::unexpected<LoadError> load_error(std::string_view format, const Args&... args) {
    LoadError error;
    TextBuffer buffer{std::span{error.text}.first(error.text.size() - 1)};
    print(buffer, format, args...);
    return std::unexpected(error);
}

}  // namespace bulkhead::guest
