// SPDX-License-Identifier: Apache-2.0
#include "lib/format.hpp"

#include <algorithm>

namespace bulkhead {
namespace {

struct Spec {
    char fill{' '};
    unsigned width{};
    bool hexadecimal{};
};

Spec parse(std::string_view text) {
    Spec spec;
    if (text.starts_with('0')) spec.fill = '0';
    for (const char c : text) {
        if (c >= '0' && c <= '9') spec.width = spec.width * 10 + static_cast<unsigned>(c - '0');
        if (c == 'x') spec.hexadecimal = true;
    }
    return spec;
}

void pad(TextSink& sink, char fill, std::size_t count) {
    for (; count > 0; --count) sink.write({&fill, 1});
}

}  // namespace

void TextBuffer::write(std::string_view text) {
    const std::size_t count = std::min(text.size(), storage_.size() - used_);
    std::copy_n(text.data(), count, storage_.data() + used_);
    used_ += count;
}

void FormatArgument::print(TextSink& sink, std::string_view spec_text) const {
    Spec spec = parse(spec_text);
    if (kind_ == Kind::text) {
        sink.write(text_);
        if (text_.size() < spec.width) pad(sink, ' ', spec.width - text_.size());
        return;
    }
    if (kind_ == Kind::character) {
        const char c = static_cast<char>(number_);
        sink.write({&c, 1});
        return;
    }
    if (kind_ == Kind::address) {
        sink.write("0x");
        spec.hexadecimal = true;
    }
    char digits[24];
    char* const end = digits + sizeof digits;
    char* p = end;
    const std::uint64_t base = spec.hexadecimal ? 16 : 10;
    std::uint64_t rest = number_;
    do {
        *--p = "0123456789abcdef"[rest % base];
        rest /= base;
    } while (rest != 0);
    if (kind_ == Kind::negative) *--p = '-';
    const auto length = static_cast<std::size_t>(end - p);
    if (length < spec.width) pad(sink, spec.fill, spec.width - length);
    sink.write({p, length});
}

void print_arguments(TextSink& sink, std::string_view format, std::span<const FormatArgument> arguments) {
    std::size_t next = 0;
    while (!format.empty()) {
        const std::size_t brace = format.find_first_of("{}");
        sink.write(format.substr(0, brace));
        if (brace == std::string_view::npos) return;
        format.remove_prefix(brace);
        if (format.size() > 1 && format[1] == format[0]) {
            sink.write(format.substr(0, 1));
            format.remove_prefix(2);
            continue;
        }
        const std::size_t close = format.find('}');
        if (close == std::string_view::npos) return;
        std::string_view spec = format.substr(1, close - 1);
        if (spec.starts_with(':')) spec.remove_prefix(1);
        if (next < arguments.size()) arguments[next++].print(sink, spec);
        format.remove_prefix(close + 1);
    }
}

}  // namespace bulkhead
