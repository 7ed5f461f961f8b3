// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstdint>
#include <span>
#include <string_view>

#include "lib/address.hpp"

namespace bulkhead {

// Where formatted text goes.
class TextSink {
  public:
    virtual void write(std::string_view text) = 0;

  protected:
    ~TextSink() = default;
};

// Text in a fixed buffer; what does not fit is cut.
class TextBuffer final : public TextSink {
  public:
    explicit TextBuffer(std::span<char> storage) : storage_(storage) {}
    void write(std::string_view text) override;
    std::string_view view() const { return {storage_.data(), used_}; }

  private:
    std::span<char> storage_;
    std::size_t used_{};
};

// One value to print: what an argument of `print` becomes.
class FormatArgument {
  public:
    FormatArgument(bool v) : kind_(Kind::text), text_(v ? "yes" : "no") {}
    FormatArgument(char v) : kind_(Kind::character), number_(static_cast<unsigned char>(v)) {}
    FormatArgument(std::string_view v) : kind_(Kind::text), text_(v) {}
    FormatArgument(const char* v) : kind_(Kind::text), text_(v) {}
    FormatArgument(std::unsigned_integral auto v) : kind_(Kind::number), number_(v) {}
    FormatArgument(std::signed_integral auto v)
        : kind_(v < 0 ? Kind::negative : Kind::number),
          number_(v < 0 ? 0 - static_cast<std::uint64_t>(v) : static_cast<std::uint64_t>(v)) {}
    template <class Space>
    FormatArgument(Address<Space> v) : kind_(Kind::address), number_(v.value) {}
    FormatArgument(const void* v) : kind_(Kind::address), number_(reinterpret_cast<std::uintptr_t>(v)) {}

    // `spec` is what stands after the colon in {:spec}: [0][width][x].
    void print(TextSink& sink, std::string_view spec) const;

  private:
    enum class Kind : std::uint8_t { number, negative, character, address, text };
    Kind kind_;
    std::uint64_t number_{};
    std::string_view text_{};
};

void print_arguments(TextSink& sink, std::string_view format, std::span<const FormatArgument> arguments);

// Replaces each {} or {:spec} of `format`, in order: {:x} hexadecimal, {:8} padded with spaces on the left (text: on
// the right), {:016x} padded with zeros. Addresses print as 0x and hexadecimal. {{ and }} stand for the braces.
template <class... Args>
void print(TextSink& sink, std::string_view format, const Args&... args) {
    if constexpr (sizeof...(args) == 0) {
        print_arguments(sink, format, {});
    } else {
        const FormatArgument list[] = {FormatArgument(args)...};
        print_arguments(sink, format, list);
    }
}

}  // namespace bulkhead
