// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstring>
#include <expected>
#include <map>
#include <string>

#include "arch/isa/msr.hpp"
#include "guest/cpu_state.hpp"
#include "guest/e820.hpp"
#include "guest/load_error.hpp"
#include "guest/memory.hpp"
#include "guest/placement.hpp"
#include "tests/fuzz/fuzz.hpp"

// What the targets of the loaders share: a guest's memory, and good images that the input damages.
namespace bulkhead::fuzz {

using Bytes = std::vector<std::byte>;

// Overwrites some fields of a good image, mostly among its first `header` bytes, and may cut it. What is returned has
// exactly its size, so that the address sanitizer sees each byte that is read beyond it.
inline Bytes damaged(Input& in, Bytes image, std::size_t header) {
    for (unsigned n = in.below(6); n != 0 && !image.empty(); --n) {
        const std::size_t limit = in.below(4) != 0 ? std::min(header, image.size()) : image.size();
        const std::size_t offset = in.below(static_cast<unsigned>(limit));
        std::uint64_t value = in.any<std::uint64_t>();
        if (in.chance()) value >>= in.below(64);
        if (in.below(4) == 0) value = ~value;
        std::memcpy(&image[offset], &value, std::min<std::size_t>(in.size(8), image.size() - offset));
    }
    if (in.below(4) == 0) image.resize(in.below(static_cast<unsigned>(image.size()) + 1));
    return Bytes(image.begin(), image.end());
}

// Mostly a damaged good image, sometimes any bytes.
template <class Make>
Bytes any_image(Input& in, Make make, std::size_t header) {
    if (in.below(16) == 0) return in.bytes(512);
    return damaged(in, make(), header);
}

// The RAM of a guest, whose pages come when they are written. A loader writes to what the map says is usable alone.
class Ram final : public guest::Memory {
  public:
    explicit Ram(Input& in) : Ram(in, (2 + in.below(48)) * mib) {}
    Ram(Input& in, std::uint64_t size) : size_(size) {
        // A map that promises more than there is has to be found out.
        const std::uint64_t promised = in.below(16) == 0 ? size_ + 16 * mib : size_;
        map_ = {guest::E820Entry{GuestPhys{0}, 0x9fc00, guest::E820Type::usable},
                guest::E820Entry{GuestPhys{0x9fc00}, 0x400, guest::E820Type::reserved},
                guest::E820Entry{GuestPhys{0xe0000}, 0x20000, guest::E820Type::reserved},
                guest::E820Entry{GuestPhys{mib}, promised - mib, guest::E820Type::usable}};
    }
    std::span<const guest::E820Entry> map() const { return map_; }

    bool read(GuestPhys from, std::span<std::byte> to) override {
        if (!inside(from, to.size())) return false;
        for (std::size_t i = 0; i < to.size(); ++i) to[i] = byte(from.value + i);
        return true;
    }
    bool write(GuestPhys to, std::span<const std::byte> from) override {
        check(to, from.size());
        if (!inside(to, from.size())) return false;
        while (!from.empty()) {  // a page at a time
            const auto part = from.first(std::min<std::size_t>(from.size(), page_size - to.offset_in(page_size)));
            std::ranges::copy(part, &place(to.value));
            from = from.subspan(part.size());
            to += part.size();
        }
        return true;
    }
    bool fill(GuestPhys to, std::uint64_t size, std::byte value) override {
        check(to, size);
        require(value == std::byte{}, "a loader fills with zeros");
        if (!inside(to, size)) return false;
        for (auto at = pages_.lower_bound(to.value & ~(page_size - 1));
             at != pages_.end() && at->first < to.value + size; ++at)
            for (std::uint64_t i = 0; i < page_size; ++i)
                if (at->first + i >= to.value && at->first + i - to.value < size) at->second[i] = std::byte{};
        return true;
    }
    bool holds(std::uint64_t address, std::span<const std::byte> expected) {
        while (!expected.empty()) {
            const auto part = expected.first(std::min<std::size_t>(expected.size(), page_size - address % page_size));
            if (!std::ranges::equal(part, std::span{&place(address), part.size()})) return false;
            expected = expected.subspan(part.size());
            address += part.size();
        }
        return true;
    }
    bool holds_text(std::uint64_t address, std::string_view text) {
        return holds(address, std::as_bytes(std::span{text})) && byte(address + text.size()) == std::byte{};
    }

  private:
    bool inside(GuestPhys first, std::uint64_t size) const {
        return first.value <= size_ && size <= size_ - first.value;
    }
    void check(GuestPhys first, std::uint64_t size) const {
        bool good = size == 0;
        for (const guest::E820Entry& entry : map_)
            good |= entry.type == guest::E820Type::usable && first >= entry.first && first <= entry.end() &&
                    size <= entry.end() - first;
        require(good, "a loader writes to usable memory alone");
    }
    std::byte& place(std::uint64_t at) { return pages_[at & ~(page_size - 1)][at & (page_size - 1)]; }
    std::byte byte(std::uint64_t at) const {
        const auto page = pages_.find(at & ~(page_size - 1));
        return page == pages_.end() ? std::byte{} : page->second[at & (page_size - 1)];
    }

    std::uint64_t size_;
    std::array<guest::E820Entry, 4> map_;
    std::map<std::uint64_t, std::array<std::byte, page_size>> pages_;
};

// Up to a module more than there may be, with their strings.
struct Modules {
    explicit Modules(Input& in) {
        data.resize(in.below(4) == 0 ? in.below(10) : in.below(2));
        for (auto& file : data)
            file = Bytes(in.below(3) * 2500 + in.below(8), std::byte{static_cast<std::uint8_t>(++salt)});
        for (std::size_t i = 0; i < data.size(); ++i) strings.push_back(in.ConsumeRandomLengthString(20).c_str());
        for (std::size_t i = 0; i < data.size(); ++i) list.push_back({data[i], strings[i]});
    }
    unsigned salt{};
    std::vector<Bytes> data;
    std::vector<std::string> strings;
    std::vector<guest::BootModule> list;
};

// A refusal is a sentence; what is started starts in usable memory, in a state that the processor takes.
inline void check_outcome(const std::expected<guest::InitialState, guest::LoadError>& state, const Ram& memory) {
    if (!state) return require(!state.error().message().empty(), "a refusal has its reason");
    require(guest::is_usable(memory.map(), {GuestPhys{state->rip}, GuestPhys{state->rip + 1}}),
            "the entry is in memory");
    require((state->rflags & isa::rflags::IF) == 0 && (state->cr0 & isa::cr0::PE) != 0,
            "protected mode, no interrupts");
    require(((state->cr0 & isa::cr0::PG) != 0) == ((state->efer & isa::efer::LMA) != 0), "paging in long mode alone");
}

}  // namespace bulkhead::fuzz
