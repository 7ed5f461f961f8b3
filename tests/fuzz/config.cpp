// SPDX-License-Identifier: Apache-2.0
// guests.conf: any text, and lines that look like ones of it.
#include "guest/config.hpp"

#include <string>

#include "tests/fuzz/fuzz.hpp"

using namespace bulkhead;
using fuzz::require;

namespace {

constexpr const char* words[] = {"[a]",        "[b]",    "memory",  "vcpus", "loader",   "kernel",     "initrd",
                                 "cmdline",    "module", "console", "cpus",  "paravirt", "linux",      "flat",
                                 "multiboot",  "pvh",    "kvm",     "none",  "64M",      "2G",         "1",
                                 "9",          "0-3",    "on",      "off",   "=",        " = ",        "\n",
                                 "\n",         "#",      "vmlinuz", "\"",    "fw-cfg",   "debug-exit", "serial-pace",
                                 "cpuid-hide", "avx",    "\t",      ",",     "0x200000"};

std::string text_of(fuzz::Input& in) {
    if (in.below(8) == 0) return in.ConsumeRemainingBytesAsString();
    std::string text = in.chance() ? "[a]\nmemory = 64M\nkernel = vmlinuz\n" : "";
    in.repeat(
        [&] {
            if (in.below(8) == 0)
                text += in.ConsumeBytesAsString(3);
            else
                text += words[in.below(std::size(words))];
        },
        80);
    return text;
}

void check_within(std::string_view part, std::string_view text) {
    require(part.empty() || (part.data() >= text.data() && part.data() + part.size() <= text.data() + text.size()),
            "a string points into the text");
}

void check(const guest::Config& config, std::string_view text) {
    require(config.count >= 1 && config.count <= guest::max_guests, "a configuration has guests");
    for (std::size_t i = 0; i < config.count; ++i) {
        const guest::GuestConfig& guest = config.guests[i];
        require(!guest.name.empty() && !guest.kernel.empty(), "a guest has a name and a kernel");
        require(guest.memory != 0 && guest.memory % (2 * mib) == 0, "its memory is whole blocks");
        require(guest.vcpus >= 1 && guest.vcpus <= guest::max_vcpus && guest.cpus != 0, "it has vCPUs and CPUs");
        require(guest.console >= 1 && guest.console <= 9, "its console has a digit");
        require(guest.module_count <= guest::max_modules, "its modules are not too many");
        for (const std::string_view part : {guest.name, guest.kernel, guest.initrd, guest.cmdline})
            check_within(part, text);
        for (std::size_t j = 0; j < i; ++j)
            require(config.guests[j].name != guest.name && config.guests[j].console != guest.console,
                    "names and consoles are taken once");
    }
}

}  // namespace

FUZZ_TARGET(in) {
    const std::string made = text_of(in);
    const std::vector<char> exact(made.begin(), made.end());  // the sanitizer sees what is read beyond it
    const std::string_view text{exact.data(), exact.size()};
    const auto config = guest::parse_config(text);
    if (config) return check(*config, text);
    const auto lines = static_cast<unsigned>(std::ranges::count(text, '\n')) + 1;
    require(config.error().line <= lines, "an error is in a line of the text");
    require(!config.error().message().empty(), "and has a message");
}
