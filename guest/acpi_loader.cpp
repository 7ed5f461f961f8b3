// SPDX-License-Identifier: Apache-2.0
#include "guest/acpi_loader.hpp"

#include <algorithm>
#include <cstring>

#include "guest/acpi_format.hpp"

namespace bulkhead::guest {
namespace {

using namespace acpi;

// An entry of the script: the command, then up to two file names of 56 bytes, and numbers behind them.
constexpr std::size_t first_name = 4, name_size = 56, after_one_name = first_name + name_size,
                      after_two_names = after_one_name + name_size;

// A file as if it were memory from address 0 on.
class FileMemory final : public Memory {
  public:
    explicit FileMemory(std::span<std::byte> bytes) : bytes_(bytes) {}
    bool read(GuestPhys from, std::span<std::byte> to) override {
        if (!inside(from, to.size())) return false;
        std::memcpy(to.data(), &bytes_[from.value], to.size());
        return true;
    }
    bool write(GuestPhys to, std::span<const std::byte> from) override {
        if (!inside(to, from.size())) return false;
        std::memcpy(&bytes_[to.value], from.data(), from.size());
        return true;
    }
    bool fill(GuestPhys to, std::uint64_t size, std::byte value) override {
        if (!inside(to, size)) return false;
        std::memset(&bytes_[to.value], static_cast<int>(value), size);
        return true;
    }

  private:
    bool inside(GuestPhys first, std::uint64_t size) const {
        return first.value < bytes_.size() && size <= bytes_.size() - first.value;
    }
    std::span<std::byte> bytes_;
};

template <class T>
void put(std::byte* to, T value) {
    std::memcpy(to, &value, sizeof value);
}

void put_name(std::byte* to, std::string_view name) { std::memcpy(to, name.data(), name.size()); }

}  // namespace

std::expected<void, TableError> AcpiLoader::build(const TableParameters& parameters) {
    tables_ = {};
    script_ = {};
    entries_ = 0;
    FileMemory memory{tables_};
    TableParameters own = parameters;
    own.place = {.tables = GuestPhys{0}, .size = tables_room, .rsdp = GuestPhys{tables_room}};
    const auto places = write_acpi_tables(memory, own);
    if (!places) return std::unexpected{places.error()};
    tables_size_ = places->end.value;
    write_script(*places);
    return {};
}

void AcpiLoader::write_script(const TablePlaces& places) {
    constexpr std::uint32_t facs_alignment = 64, rsdp_alignment = 16;
    allocate(tables_file, facs_alignment, Zone::high);
    allocate(rsdp_file, rsdp_alignment, Zone::f_segment);

    const std::uint64_t fadt = places.fadt.value, rsdt = places.rsdt.value, xsdt = places.xsdt.value;
    add_pointer(tables_file, fadt + offsetof(Fadt, firmware_ctrl), 4);
    add_pointer(tables_file, fadt + offsetof(Fadt, dsdt), 4);
    add_pointer(tables_file, fadt + offsetof(Fadt, x_dsdt), 8);
    for (std::size_t i = 0; i < std::size(Rsdt{}.entries); ++i) {
        add_pointer(tables_file, rsdt + offsetof(Rsdt, entries) + 4 * i, 4);
        add_pointer(tables_file, xsdt + offsetof(Xsdt, entries) + 8 * i, 8);
    }
    add_pointer(rsdp_file, offsetof(Rsdp, rsdt_address), 4);
    add_pointer(rsdp_file, offsetof(Rsdp, xsdt_address), 8);

    constexpr std::uint64_t checksum = offsetof(Header, checksum);
    add_checksum(tables_file, fadt + checksum, fadt, sizeof(Fadt));
    add_checksum(tables_file, rsdt + checksum, rsdt, sizeof(Rsdt));
    add_checksum(tables_file, xsdt + checksum, xsdt, sizeof(Xsdt));
    add_checksum(rsdp_file, offsetof(Rsdp, checksum), 0, offsetof(Rsdp, length));
    add_checksum(rsdp_file, offsetof(Rsdp, extended_checksum), 0, sizeof(Rsdp));
}

std::byte* AcpiLoader::add_entry(Command command) {
    std::byte* const entry = &script_[entries_++ * entry_size];
    put(entry, static_cast<std::uint32_t>(command));
    return entry;
}

void AcpiLoader::allocate(std::string_view file, std::uint32_t alignment, Zone zone) {
    std::byte* const entry = add_entry(Command::allocate);
    put_name(entry + first_name, file);
    put(entry + after_one_name, alignment);
    put(entry + after_one_name + 4, static_cast<std::uint8_t>(zone));
}

void AcpiLoader::add_pointer(std::string_view file, std::uint64_t offset, std::uint8_t size) {
    std::byte* const entry = add_entry(Command::add_pointer);
    put_name(entry + first_name, file);
    put_name(entry + after_one_name, tables_file);
    put(entry + after_two_names, static_cast<std::uint32_t>(offset));
    put(entry + after_two_names + 4, size);
}

void AcpiLoader::add_checksum(std::string_view file, std::uint64_t offset, std::uint64_t start, std::uint64_t length) {
    std::byte* const entry = add_entry(Command::add_checksum);
    put_name(entry + first_name, file);
    put(entry + after_one_name, static_cast<std::uint32_t>(offset));
    put(entry + after_one_name + 4, static_cast<std::uint32_t>(start));
    put(entry + after_one_name + 8, static_cast<std::uint32_t>(length));
}

bool AcpiLoader::add_to(FwCfg& device) const {
    return device.add_file(rsdp_file, std::span{tables_}.subspan(tables_room, rsdp_size)) &&
           device.add_file(tables_file, std::span{tables_}.first(tables_size_)) &&
           device.add_file(script_file, std::span{script_}.first(entries_ * entry_size));
}

}  // namespace bulkhead::guest
