// SPDX-License-Identifier: Apache-2.0
#include "drivers/acpi.hpp"

#include <algorithm>

namespace bulkhead::drivers::acpi {
namespace {

using Bytes = std::span<const std::byte>;

constexpr std::uint64_t header_size = 36;
// Far more than any real table; a length beyond it is a lie.
constexpr std::uint64_t max_table_size = 4 * mib;

// Little-endian; fields that lie beyond the end read as zero, which is how a shorter, older table spells absence.
template <class T>
T field(Bytes bytes, std::size_t offset) {
    if (bytes.size() < sizeof(T) || offset > bytes.size() - sizeof(T)) return 0;
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) value |= std::to_integer<std::uint64_t>(bytes[offset + i]) << (8 * i);
    return static_cast<T>(value);
}
std::uint8_t u8(Bytes bytes, std::size_t offset) {
    return field<std::uint8_t>(bytes, offset);
}
std::uint16_t u16(Bytes bytes, std::size_t offset) {
    return field<std::uint16_t>(bytes, offset);
}
std::uint32_t u32(Bytes bytes, std::size_t offset) {
    return field<std::uint32_t>(bytes, offset);
}
std::uint64_t u64(Bytes bytes, std::size_t offset) {
    return field<std::uint64_t>(bytes, offset);
}

bool has_text(Bytes bytes, std::size_t offset, std::string_view text) {
    if (bytes.size() < text.size() || offset > bytes.size() - text.size()) return false;
    return std::ranges::equal(bytes.subspan(offset, text.size()), text,
                              [](std::byte b, char c) { return std::to_integer<char>(b) == c; });
}

bool sums_to_zero(Bytes bytes) {
    unsigned sum = 0;
    for (const std::byte b : bytes) sum += std::to_integer<unsigned>(b);
    return (sum & 0xff) == 0;
}

// An empty span unless the whole table is there and right. Readable until the next one is asked for.
Bytes map_table(MapPhysical map, HostPhys address, std::string_view signature) {
    if (address.value == 0) return {};
    const Bytes header = map(address, header_size);
    if (header.size() < header_size || !has_text(header, 0, signature)) return {};
    const std::uint32_t length = u32(header, 4);
    if (length < header_size || length > max_table_size) return {};
    const Bytes table = map(address, length);
    if (table.size() < length) return {};
    const Bytes exact = table.first(length);
    return sums_to_zero(exact) ? exact : Bytes{};
}

// ---- the root

// XSDT or RSDT: a header, then 64- or 32-bit addresses.
struct Root {
    HostPhys address;
    std::size_t count{};
    std::size_t entry_size{};
};

std::expected<Root, Error> find_root(Bytes rsdp, MapPhysical map) {
    constexpr std::size_t v1_size = 20, v2_size = 36;
    if (rsdp.size() < v1_size || !has_text(rsdp, 0, "RSD PTR ") || !sums_to_zero(rsdp.first(v1_size)))
        return std::unexpected(Error::bad_rsdp);

    // A second version that is damaged still has a good first one inside.
    if (u8(rsdp, 15) >= 2 && rsdp.size() >= v2_size && sums_to_zero(rsdp.first(v2_size))) {
        const HostPhys address{u64(rsdp, 24)};
        if (const Bytes xsdt = map_table(map, address, "XSDT"); !xsdt.empty())
            return Root{address, (xsdt.size() - header_size) / 8, 8};
    }
    const HostPhys address{u32(rsdp, 16)};
    if (const Bytes rsdt = map_table(map, address, "RSDT"); !rsdt.empty())
        return Root{address, (rsdt.size() - header_size) / 4, 4};
    return std::unexpected(Error::bad_root);
}

// The first good table of that name.
Bytes find_table(const Root& root, MapPhysical map, std::string_view signature) {
    for (std::size_t i = 0; i < root.count; ++i) {
        const Bytes entry = map(root.address + header_size + i * root.entry_size, root.entry_size);
        if (entry.size() < root.entry_size) continue;
        const HostPhys address{root.entry_size == 8 ? u64(entry, 0) : u32(entry, 0)};
        if (const Bytes table = map_table(map, address, signature); !table.empty()) return table;
    }
    return {};
}

// ---- MADT (ACPI 6.4, 5.2.12)

enum MadtType : std::uint8_t {
    local_apic = 0,
    io_apic = 1,
    interrupt_source_override = 2,
    local_apic_address_override = 5,
    local_x2apic = 9,
};

constexpr std::size_t madt_entries = 44;

void add_processor(Platform& platform, std::uint32_t apic_id, std::uint32_t flags) {
    constexpr std::uint32_t enabled = 1u << 0;
    if ((flags & enabled) == 0) return;
    // One processor may have an entry of either type.
    if (std::ranges::find(platform.processors(), apic_id) != platform.processors().end()) return;
    if (platform.processor_count == max_processors) {
        ++platform.processors_left_out;
        return;
    }
    platform.apic_ids[platform.processor_count++] = apic_id;
}

// The bus's own polarity and trigger are ISA's: active high, edge.
void add_override(Platform& platform, Bytes entry) {
    constexpr std::uint16_t polarity_mask = 3, active_low = 3, trigger_mask = 3 << 2, level = 3 << 2;
    const std::uint8_t irq = u8(entry, 3);
    const std::uint16_t flags = u16(entry, 8);
    if (u8(entry, 2) != 0 || irq >= isa_irqs) return;
    platform.isa_routes[irq] = {
        .gsi = u32(entry, 4),
        .trigger = (flags & trigger_mask) == level ? isa::apic::TriggerMode::level : isa::apic::TriggerMode::edge,
        .polarity = (flags & polarity_mask) == active_low ? Polarity::active_low : Polarity::active_high};
}

// At least its own two bytes of header, so that the walk moves on.
constexpr std::size_t madt_entry_size(std::uint8_t type) {
    switch (type) {
        case local_apic:
            return 8;
        case io_apic:
            return 12;
        case interrupt_source_override:
            return 10;
        case local_apic_address_override:
            return 12;
        case local_x2apic:
            return 16;
        default:
            return 2;
    }
}

void read_madt_entry(Platform& platform, Bytes entry) {
    switch (u8(entry, 0)) {
        case local_apic:
            if (u8(entry, 3) != 0xff) add_processor(platform, u8(entry, 3), u32(entry, 4));
            break;
        case local_x2apic:
            if (u32(entry, 4) != 0xffff'ffff) add_processor(platform, u32(entry, 4), u32(entry, 8));
            break;
        case io_apic:
            if (platform.io_apic_count < max_io_apics)
                platform.io_apics[platform.io_apic_count++] = {u8(entry, 2), HostPhys{u32(entry, 4)}, u32(entry, 8)};
            break;
        case interrupt_source_override:
            add_override(platform, entry);
            break;
        case local_apic_address_override:
            platform.local_apic = HostPhys{u64(entry, 4)};
            break;
        default:
            break;
    }
}

void read_madt(Platform& platform, Bytes madt) {
    constexpr std::uint32_t pcat_compat = 1u << 0;
    platform.local_apic = HostPhys{u32(madt, 36)};
    platform.has_legacy_pics = (u32(madt, 40) & pcat_compat) != 0;
    for (std::size_t irq = 0; irq < isa_irqs; ++irq) platform.isa_routes[irq].gsi = static_cast<std::uint32_t>(irq);

    Bytes rest = madt.subspan(std::min(madt_entries, madt.size()));
    while (!rest.empty()) {
        const std::size_t length = u8(rest, 1);
        if (length > rest.size() || length < madt_entry_size(u8(rest, 0))) {
            platform.madt_truncated = true;
            return;
        }
        read_madt_entry(platform, rest.first(length));
        rest = rest.subspan(length);
    }
}

// ---- FADT (ACPI 6.4, 5.2.9)

// Generic address structure (ACPI 6.4, 5.2.3.2).
struct GenericAddress {
    std::uint8_t space{};
    std::uint64_t address{};
};
constexpr std::size_t generic_address_size = 12;

GenericAddress generic_address(Bytes bytes, std::size_t offset) {
    // One that the table cuts off is absent.
    if (bytes.size() < offset + generic_address_size) return {};
    return {u8(bytes, offset), u64(bytes, offset + 4)};
}

// The extended field where it is given, and else the one of ACPI 1.0. 0 when the register is not at an I/O port.
std::uint16_t port_of(Bytes fadt, std::size_t extended, std::size_t original) {
    const GenericAddress x = generic_address(fadt, extended);
    const bool is_given = x.address != 0;
    if (is_given && x.space != static_cast<std::uint8_t>(AddressSpace::io)) return 0;
    const std::uint64_t port = is_given ? x.address : u32(fadt, original);
    return port <= 0xffff ? static_cast<std::uint16_t>(port) : 0;
}

std::optional<PmTimerBlock> pm_timer_of(Bytes fadt) {
    constexpr std::uint32_t tmr_val_ext = 1u << 8;
    constexpr std::uint8_t timer_length = 4;
    const std::uint16_t port = port_of(fadt, 208, 76);
    if (port == 0 || u8(fadt, 91) != timer_length) return std::nullopt;
    return PmTimerBlock{port, (u32(fadt, 112) & tmr_val_ext) != 0};
}

std::optional<ResetRegister> reset_register_of(Bytes fadt) {
    constexpr std::uint32_t reset_reg_sup = 1u << 10;
    const GenericAddress reg = generic_address(fadt, 116);
    if ((u32(fadt, 112) & reset_reg_sup) == 0 || fadt.size() < 129 || reg.address == 0) return std::nullopt;
    if (reg.space > static_cast<std::uint8_t>(AddressSpace::pci_configuration)) return std::nullopt;
    return ResetRegister{static_cast<AddressSpace>(reg.space), reg.address, u8(fadt, 128)};
}

// ---- \_S5 in the DSDT

// A reader of AML that never leaves its bytes.
class Aml {
  public:
    explicit Aml(Bytes bytes) : bytes_(bytes) {}

    std::optional<std::uint8_t> byte() {
        if (bytes_.empty()) return std::nullopt;
        const std::uint8_t value = u8(bytes_, 0);
        bytes_ = bytes_.subspan(1);
        return value;
    }

    // PkgLength (ACPI 6.4, 20.2.4): it counts its own bytes. The reader is then confined to the package.
    bool enter_package() {
        const Bytes start = bytes_;
        const auto lead = byte();
        if (!lead) return false;
        const unsigned following = *lead >> 6;
        std::size_t length = following == 0 ? *lead & 0x3fu : *lead & 0xfu;
        for (unsigned i = 0; i < following; ++i) {
            const auto next = byte();
            if (!next) return false;
            length |= std::size_t{*next} << (4 + 8 * i);
        }
        if (length < 1u + following || length > start.size()) return false;
        bytes_ = start.first(length).subspan(1u + following);
        return true;
    }

    // An integer constant (ACPI 6.4, 20.2.3); other terms are nothing.
    std::optional<std::uint32_t> integer() {
        const auto op = byte();
        if (!op) return std::nullopt;
        switch (*op) {
            case 0x00:
                return 0;
            case 0x01:
                return 1;
            case 0x0a:
                return little_endian(1);
            case 0x0b:
                return little_endian(2);
            case 0x0c:
                return little_endian(4);
            default:
                return std::nullopt;
        }
    }

  private:
    std::optional<std::uint32_t> little_endian(unsigned count) {
        std::uint32_t value = 0;
        for (unsigned i = 0; i < count; ++i) {
            const auto next = byte();
            if (!next) return std::nullopt;
            value |= std::uint32_t{*next} << (8 * i);
        }
        return value;
    }

    Bytes bytes_;
};

struct SleepTypes {
    std::uint8_t a{};
    std::uint8_t b{};
};

// After the name: DefPackage, whose first two elements are the values for PM1a and PM1b; one that has a single element
// holds both in its two low bytes.
std::optional<SleepTypes> sleep_package(Bytes bytes) {
    constexpr std::uint8_t package_op = 0x12;
    constexpr std::uint32_t slp_typ = 7;
    Aml aml(bytes);
    if (aml.byte() != package_op || !aml.enter_package()) return std::nullopt;
    const auto count = aml.byte();
    if (!count || *count == 0) return std::nullopt;
    const auto a = aml.integer();
    if (!a) return std::nullopt;
    if (*count == 1)
        return SleepTypes{static_cast<std::uint8_t>(*a & slp_typ), static_cast<std::uint8_t>(*a >> 8 & slp_typ)};
    const auto b = aml.integer();
    if (!b) return std::nullopt;
    return SleepTypes{static_cast<std::uint8_t>(*a & slp_typ), static_cast<std::uint8_t>(*b & slp_typ)};
}

// Looks for DefName of _S5_ without parsing what is around it: the same bytes inside other data are ruled out by
// NameOp before and a package after them.
std::optional<SleepTypes> find_s5(Bytes aml) {
    constexpr std::string_view name = "_S5_";
    constexpr std::uint8_t name_op = 0x08, root_char = '\\';
    for (std::size_t at = 1; at + name.size() <= aml.size(); ++at) {
        if (!has_text(aml, at, name)) continue;
        const bool rooted = at >= 2 && u8(aml, at - 1) == root_char && u8(aml, at - 2) == name_op;
        if (u8(aml, at - 1) != name_op && !rooted) continue;
        if (const auto types = sleep_package(aml.subspan(at + name.size()))) return types;
    }
    return std::nullopt;
}

void read_fadt(Platform& platform, Bytes fadt, MapPhysical map) {
    constexpr std::uint32_t hw_reduced_acpi = 1u << 20;
    platform.pm_timer = pm_timer_of(fadt);
    platform.reset = reset_register_of(fadt);
    platform.century_register = u8(fadt, 108);

    const std::uint32_t smi_command = u32(fadt, 48);
    SoftOff off{.pm1a_control = port_of(fadt, 172, 64),
                .pm1b_control = port_of(fadt, 184, 68),
                .smi_command = smi_command <= 0xffff ? static_cast<std::uint16_t>(smi_command) : std::uint16_t{},
                .enable_value = u8(fadt, 52)};
    const std::uint64_t x_dsdt = u64(fadt, 140);
    const HostPhys dsdt_address{x_dsdt != 0 ? x_dsdt : u32(fadt, 40)};
    if (off.pm1a_control == 0 || (u32(fadt, 112) & hw_reduced_acpi) != 0) return;

    // The FADT is not readable any more from here on.
    const Bytes dsdt = map_table(map, dsdt_address, "DSDT");
    if (dsdt.empty()) return;
    if (const auto types = find_s5(dsdt.subspan(header_size))) {
        off.sleep_type_a = types->a;
        off.sleep_type_b = types->b;
        platform.soft_off = off;
    }
}

}  // namespace

std::string_view describe(Error error) {
    switch (error) {
        case Error::bad_rsdp:
            return "the ACPI root pointer is damaged";
        case Error::bad_root:
            return "neither the ACPI XSDT nor the RSDT is readable and intact";
        case Error::no_madt:
            return "there is no intact ACPI MADT, which lists the processors";
        case Error::no_processors:
            return "the ACPI MADT lists no processor that can be used";
    }
    return "unknown";
}

std::expected<Platform, Error> read_platform(std::span<const std::byte> rsdp, MapPhysical map) {
    const auto root = find_root(rsdp, map);
    if (!root) return std::unexpected(root.error());

    Platform platform;
    const Bytes madt = find_table(*root, map, "APIC");
    if (madt.empty()) return std::unexpected(Error::no_madt);
    read_madt(platform, madt);
    if (platform.processor_count == 0) return std::unexpected(Error::no_processors);

    if (const Bytes fadt = find_table(*root, map, "FACP"); !fadt.empty()) read_fadt(platform, fadt, map);
    return platform;
}

}  // namespace bulkhead::drivers::acpi
