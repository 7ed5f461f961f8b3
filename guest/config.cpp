// SPDX-License-Identifier: Apache-2.0
#include "guest/config.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "guest/cpuid_table.hpp"
#include "lib/address.hpp"

// The format is described in docs/guests.conf.md.
namespace bulkhead::guest {

using namespace std::string_view_literals;

namespace {

constexpr std::uint64_t linux_minimum = 32 * mib;
constexpr std::uint64_t memory_maximum = 1024 * gib;
constexpr std::size_t longest_name = 31;
constexpr std::size_t longest_file = 127;
constexpr std::size_t longest_cmdline = 2047;  // Linux takes 2048 with the final NUL

constexpr std::uint64_t longest_boot_menu = 60;  // seconds

// The order is that of `keys`.
enum class Key : std::uint8_t {
    memory,
    vcpus,
    loader,
    kernel,
    initrd,
    cmdline,
    console,
    cpus,
    paravirt,
    apic_virtualization,
    serial_pace,
    module,
    fw_cfg,
    debug_exit,
    debug_console,
    test_device,
    cpuid_hide,
    firmware,
    vgabios,
    option_rom,
    floppy,
    boot_menu,
    boot_order,
    disk,
    cdrom,
    disk_memory,
    count
};
constexpr std::string_view keys[] = {
    "memory",   "vcpus",       "loader", "kernel", "initrd",     "cmdline",       "console",    "cpus",
    "paravirt", "apic-virtualization", "serial-pace", "module", "fw-cfg", "debug-exit", "debug-console", "test-device",
    "cpuid-hide", "firmware", "vgabios", "option-rom", "floppy", "boot-menu", "boot-order",
    "disk", "cdrom", "disk-memory"};
static_assert(std::size(keys) == static_cast<std::size_t>(Key::count));

constexpr bool may_be_repeated(Key key) { return key == Key::module || key == Key::disk || key == Key::cdrom; }

// The order is that of `Loader`; what a guest of this kind is started from.
struct LoaderRow {
    std::string_view name;
    bool initrd{}, cmdline{}, modules{};
    bool firmware{};  // instead of a kernel
    bool bios{};      // the firmware knows option ROMs of a BIOS, and floppies
};
constexpr LoaderRow loaders[] = {
    {"linux", true, true, false}, {"flat", false, false, false}, {"multiboot", false, true, true},
    {"pvh", true, true, true},    {"bios", false, false, false, true, true}, {"uefi", false, false, false, true},
};
constexpr const LoaderRow& row_of(Loader loader) {
    return loaders[static_cast<std::size_t>(loader)];
}
static_assert(row_of(Loader::uefi).name == "uefi"sv && std::size(loaders) == 6);

bool is_blank(char c) {
    return c == ' ' || c == '\t';
}
bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
bool is_name_character(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-';
}

std::string_view trim(std::string_view text) {
    while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
    while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
    return text;
}

// std::string_view's own substr would need the part of the library that throws.
std::string_view slice(std::string_view text, std::size_t from, std::size_t length = ~std::size_t{0}) {
    from = std::min(from, text.size());
    return {text.data() + from, std::min(length, text.size() - from)};
}

std::size_t position(std::string_view text, char c) {
    return std::ranges::find(text, c) - text.begin();
}

// A comment starts with a # at the start of the line or after a blank.
std::string_view without_comment(std::string_view text) {
    for (std::size_t i = 0; i < text.size(); ++i)
        if (text[i] == '#' && (i == 0 || is_blank(text[i - 1]))) return trim(slice(text, 0, i));
    return text;
}

// Text up to `separator`, which is removed with it.
std::string_view take_until(std::string_view& text, char separator) {
    const std::size_t end = position(text, separator);
    const std::string_view taken = slice(text, 0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    return taken;
}

std::optional<std::uint64_t> parse_number(std::string_view text) {
    if (text.empty()) return std::nullopt;
    std::uint64_t value = 0;
    for (const char c : text) {
        if (!is_digit(c)) return std::nullopt;
        if (__builtin_mul_overflow(value, 10u, &value) || __builtin_add_overflow(value, c - '0', &value))
            return std::nullopt;
    }
    return value;
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
    if (text.empty()) return std::nullopt;
    const auto number = parse_number(slice(text, 0, text.size() - 1));
    if (!number || *number > memory_maximum) return std::nullopt;
    switch (text.back()) {
        case 'K':
            return *number * kib;
        case 'M':
            return *number * mib;
        case 'G':
            return *number * gib;
        default:
            return std::nullopt;
    }
}

std::optional<std::uint64_t> parse_cpu_list(std::string_view text) {
    std::uint64_t mask = 0;
    if (text.empty() || text.back() == ',') return std::nullopt;
    while (!text.empty()) {
        std::string_view range = trim(take_until(text, ','));
        const bool single = position(range, '-') == range.size();
        const auto first = parse_number(trim(take_until(range, '-')));
        const auto last = single ? first : parse_number(trim(range));
        if (!first || !last || *first > *last || *last > 63) return std::nullopt;
        mask |= ~0ull >> (63 - (*last - *first)) << *first;
    }
    return mask;
}

class Parser {
  public:
    bool run(std::string_view text);
    const Config& config() const { return config_; }
    const ConfigError& error() const { return error_; }

  private:
    bool check_characters(std::string_view text);
    bool parse_line(std::string_view text);
    bool start_section(std::string_view text);
    bool finish_section();
    bool key_value(std::string_view text);
    bool apply(Key key, std::string_view value);
    bool set_memory(std::string_view value);
    bool set_vcpus(std::string_view value);
    bool set_loader(std::string_view value);
    bool set_file(Key key, std::string_view value, std::string_view& to);
    bool add_drive(Key key, DriveKind kind, std::string_view value);
    bool set_disk_memory(std::string_view value);
    bool add_module(std::string_view value);
    bool check_loader_of(const GuestConfig& guest);
    bool set_console(std::string_view value);
    bool set_cpus(std::string_view value);
    bool set_cpuid_hide(std::string_view value);
    bool set_boot_menu(std::string_view value);
    bool set_boot_order(std::string_view value);
    template <class T>
    bool choose(Key key, std::string_view value, std::pair<std::string_view, T> a, std::pair<std::string_view, T> b,
                T& to);
    bool choose_switch(Key key, std::string_view value, bool& to) {
        return choose<bool>(key, value, {"yes", true}, {"no", false}, to);
    }
    void number_consoles();

    unsigned& line_of(Key key) { return lines_[static_cast<std::size_t>(key)]; }
    template <class... Args>
    bool fail(std::string_view format, const Args&... args) {
        return fail_at(line_, format, args...);
    }
    template <class... Args>
    bool fail_at(unsigned line, std::string_view format, const Args&... args);
    // Adds what was found, cut if long.
    template <class... Args>
    bool fail_found(std::string_view found, std::string_view format, const Args&... args);

    Config config_;
    ConfigError error_;
    GuestConfig* guest_{};
    unsigned line_{};
    std::array<unsigned, static_cast<std::size_t>(Key::count)> lines_{};  // of each key in this section; 0: not given
};

template <class... Args>
bool Parser::fail_at(unsigned line, std::string_view format, const Args&... args) {
    error_.line = line;
    TextBuffer buffer{std::span{error_.text}.first(error_.text.size() - 1)};
    print(buffer, format, args...);
    return false;
}

template <class... Args>
bool Parser::fail_found(std::string_view found, std::string_view format, const Args&... args) {
    constexpr std::size_t longest = 40;
    const bool cut = found.size() > longest;
    error_.line = line_;
    TextBuffer buffer{std::span{error_.text}.first(error_.text.size() - 1)};
    print(buffer, format, args...);
    print(buffer, ", found '{}{}'", slice(found, 0, longest), cut ? "..."sv : ""sv);
    return false;
}

bool Parser::run(std::string_view text) {
    if (!check_characters(text)) return false;
    while (!text.empty()) {
        ++line_;
        std::string_view line = take_until(text, '\n');
        if (line.ends_with('\r')) line.remove_suffix(1);
        if (!parse_line(trim(line))) return false;
    }
    if (!finish_section()) return false;
    if (config_.count == 0) return fail("expected at least one guest: a [name] section with memory and kernel");
    number_consoles();
    return true;
}

bool Parser::check_characters(std::string_view text) {
    unsigned line = 1;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto byte = static_cast<std::uint8_t>(text[i]);
        const bool line_end = byte == '\n' || (byte == '\r' && i + 1 < text.size() && text[i + 1] == '\n');
        if (!line_end && byte != '\t' && (byte < 0x20 || byte > 0x7e))
            return fail_at(line, "expected printable ASCII, found the byte {:02x} hexadecimal", byte);
        line += byte == '\n';
    }
    return true;
}

bool Parser::parse_line(std::string_view text) {
    if (text.empty() || text.front() == '#') return true;
    return text.front() == '[' ? start_section(without_comment(text)) : key_value(text);
}

bool Parser::start_section(std::string_view text) {
    if (!finish_section()) return false;
    if (text.back() != ']') return fail("expected ']' after the guest's name");
    const std::string_view name = trim(slice(text, 1, text.size() - 2));
    if (name.empty() || name.size() > longest_name || !std::ranges::all_of(name, is_name_character))
        return fail_found(name, "expected a name of 1 to {} letters, digits, '-' or '_'", longest_name);
    if (name == "bulkhead") return fail("expected another name: 'bulkhead' is the hypervisor's own");
    for (std::size_t i = 0; i < config_.count; ++i)
        if (config_.guests[i].name == name)
            return fail("expected a new name: '{}' is the guest of line {}", name, config_.guests[i].line);
    if (config_.count == max_guests) return fail("expected at most {} guests", max_guests);
    guest_ = &config_.guests[config_.count++];
    guest_->name = name;
    guest_->line = line_;
    lines_ = {};
    return true;
}

// What can be checked only when all keys of a section are known.
bool Parser::finish_section() {
    if (guest_ == nullptr) return true;
    GuestConfig& guest = *std::exchange(guest_, nullptr);
    for (const Key key : {Key::memory, row_of(guest.loader).firmware ? Key::firmware : Key::kernel})
        if (line_of(key) == 0)
            return fail_at(guest.line, "expected '{} =' in the section of '{}'", keys[static_cast<std::size_t>(key)],
                           guest.name);
    if (!check_loader_of(guest)) return false;
    if (line_of(Key::paravirt) == 0)
        guest.paravirt = guest.loader == Loader::linux ? Paravirt::kvm : Paravirt::none;
    return true;
}

bool Parser::check_loader_of(const GuestConfig& guest) {
    if (guest.loader == Loader::linux && guest.memory < linux_minimum)
        return fail_at(line_of(Key::memory), "expected at least {}M of memory for 'loader = linux'",
                       linux_minimum / mib);
    const LoaderRow& row = row_of(guest.loader);
    const std::pair<Key, bool> takes[] = {{Key::kernel, !row.firmware},   {Key::initrd, row.initrd},
                                          {Key::cmdline, row.cmdline},    {Key::module, row.modules},
                                          {Key::firmware, row.firmware},  {Key::vgabios, row.bios},
                                          {Key::option_rom, row.bios},    {Key::floppy, row.bios},
                                          {Key::boot_menu, row.bios},     {Key::boot_order, row.bios}};
    for (const auto& [key, taken] : takes)
        if (!taken && line_of(key) != 0)
            return fail_at(line_of(key), "expected no '{}' with 'loader = {}': such a guest is given none",
                           keys[static_cast<std::size_t>(key)], row.name);
    return true;
}

bool Parser::key_value(std::string_view text) {
    if (guest_ == nullptr) return fail_found(text, "expected a [name] section before the first key");
    const std::size_t equals = position(text, '=');
    if (equals == text.size()) return fail_found(text, "expected 'key = value'");
    const std::string_view name = trim(slice(text, 0, equals));
    std::string_view value = trim(slice(text, equals + 1));
    const auto found = std::ranges::find(keys, name);
    if (found == std::end(keys)) return fail_found(name, "expected a key of docs/guests.conf.md");
    const auto key = static_cast<Key>(found - std::begin(keys));
    if (line_of(key) != 0 && !may_be_repeated(key))
        return fail("expected '{}' once, it is in line {} already", name, line_of(key));
    line_of(key) = line_;
    // A kernel's command line and a module's string may contain a # that stands alone.
    if (key != Key::cmdline && key != Key::module) value = without_comment(value);
    if (value.empty() && key != Key::cmdline) return fail("expected a value after '{} ='", name);
    return apply(key, value);
}

bool Parser::apply(Key key, std::string_view value) {
    GuestConfig& guest = *guest_;
    switch (key) {
        case Key::memory:
            return set_memory(value);
        case Key::vcpus:
            return set_vcpus(value);
        case Key::loader:
            return set_loader(value);
        case Key::kernel:
            return set_file(key, value, guest.kernel);
        case Key::initrd:
            return set_file(key, value, guest.initrd);
        case Key::firmware:
            return set_file(key, value, guest.firmware);
        case Key::vgabios:
            return set_file(key, value, guest.vgabios);
        case Key::option_rom:
            return set_file(key, value, guest.option_rom);
        case Key::floppy:
            return set_file(key, value, guest.floppy);
        case Key::boot_menu:
            return set_boot_menu(value);
        case Key::boot_order:
            return set_boot_order(value);
        case Key::disk:
            return add_drive(key, DriveKind::disk, value);
        case Key::cdrom:
            return add_drive(key, DriveKind::cdrom, value);
        case Key::disk_memory:
            return set_disk_memory(value);
        case Key::module:
            return add_module(value);
        case Key::cmdline:
            guest.cmdline = value;
            return value.size() <= longest_cmdline ||
                   fail("expected a command line of at most {} characters, found {}", longest_cmdline, value.size());
        case Key::console:
            return set_console(value);
        case Key::cpus:
            return set_cpus(value);
        case Key::paravirt:
            return choose<Paravirt>(key, value, {"none", Paravirt::none}, {"kvm", Paravirt::kvm}, guest.paravirt);
        case Key::apic_virtualization:
            return choose_switch(key, value, guest.apic_virtualization);
        case Key::serial_pace:
            return choose_switch(key, value, guest.serial_pace);
        case Key::fw_cfg:
            return choose_switch(key, value, guest.fw_cfg);
        case Key::debug_exit:
            return choose_switch(key, value, guest.debug_exit);
        case Key::debug_console:
            return choose_switch(key, value, guest.debug_console);
        case Key::test_device:
            return choose_switch(key, value, guest.test_device);
        case Key::cpuid_hide:
            return set_cpuid_hide(value);
        case Key::count:
            break;
    }
    return false;
}

bool Parser::set_memory(std::string_view value) {
    const auto size = parse_size(value);
    if (!size || *size > memory_maximum)
        return fail_found(value, "expected a size such as 256M or 2G, at most {}G", memory_maximum / gib);
    if (*size == 0 || *size % large_page_size != 0) return fail_found(value, "expected a multiple of 2M");
    guest_->memory = *size;
    return true;
}

bool Parser::set_vcpus(std::string_view value) {
    const auto number = parse_number(value);
    if (!number || *number == 0 || *number > max_vcpus)
        return fail_found(value, "expected a number of vCPUs from 1 to {}", max_vcpus);
    guest_->vcpus = static_cast<unsigned>(*number);
    return true;
}

bool Parser::set_loader(std::string_view value) {
    const auto row = std::ranges::find(loaders, value, &LoaderRow::name);
    if (row == std::end(loaders))
        return fail_found(value, "expected 'linux', 'flat', 'multiboot', 'pvh', 'bios' or 'uefi' after 'loader ='");
    guest_->loader = static_cast<Loader>(row - std::begin(loaders));
    return true;
}

bool Parser::add_module(std::string_view value) {
    if (guest_->module_count == max_modules) return fail("expected at most {} modules", max_modules);
    ModuleConfig& module = guest_->modules[guest_->module_count++];
    const std::size_t blank = std::ranges::find_if(value, is_blank) - value.begin();
    module.string = trim(slice(value, blank));
    if (module.string.size() > longest_cmdline)
        return fail("expected a string of at most {} characters, found {}", longest_cmdline, module.string.size());
    return set_file(Key::module, slice(value, 0, blank), module.file);
}

// Where it is on the cables, the order of the lines says.
bool Parser::add_drive(Key key, DriveKind kind, std::string_view value) {
    if (guest_->drive_count == max_drives)
        return fail("expected at most {} drives, 'disk' and 'cdrom' together", max_drives);
    DriveConfig& drive = guest_->drives[guest_->drive_count++];
    drive.kind = kind;
    return set_file(key, value, drive.file);
}

bool Parser::set_disk_memory(std::string_view value) {
    const auto size = value == "0" ? std::optional<std::uint64_t>{0} : parse_size(value);
    if (!size || *size > memory_maximum || *size % large_page_size != 0)
        return fail_found(value, "expected a size such as 16M, a multiple of 2M, or 0");
    guest_->disk_memory = *size;
    return true;
}

bool Parser::set_file(Key key, std::string_view value, std::string_view& to) {
    const std::string_view name = keys[static_cast<std::size_t>(key)];
    if (value.size() > longest_file)
        return fail("expected a file of at most {} characters after '{} =', found {}", longest_file, name,
                    value.size());
    if (std::ranges::any_of(value, is_blank))
        return fail_found(value, "expected one file name without blanks after '{} ='", name);
    to = value;
    return true;
}

bool Parser::set_console(std::string_view value) {
    const auto number = parse_number(value);
    if (!number || *number < 1 || *number > 9) return fail_found(value, "expected a digit from 1 to 9");
    for (const GuestConfig& other : config_.guests)
        if (other.console == *number)
            return fail("expected another digit: {} is the console of '{}'", *number, other.name);
    guest_->console = static_cast<unsigned>(*number);
    return true;
}

bool Parser::set_cpus(std::string_view value) {
    const auto mask = parse_cpu_list(value);
    if (!mask) return fail_found(value, "expected CPU numbers from 0 to 63 such as 0,2-3");
    guest_->cpus = *mask;
    return true;
}

bool Parser::set_cpuid_hide(std::string_view value) {
    guest_->cpuid_hide = value;
    while (!value.empty()) {
        const std::string_view name = trim(take_until(value, ' '));
        value = trim(value);
        if (cpuid_table::find_feature(name) == nullptr)
            return fail_found(name, "expected names of features, those of docs/machine.md, with blanks between them");
    }
    return true;
}

bool Parser::set_boot_menu(std::string_view value) {
    const auto seconds = parse_number(value);
    if (!seconds || *seconds > longest_boot_menu)
        return fail_found(value, "expected a number of seconds from 0 to {}", longest_boot_menu);
    guest_->boot_menu = static_cast<unsigned>(*seconds);
    return true;
}

bool Parser::set_boot_order(std::string_view value) {
    constexpr std::string_view names[] = {"floppy", "disk", "cdrom"};
    auto& order = guest_->boot_order;
    order = {};
    for (std::size_t place = 0; !value.empty(); ++place) {
        const std::string_view name = trim(take_until(value, ' '));
        value = trim(value);
        const auto found = std::ranges::find(names, name);
        const auto device = static_cast<BootDevice>(1 + (found - std::begin(names)));
        if (found == std::end(names) || place == order.size() || std::ranges::find(order, device) != order.end())
            return fail_found(name,
                              "expected 'floppy', 'disk' and 'cdrom', each at most once, with blanks between them");
        order[place] = device;
    }
    return true;
}

template <class T>
bool Parser::choose(Key key, std::string_view value, std::pair<std::string_view, T> a, std::pair<std::string_view, T> b,
                    T& to) {
    if (value != a.first && value != b.first)
        return fail_found(value, "expected '{}' or '{}' after '{} ='", a.first, b.first,
                          keys[static_cast<std::size_t>(key)]);
    to = value == a.first ? a.second : b.second;
    return true;
}

// Guests that ask for no digit get those that are left, in order.
void Parser::number_consoles() {
    unsigned next = 1;
    const auto taken = [&](unsigned digit) {
        return std::ranges::any_of(config_.guests, [&](const GuestConfig& guest) { return guest.console == digit; });
    };
    for (std::size_t i = 0; i < config_.count; ++i) {
        if (config_.guests[i].console != 0) continue;
        while (taken(next)) ++next;
        config_.guests[i].console = next;
    }
}

}  // namespace

std::string_view name_of(Loader loader) {
    return row_of(loader).name;
}

std::expected<Config, ConfigError> parse_config(std::string_view text) {
    Parser parser;
    if (!parser.run(text)) return std::unexpected(parser.error());
    return parser.config();
}

}  // namespace bulkhead::guest
