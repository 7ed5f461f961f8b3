// SPDX-License-Identifier: Apache-2.0
// Checks a guests.conf on the build host with the hypervisor's own parser, and that the files it names are there.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string>

#include "guest/config.hpp"

namespace {

using namespace bulkhead;

int complain(const std::string& file, unsigned line, std::string_view text) {
    std::fprintf(stderr, "%s:%u: %.*s\n", file.c_str(), line, static_cast<int>(text.size()), text.data());
    return 1;
}

// A file is looked for beside the configuration, then in the other directory, if one was given.
int check_file(const std::string& config, const std::string& also, const guest::GuestConfig& guest,
               std::string_view name) {
    if (name.empty()) return 0;
    std::error_code error;
    const auto path = std::filesystem::path{config}.parent_path() / name;
    if (std::filesystem::is_regular_file(path, error)) return 0;
    if (!also.empty() && std::filesystem::is_regular_file(std::filesystem::path{also} / name, error)) return 0;
    return complain(config, guest.line,
                    "expected the file " + path.string() + " for guest '" + std::string{guest.name} + "'");
}

void describe(const guest::GuestConfig& guest) {
    std::printf("Ctrl-A %u  %-31.*s %6llu MiB  %s\n", guest.console, static_cast<int>(guest.name.size()),
                guest.name.data(), static_cast<unsigned long long>(guest.memory / mib),
                std::string{guest::name_of(guest.loader)}.c_str());
}

}  // namespace

int main(int argc, char** argv) {
    const bool elsewhere = argc == 4 && std::string_view{argv[1]} == "--also";
    if (argc != 2 && !elsewhere) {
        std::fprintf(stderr,
                     "usage: check-config [--also DIRECTORY] FILE\n"
                     "The files that FILE names are looked for beside it, and in DIRECTORY.\n");
        return 2;
    }
    const std::string file = argv[argc - 1];
    const std::string also = elsewhere ? argv[2] : "";
    std::ifstream stream{file, std::ios::binary};
    const std::string text{std::istreambuf_iterator<char>{stream}, {}};
    if (!stream.is_open() || stream.bad()) {
        std::fprintf(stderr, "%s: cannot be read\n", file.c_str());
        return 2;
    }
    const auto config = guest::parse_config(text);
    if (!config) return complain(file, config.error().line, config.error().message());
    int status = 0;
    for (const guest::GuestConfig& guest : std::span{config->guests}.first(config->count)) {
        describe(guest);
        for (const std::string_view name :
             {guest.kernel, guest.initrd, guest.firmware, guest.vgabios, guest.option_rom, guest.floppy})
            status |= check_file(file, also, guest, name);
        for (const guest::DriveConfig& drive : guest.drive_list()) status |= check_file(file, also, guest, drive.file);
        for (const guest::ModuleConfig& module : guest.module_list())
            status |= check_file(file, also, guest, module.file);
    }
    return status;
}
