// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "arch/isa/msr.hpp"
#include "guest/cpu_state.hpp"
#include "guest/emulate/emulate.hpp"

// Stand-ins for a vCPU and its memory, for the tests of the emulator.
namespace {

using namespace bulkhead;

struct FakeCpu final : guest::CpuState {
    isa::Registers gprs{};
    std::uint64_t ip{}, flags{isa::rflags::FIXED};
    std::uint64_t control0{isa::cr0::PE | isa::cr0::ET}, control3{}, control4{isa::cr4::OSFXSR}, efer_value{};
    std::array<isa::SegmentRegister, 8> segments{};
    std::array<std::array<std::uint64_t, 2>, 16> xmms{};
    std::array<std::uint64_t, 8> mms{};
    guest::DescriptorTable gdt{};
    std::uint32_t keys{};
    bool x87_pending{};
    unsigned privilege{};

    std::uint64_t gpr(isa::Gpr r) const override { return gprs[r]; }
    void set_gpr(isa::Gpr r, std::uint64_t value) override { gprs[r] = value; }
    std::uint64_t rip() const override { return ip; }
    void set_rip(std::uint64_t value) override { ip = value; }
    std::uint64_t rflags() const override { return flags; }
    void set_rflags(std::uint64_t value) override { flags = value; }
    isa::SegmentRegister segment(isa::Segment s) const override { return segments[static_cast<std::size_t>(s)]; }
    std::uint64_t cr0() const override { return control0; }
    std::uint64_t cr3() const override { return control3; }
    std::uint64_t cr4() const override { return control4; }
    std::uint64_t efer() const override { return efer_value; }
    unsigned cpl() const override { return privilege; }
    void set_segment(isa::Segment s, const isa::SegmentRegister& value) override {
        segments[static_cast<std::size_t>(s)] = value;
        if (s == isa::Segment::SS) privilege = value.rights >> isa::access_rights::dpl_shift & 3;
    }
    guest::DescriptorTable gdtr() const override { return gdt; }
    void set_cr0(std::uint64_t value) override { control0 = value; }
    std::uint32_t pkru() const override { return keys; }
    std::array<std::uint64_t, 2> xmm(unsigned n) const override { return xmms.at(n); }
    void set_xmm(unsigned n, const std::array<std::uint64_t, 2>& value) override { xmms.at(n) = value; }
    std::uint64_t breakpoints_at(GuestVirt first, unsigned size, bool write) const override {
        return breakpoint && *breakpoint - first.value < size && (write || breakpoint_at_reads) ? met : 0;
    }
    bool breakpoints_enabled() const override { return breakpoint.has_value(); }

    static constexpr std::uint64_t met = 0x1001;
    std::optional<std::uint64_t> breakpoint;  // of one byte
    bool breakpoint_at_reads{};
    std::uint64_t mm(unsigned n) override { return mms.at(n); }
    void set_mm(unsigned n, std::uint64_t value) override { mms.at(n) = value; }
    bool x87_exception_pending() const override { return x87_pending; }

    isa::SegmentRegister& at(isa::Segment s) { return segments[static_cast<std::size_t>(s)]; }

    // Flat segments; `code` is 16, 32 or 64.
    void set_flat(unsigned code) {
        namespace ar = isa::access_rights;
        const std::uint32_t size = code == 64 ? ar::L : code == 32 ? ar::DB : 0;
        for (auto& s : segments) s = {0x18, ar::P | ar::S | ar::G | (code == 16 ? 0 : ar::DB) | 3, 0xffffffff, 0};
        at(isa::Segment::CS) = {0x10, ar::P | ar::S | ar::G | size | 0xb, 0xffffffff, 0};
        efer_value = code == 64 ? isa::efer::LMA | isa::efer::LME : 0;
    }
};

// Linear equals physical, but for pages that the test says otherwise of.
struct FakeTranslate final : guest::emulator::Translate {
    std::map<std::uint64_t, std::uint64_t> frames;  // of linear pages
    std::map<std::uint64_t, bool> absent, read_only;
    unsigned calls{};

    std::expected<GuestPhys, isa::Fault> translate(GuestVirt address, guest::emulator::Access access) override {
        using Kind = guest::emulator::Access::Kind;
        ++calls;
        const std::uint64_t page = address.align_down(page_size).value;
        const std::uint32_t code = (access.kind == Kind::write ? 2u : 0u) | (access.user ? 4u : 0u);
        if (absent.contains(page)) return std::unexpected(isa::Fault{isa::Exception::PF, code, address.value});
        if (access.kind == Kind::write && read_only.contains(page))
            return std::unexpected(isa::Fault{isa::Exception::PF, code | 1u, address.value});
        const auto frame = frames.find(page);
        if (frame == frames.end()) return GuestPhys{address.value};
        return GuestPhys{frame->second + address.offset_in(page_size)};
    }
};

// Sparse memory that remembers each access.
struct FakeBus final : guest::emulator::Bus {
    struct Entry {
        bool write;
        std::uint64_t address;
        std::size_t size;
        friend bool operator==(const Entry&, const Entry&) = default;
    };
    std::map<std::uint64_t, std::array<std::byte, page_size>> pages;
    std::vector<Entry> log;
    std::optional<std::uint64_t> refused;  // a page
    bool runs{};                           // takes many operands in one access

    std::byte& byte(std::uint64_t address) { return pages[address & ~(page_size - 1)][address & (page_size - 1)]; }

    bool read(GuestPhys from, std::span<std::byte> to) override {
        log.push_back({false, from.value, to.size()});
        if (refused == from.align_down(page_size).value) return false;
        for (std::size_t i = 0; i < to.size(); ++i) to[i] = byte(from.value + i);
        return true;
    }
    bool write(GuestPhys to, std::span<const std::byte> from) override {
        log.push_back({true, to.value, from.size()});
        if (refused == to.align_down(page_size).value) return false;
        for (std::size_t i = 0; i < from.size(); ++i) byte(to.value + i) = from[i];
        return true;
    }
    bool takes_runs(GuestPhys, unsigned) const override { return runs; }
    template <class T>
    void put(std::uint64_t address, T value) {
        std::array<std::byte, sizeof value> bytes;
        std::memcpy(bytes.data(), &value, sizeof value);
        for (std::size_t i = 0; i < bytes.size(); ++i) byte(address + i) = bytes[i];
    }
    template <class T>
    T get(std::uint64_t address) {
        std::array<std::byte, sizeof(T)> bytes;
        for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = byte(address + i);
        T value;
        std::memcpy(&value, bytes.data(), sizeof value);
        return value;
    }
    void code(std::uint64_t address, std::initializer_list<unsigned> bytes) {
        for (const unsigned b : bytes) byte(address++) = static_cast<std::byte>(b);
    }
};

}  // namespace
