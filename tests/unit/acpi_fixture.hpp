// SPDX-License-Identifier: Apache-2.0
// Makes ACPI tables by the layouts of ACPI 6.4, chapter 5, and physical memory that holds them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "lib/address.hpp"

namespace bulkhead::drivers::acpi {
namespace {

using Bytes = std::vector<std::uint8_t>;

inline void put(Bytes& bytes, std::size_t offset, std::uint64_t value, std::size_t size) {
    if (bytes.size() < offset + size) bytes.resize(offset + size);
    for (std::size_t i = 0; i < size; ++i) bytes[offset + i] = static_cast<std::uint8_t>(value >> (8 * i));
}
inline void put_text(Bytes& bytes, std::size_t offset, std::string_view text) {
    if (bytes.size() < offset + text.size()) bytes.resize(offset + text.size());
    std::copy(text.begin(), text.end(), bytes.begin() + static_cast<std::ptrdiff_t>(offset));
}
inline void append(Bytes& bytes, const Bytes& more) {
    bytes.insert(bytes.end(), more.begin(), more.end());
}
inline void fix_sum(Bytes& bytes, std::size_t sum_at, std::size_t count) {
    bytes[sum_at] = 0;
    std::uint8_t sum = 0;
    for (std::size_t i = 0; i < count; ++i) sum = static_cast<std::uint8_t>(sum + bytes[i]);
    bytes[sum_at] = static_cast<std::uint8_t>(-sum);
}

// Header fields by ACPI 6.4, table 5.4: signature, length at 4, revision at 8, checksum at 9.
inline Bytes table(std::string_view signature, const Bytes& body) {
    Bytes bytes(36);
    put_text(bytes, 0, signature);
    append(bytes, body);
    put(bytes, 4, bytes.size(), 4);
    fix_sum(bytes, 9, bytes.size());
    return bytes;
}

inline Bytes rsdp(unsigned revision, std::uint64_t rsdt, std::uint64_t xsdt) {
    Bytes bytes(revision >= 2 ? 36 : 20);
    put_text(bytes, 0, "RSD PTR ");
    bytes[15] = static_cast<std::uint8_t>(revision);
    put(bytes, 16, rsdt, 4);
    fix_sum(bytes, 8, 20);
    if (revision >= 2) {
        put(bytes, 20, 36, 4);
        put(bytes, 24, xsdt, 8);
        fix_sum(bytes, 32, 36);
    }
    return bytes;
}

inline Bytes lapic(std::uint8_t id, std::uint32_t flags) {
    Bytes e{0, 8, id, id};
    put(e, 4, flags, 4);
    return e;
}
inline Bytes x2apic(std::uint32_t id, std::uint32_t flags) {
    Bytes e{9, 16, 0, 0};
    put(e, 4, id, 4);
    put(e, 8, flags, 4);
    put(e, 12, id, 4);
    return e;
}
inline Bytes ioapic(std::uint8_t id, std::uint32_t address, std::uint32_t gsi) {
    Bytes e{1, 12, id, 0};
    put(e, 4, address, 4);
    put(e, 8, gsi, 4);
    return e;
}
inline Bytes source_override(std::uint8_t irq, std::uint32_t gsi, std::uint16_t flags) {
    Bytes e{2, 10, 0, irq};
    put(e, 4, gsi, 4);
    put(e, 8, flags, 2);
    return e;
}
inline Bytes madt(const std::vector<Bytes>& entries, std::uint32_t flags = 1) {
    Bytes body;
    put(body, 0, 0xfee0'0000, 4);
    put(body, 4, flags, 4);
    for (const Bytes& e : entries) append(body, e);
    return table("APIC", body);
}

inline void put_generic_address(Bytes& fadt, std::size_t offset, std::uint8_t space, std::uint64_t address) {
    put(fadt, offset, space, 1);
    put(fadt, offset + 4, address, 8);
}
// An ACPI 2+ FADT with what a PC has; offsets by ACPI 6.4, table 5.9.
inline Bytes fadt(std::uint32_t dsdt) {
    Bytes t(244);
    put_text(t, 0, "FACP");
    put(t, 4, t.size(), 4);
    put(t, 40, dsdt, 4);
    put(t, 48, 0xb2, 4);    // SMI_CMD
    put(t, 52, 0xf1, 1);    // ACPI_ENABLE
    put(t, 64, 0xb004, 4);  // PM1a_CNT_BLK
    put(t, 76, 0xb008, 4);  // PM_TMR_BLK
    put(t, 91, 4, 1);       // PM_TMR_LEN
    put(t, 108, 0x32, 1);   // CENTURY
    put(t, 112, 1u << 10, 4);
    put_generic_address(t, 116, 1, 0xcf9);
    put(t, 128, 6, 1);
    fix_sum(t, 9, t.size());
    return t;
}
inline Bytes edited(Bytes t, std::size_t offset, std::uint64_t value, std::size_t size) {
    put(t, offset, value, size);
    fix_sum(t, 9, t.size());
    return t;
}
// Name (\_S5, Package () {5, 6, 0, 0}) amid other terms, the name once in a string as well.
const Bytes s5_aml{0x0d, '_',  'S', '5', '_', 0,   0x08, '_',  'S',  '4',  '_',  0x12, 0x04, 0x02, 0x00,
                   0x00, 0x08, '_', 'S', '5', '_', 0x12, 0x08, 0x04, 0x0a, 0x05, 0x0a, 0x06, 0x00, 0x00};

// Each mapping is valid until the next one: the one before is freed, so that a stale use is found.
class FakeMemory {
  public:
    void place(std::uint64_t address, Bytes bytes) { memory_[address] = std::move(bytes); }
    std::span<const std::byte> map(HostPhys address, std::uint64_t size) {
        ++maps;
        current_.reset();
        auto at = memory_.upper_bound(address.value);
        if (at == memory_.begin()) return {};
        --at;
        const std::uint64_t offset = address.value - at->first;
        if (offset > at->second.size() || size > at->second.size() - offset) return {};
        current_ = std::make_unique<std::byte[]>(size);
        std::memcpy(current_.get(), at->second.data() + offset, size);
        return {current_.get(), size};
    }
    std::size_t maps{};

  private:
    std::map<std::uint64_t, Bytes> memory_;
    std::unique_ptr<std::byte[]> current_;
};

}  // namespace
}  // namespace bulkhead::drivers::acpi
