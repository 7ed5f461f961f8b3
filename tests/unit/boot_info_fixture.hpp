// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace bulkhead::boot {
namespace {

// Builds an information structure as chapter 3.6 of the Multiboot2 specification lays it out.
class Builder {
  public:
    Builder() : bytes_(8) {}

    Builder& tag(std::uint32_t type, const std::vector<std::byte>& body) {
        pad();
        put<std::uint32_t>(type);
        put<std::uint32_t>(static_cast<std::uint32_t>(8 + body.size()));
        bytes_.insert(bytes_.end(), body.begin(), body.end());
        return *this;
    }
    Builder& text(std::uint32_t type, const std::string& text) { return tag(type, with_nul(text)); }
    Builder& module(std::uint32_t start, std::uint32_t end, const std::string& text) {
        std::vector<std::byte> body;
        append(body, start);
        append(body, end);
        for (std::byte b : with_nul(text)) body.push_back(b);
        return tag(3, body);
    }
    struct Range {
        std::uint64_t base, length;
        std::uint32_t type;
    };
    Builder& memory_map(const std::vector<Range>& ranges, std::uint32_t entry_size = 24) {
        std::vector<std::byte> body;
        append(body, entry_size);
        append(body, std::uint32_t{0});
        for (const Range& r : ranges) {
            const std::size_t start = body.size();
            append(body, r.base);
            append(body, r.length);
            append(body, r.type);
            body.resize(start + entry_size);
        }
        return tag(6, body);
    }
    Builder& usable() { return memory_map({{0x100000, 0x7f00000, 1}}); }
    std::vector<std::byte> done(bool end_tag = true) {
        if (end_tag) tag(0, {});
        const auto total = static_cast<std::uint32_t>(bytes_.size());
        std::memcpy(bytes_.data(), &total, 4);
        return bytes_;
    }

    static std::vector<std::byte> with_nul(const std::string& text) {
        auto* first = reinterpret_cast<const std::byte*>(text.c_str());
        return {first, first + text.size() + 1};
    }

  private:
    template <class T>
    static void append(std::vector<std::byte>& to, T value) {
        auto* first = reinterpret_cast<const std::byte*>(&value);
        to.insert(to.end(), first, first + sizeof value);
    }
    template <class T>
    void put(T value) { append(bytes_, value); }
    void pad() { bytes_.resize((bytes_.size() + 7) & ~std::size_t{7}); }

    std::vector<std::byte> bytes_;
};

}  // namespace
}  // namespace bulkhead::boot
