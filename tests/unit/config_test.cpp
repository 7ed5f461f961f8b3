// SPDX-License-Identifier: Apache-2.0
#include "guest/config.hpp"

#include <gtest/gtest.h>

#include <string>

namespace {

using namespace bulkhead;
using guest::Loader;
using guest::Paravirt;

const std::string minimal = "[a]\nmemory = 64M\nkernel = vmlinuz\n";

std::string with(const std::string& lines) {
    return minimal + lines + "\n";
}

guest::Config good(const std::string& text) {
    const auto config = guest::parse_config(text);
    EXPECT_TRUE(config.has_value()) << config.error().line << ": " << config.error().message() << "\nin\n" << text;
    return config.value_or(guest::Config{});
}

struct Bad {
    std::string text;
    unsigned line;
    std::string message;  // a part of it
};

void expect_error(const Bad& bad) {
    const auto config = guest::parse_config(bad.text);
    ASSERT_FALSE(config.has_value()) << bad.text;
    EXPECT_EQ(config.error().line, bad.line) << bad.text << config.error().message();
    EXPECT_NE(config.error().message().find(bad.message), std::string::npos)
        << "said: " << config.error().message() << "\nexpected: " << bad.message;
}

TEST(Config, MinimalGuestGetsTheDefaults) {
    const std::string text = minimal;
    const auto config = good(text);
    ASSERT_EQ(config.count, 1u);
    const auto& guest = config.guests[0];
    EXPECT_EQ(guest.name, "a");
    EXPECT_EQ(guest.memory, 64 * mib);
    EXPECT_EQ(guest.kernel, "vmlinuz");
    EXPECT_EQ(guest.vcpus, 1u);
    EXPECT_EQ(guest.loader, Loader::linux);
    EXPECT_EQ(guest.paravirt, Paravirt::kvm);
    EXPECT_EQ(guest.initrd, "");
    EXPECT_EQ(guest.cmdline, "");
    EXPECT_EQ(guest.console, 1u);
    EXPECT_EQ(guest.cpus, ~0ull);
    EXPECT_FALSE(guest.serial_pace);
    EXPECT_EQ(guest.line, 1u);
}

TEST(Config, EveryKey) {
    const std::string text =
        "# two guests\r\n"
        "\r\n"
        "[debian-1]\t# a comment\r\n"
        "memory=1G\r\n"
        "  vcpus = 1\r\n"
        "loader = linux # another\r\n"
        "kernel = boot/vmlinuz\r\n"
        "initrd = initrd.gz\r\n"
        "cmdline = console=ttyS0 root=/dev/sda1 # quiet\r\n"
        "console = 7\r\n"
        "cpus = 0, 2-4,63\r\n"
        "paravirt = none\r\n"
        "serial-pace = yes\r\n"
        "cpuid-hide = AVX512F  pku # no wide vectors\r\n"
        "\r\n"
        "[Beat_2]\r\n"
        "memory = 4096K\r\n"
        "loader = flat\r\n"
        "kernel = heartbeat.bin";  // no line end
    const auto config = good(text);
    ASSERT_EQ(config.count, 2u);
    const auto& first = config.guests[0];
    EXPECT_EQ(first.name, "debian-1");
    EXPECT_EQ(first.cpuid_hide, "AVX512F  pku");
    EXPECT_EQ(first.memory, 1 * gib);
    EXPECT_EQ(first.kernel, "boot/vmlinuz");
    EXPECT_EQ(first.initrd, "initrd.gz");
    EXPECT_EQ(first.cmdline, "console=ttyS0 root=/dev/sda1 # quiet");
    EXPECT_EQ(first.console, 7u);
    EXPECT_EQ(first.cpus, 0x8000'0000'0000'001dull);
    EXPECT_EQ(first.paravirt, Paravirt::none);
    EXPECT_TRUE(first.serial_pace);
    EXPECT_EQ(first.line, 3u);
    const auto& second = config.guests[1];
    EXPECT_EQ(second.name, "Beat_2");
    EXPECT_EQ(second.memory, 4 * mib);
    EXPECT_EQ(second.loader, Loader::flat);
    EXPECT_EQ(second.paravirt, Paravirt::none);
    EXPECT_EQ(second.console, 1u);
    EXPECT_EQ(second.kernel, "heartbeat.bin");
}

TEST(Config, ConsolesWithoutADigitGetTheFreeOnesInOrder) {
    std::string text;
    const char* digits[] = {"", "console = 2\n", "", "console = 1\n", ""};
    for (int i = 0; i < 5; ++i) text += "[g" + std::to_string(i) + "]\nmemory = 32M\nkernel = k\n" + digits[i];
    const auto config = good(text);
    ASSERT_EQ(config.count, 5u);
    const unsigned expected[] = {3, 2, 4, 1, 5};
    for (int i = 0; i < 5; ++i) EXPECT_EQ(config.guests[i].console, expected[i]) << i;
}

TEST(Config, FullHouse) {
    std::string text;
    for (std::size_t i = 0; i < guest::max_guests; ++i)
        text += "[g" + std::to_string(i) + "]\nmemory = 32M\nkernel = k\n";
    EXPECT_EQ(good(text).count, guest::max_guests);
    expect_error({text + "[more]\n", static_cast<unsigned>(3 * guest::max_guests + 1), "at most 8 guests"});
}

TEST(Config, NothingIsAnError) {
    for (const char* text : {"", "\n", "# nothing\n\n"})
        expect_error({text, text[0] == 0 ? 0u : text[0] == '\n' ? 1u : 2u, "at least one guest"});
}

TEST(Config, Sections) {
    expect_error({"memory = 64M\n", 1, "expected a [name] section before the first key, found 'memory = 64M'"});
    expect_error({"\n[a\n", 2, "']'"});
    expect_error({"[]\n", 1, "name of 1 to 31"});
    expect_error({"[a b]\n", 1, "found 'a b'"});
    expect_error({"[a.b]\n", 1, "found 'a.b'"});
    expect_error({"[" + std::string(32, 'x') + "]\n", 1, "name of 1 to 31"});
    EXPECT_EQ(good("[" + std::string(31, 'x') + "]\nmemory=32M\nkernel=k\n").count, 1u);
    expect_error({"[bulkhead]\n", 1, "hypervisor's own"});
    expect_error({minimal + "[a]\n", 4, "'a' is the guest of line 1"});
    expect_error({"[\n", 1, "']'"});
}

TEST(Config, Keys) {
    expect_error({with("memroy = 1G"), 4, "found 'memroy'"});
    expect_error({with("kernel = other"), 4, "'kernel' once, it is in line 3 already"});
    expect_error({with("kernel"), 4, "'key = value', found 'kernel'"});
    expect_error({with("initrd ="), 4, "a value after 'initrd ='"});
    expect_error({with("initrd = # none"), 4, "a value after 'initrd ='"});
    expect_error({with("= 3"), 4, "found ''"});
    EXPECT_EQ(good(with("initrd = a#b #c")).guests[0].initrd, "a#b");
    EXPECT_EQ(good(with("cmdline =")).guests[0].cmdline, "");
    EXPECT_EQ(good(with("cmdline = a=b # c=d  ")).guests[0].cmdline, "a=b # c=d");
}

TEST(Config, MandatoryKeys) {
    expect_error({"[a]\nkernel = k\n\n[b]\nmemory = 32M\nkernel = k\n", 1, "'memory =' in the section of 'a'"});
    expect_error({minimal + "[b]\nmemory = 32M\n", 4, "'kernel =' in the section of 'b'"});
}

TEST(Config, Memory) {
    const auto text = [](const std::string& memory) { return "[a]\nkernel = k\nmemory = " + memory + "\n"; };
    for (const char* size :
         {"64", "M", "-64M", "64MB", "64m", "0x40M", "6 4M", "99999999999999999999G", "1025G", "18014398509481984K"})
        expect_error({text(size), 3, "expected a size such as 256M or 2G"});
    for (const char* size : {"0M", "65M", "33K", "1M"}) expect_error({text(size), 3, "multiple of 2M"});
    expect_error({text("30M"), 3, "at least 32M of memory for 'loader = linux'"});
    EXPECT_EQ(good(text("32M")).guests[0].memory, 32 * mib);
    EXPECT_EQ(good(text("2M\nloader = flat")).guests[0].memory, 2 * mib);
    EXPECT_EQ(good(text("1024G")).guests[0].memory, 1024 * gib);
    // The size is right for the loader of the end of the section, wherever that is written.
    expect_error({"[a]\nloader = linux\nmemory = 2M\nkernel = k\n\n# end\n", 3, "at least 32M"});
}

TEST(Config, Vcpus) {
    EXPECT_EQ(good(with("vcpus = 1")).guests[0].vcpus, 1u);
    EXPECT_EQ(good(with("vcpus = 16")).guests[0].vcpus, 16u);
    for (const char* number : {"0", "17", "one", "1.0", "-1"})
        expect_error({with(std::string{"vcpus = "} + number), 4, "number of vCPUs from 1 to 16"});
}

TEST(Config, Choices) {
    expect_error({with("loader = elf"), 4,
                  "'linux', 'flat', 'multiboot', 'pvh', 'bios' or 'uefi' after 'loader =', found 'elf'"});
    expect_error({with("paravirt = xen"), 4, "'none' or 'kvm' after 'paravirt =', found 'xen'"});
    expect_error({with("serial-pace = true"), 4, "'yes' or 'no' after 'serial-pace =', found 'true'"});
    expect_error({with("loader = Linux"), 4, "'linux', 'flat'"});
    for (const char* key : {"fw-cfg", "debug-exit", "debug-console", "test-device"})
        expect_error({with(std::string{key} + " = on"), 4, "'yes' or 'no' after '" + std::string{key} + " ='"});
    expect_error({with("cpuid-hide = avx vmx"), 4,
                  "names of features, those of docs/machine.md, with blanks between them, found 'vmx'"});
}

TEST(Config, Consoles) {
    for (const char* digit : {"0", "10", "a", "-1"})
        expect_error({with(std::string{"console = "} + digit), 4, "a digit from 1 to 9"});
    expect_error({with("console = 4\n[b]\nconsole = 4"), 6, "4 is the console of 'a'"});
}

const std::string with_firmware = "[a]\nmemory = 16M\nloader = bios\nfirmware = bios.bin\n";

TEST(Config, Firmware) {
    const std::string text = with_firmware +
                             "vgabios = vga.bin\noption-rom = net.rom\nfloppy = dos.img # a comment\nboot-menu = "
                             "3\nboot-order = cdrom  disk\n";
    const auto config = good(text);
    const auto& guest = config.guests[0];
    EXPECT_EQ(guest.loader, Loader::bios);
    EXPECT_TRUE(guest.has_firmware());
    EXPECT_EQ(guest.firmware, "bios.bin");
    EXPECT_EQ(guest.vgabios, "vga.bin");
    EXPECT_EQ(guest.option_rom, "net.rom");
    EXPECT_EQ(guest.floppy, "dos.img");
    EXPECT_EQ(guest.boot_menu, 3u);
    using enum guest::BootDevice;
    EXPECT_EQ(guest.boot_order, (std::array{cdrom, disk, none}));
    EXPECT_EQ(guest.paravirt, Paravirt::none);
}

TEST(Config, FirmwareDefaults) {
    const auto config = good(with_firmware);
    const auto& guest = config.guests[0];
    EXPECT_EQ(guest.boot_menu, 0u);
    using enum guest::BootDevice;
    EXPECT_EQ(guest.boot_order, (std::array{floppy, disk, cdrom}));
    EXPECT_FALSE(good(minimal).guests[0].has_firmware());
}

TEST(Config, FirmwareErrors) {
    const Bad bad[] = {
        {"[a]\nmemory = 16M\nloader = bios\n", 1, "expected 'firmware =' in the section of 'a'"},
        {with_firmware + "kernel = x\n", 5, "expected no 'kernel' with 'loader = bios'"},
        {with_firmware + "cmdline = x\n", 5, "expected no 'cmdline' with 'loader = bios'"},
        {"[a]\nmemory = 64M\nloader = uefi\nfirmware = x\nfloppy = y\n", 5,
         "expected no 'floppy' with 'loader = uefi'"},
        {"[a]\nmemory = 64M\nloader = uefi\n", 1, "expected 'firmware =' in the section of 'a'"},
        {with("firmware = x"), 4, "expected no 'firmware' with 'loader = linux'"},
        {with("floppy = x"), 4, "expected no 'floppy' with 'loader = linux'"},
        {with("boot-menu = 1"), 4, "expected no 'boot-menu' with 'loader = linux'"},
        {with_firmware + "boot-menu = 61\n", 5, "expected a number of seconds from 0 to 60, found '61'"},
        {with_firmware + "boot-menu = x\n", 5, "expected a number of seconds"},
        {with_firmware + "boot-order = tape\n", 5, "expected 'floppy', 'disk' and 'cdrom'"},
        {with_firmware + "boot-order = disk disk\n", 5, "each at most once"},
        {with_firmware + "boot-order = disk floppy cdrom disk\n", 5, "each at most once"},
        {with_firmware + "floppy = two words\n", 5, "expected one file name without blanks after 'floppy ='"},
    };
    for (const Bad& b : bad) expect_error(b);
}

TEST(Config, Drives) {
    const std::string text = with("disk = a.img\ncdrom = b.iso # a comment\ndisk = c.img\ndisk=d.img\n"
                                  "disk-memory = 1G\n[b]\nmemory = 32M\nkernel = k\n");
    const auto config = good(text);
    const auto drives = config.guests[0].drive_list();
    ASSERT_EQ(drives.size(), 4u);
    const std::string_view files[] = {"a.img", "b.iso", "c.img", "d.img"};
    for (unsigned i = 0; i < 4; ++i) {
        EXPECT_EQ(drives[i].file, files[i]) << "in the order of the lines";
        EXPECT_EQ(drives[i].kind, i == 1 ? guest::DriveKind::cdrom : guest::DriveKind::disk);
    }
    EXPECT_EQ(config.guests[0].disk_memory, 1 * gib);
    EXPECT_TRUE(config.guests[1].drive_list().empty());
    EXPECT_EQ(config.guests[1].disk_memory, 16 * mib);
    EXPECT_EQ(good(with("disk-memory = 0")).guests[0].disk_memory, 0u);
    EXPECT_EQ(good(with_firmware + "disk = x\n").guests[0].drive_count, 1u);
}

TEST(Config, DriveErrors) {
    const Bad bad[] = {
        {with("disk = a\ndisk = b\ncdrom = c\ndisk = d\ncdrom = e"), 8, "expected at most 4 drives"},
        {with("disk = two words"), 4, "expected one file name without blanks after 'disk ='"},
        {with("cdrom ="), 4, "expected a value after 'cdrom ='"},
        {with("disk-memory = 3M"), 4, "expected a size such as 16M, a multiple of 2M, or 0, found '3M'"},
        {with("disk-memory = 16"), 4, "expected a size such as 16M"},
        {with("disk-memory = 2048G"), 4, "expected a size such as 16M"},
        {with("disk-memory = 2M\ndisk-memory = 2M"), 5, "expected 'disk-memory' once"},
    };
    for (const Bad& b : bad) expect_error(b);
}

TEST(Config, CpuLists) {
    for (const char* list : {"a", "1,", ",1", "1,,2", "3-1", "64", "1-64", "1-", "-1", "1-2-3", "99999999999999999999"})
        expect_error({with(std::string{"cpus = "} + list), 4, "CPU numbers from 0 to 63"});
    EXPECT_EQ(good(with("cpus = 0")).guests[0].cpus, 1u);
    EXPECT_EQ(good(with("cpus = 0-63")).guests[0].cpus, ~0ull);
    EXPECT_EQ(good(with("cpus = 1-2,2-3,5")).guests[0].cpus, 0x2eu);
}

TEST(Config, DevicesForTestsAreOffUnlessAskedFor) {
    const std::string text = minimal;
    const auto off = good(text).guests[0];
    EXPECT_FALSE(off.fw_cfg || off.debug_exit || off.debug_console || off.test_device);
    const std::string all = with("fw-cfg = yes\ndebug-exit = yes\ndebug-console = yes\ntest-device = yes");
    const auto on = good(all).guests[0];
    EXPECT_TRUE(on.fw_cfg && on.debug_exit && on.debug_console && on.test_device);
    EXPECT_FALSE(good(with("test-device = no")).guests[0].test_device);
}

TEST(Config, Modules) {
    const std::string text = with(
        "loader = multiboot\nmodule = a.bin first  -v # not a comment\nmodule=b.bin\ncmdline = c\nmodule =\tb.bin\t x");
    const auto config = good(text);
    const auto modules = config.guests[0].module_list();
    ASSERT_EQ(modules.size(), 3u);
    EXPECT_EQ(modules[0].file, "a.bin");
    EXPECT_EQ(modules[0].string, "first  -v # not a comment");
    EXPECT_EQ(modules[1].file, "b.bin");
    EXPECT_EQ(modules[1].string, "");
    EXPECT_EQ(modules[2].file, "b.bin");
    EXPECT_EQ(modules[2].string, "x");
}

TEST(Config, ModulesHaveLimits) {
    std::string text = with("loader = multiboot");
    for (std::size_t i = 0; i < guest::max_modules; ++i) text += "module = m\n";
    EXPECT_EQ(good(text).guests[0].module_count, guest::max_modules);
    expect_error({text + "module = m\n", 13, "expected at most 8 modules"});
    expect_error({with("loader = multiboot\nmodule ="), 5, "a value after 'module ='"});
    expect_error({with("module = " + std::string(128, 'm') + " x"), 4, "at most 127 characters after 'module ='"});
    expect_error({with("module = m " + std::string(2048, 's')), 4, "at most 2047 characters, found 2048"});
}

TEST(Config, WhatALoaderTakes) {
    for (const char* loader : {"linux", "flat", "multiboot", "pvh"}) {
        const std::string text = with(std::string{"loader = "} + loader);
        EXPECT_EQ(guest::name_of(good(text).guests[0].loader), loader);
    }
    expect_error({with("module = m"), 4, "no 'module' with 'loader = linux'"});
    expect_error({with("loader = multiboot\ninitrd = i"), 5, "no 'initrd' with 'loader = multiboot'"});
    EXPECT_EQ(good(with("loader = pvh\ninitrd = i\ncmdline = c\nmodule = m")).guests[0].initrd, "i");
    EXPECT_EQ(good("[a]\nmemory = 2M\nkernel = k\nloader = multiboot\n").guests[0].paravirt, Paravirt::none);
}

TEST(Config, FlatBinariesAreGivenNoInitrdAndNoCommandLine) {
    expect_error({with("loader = flat\ninitrd = i"), 5, "no 'initrd' with 'loader = flat'"});
    expect_error({with("cmdline = x\nloader = flat"), 4, "no 'cmdline' with 'loader = flat'"});
}

TEST(Config, Lengths) {
    EXPECT_EQ(good(with("cmdline = " + std::string(2047, 'c'))).guests[0].cmdline.size(), 2047u);
    expect_error({with("cmdline = " + std::string(2048, 'c')), 4, "at most 2047 characters, found 2048"});
    EXPECT_EQ(good(with("initrd = " + std::string(127, 'i'))).guests[0].initrd.size(), 127u);
    expect_error({with("initrd = " + std::string(128, 'i')), 4, "at most 127 characters after 'initrd =', found 128"});
    expect_error({with("initrd = two words"), 4, "without blanks"});
    // A long wrong value is cut in the message, which always ends.
    expect_error({with("loader = " + std::string(5000, 'x')), 4, std::string(40, 'x') + "...'"});
}

TEST(Config, OnlyAscii) {
    expect_error({with("cmdline = \xc3\xa9"), 4, "expected printable ASCII, found the byte c3"});
    expect_error({"\xef\xbb\xbf" + minimal, 1, "byte ef"});
    expect_error({minimal + std::string(1, '\0'), 4, "byte 00"});
    expect_error({with("cmdline = a\rb"), 4, "byte 0d"});
    expect_error({with("cmdline = \x7f"), 4, "byte 7f"});
}

// Whatever is cut off or changed, the parser ends with a guest or with a message that has a line and an end.
TEST(Config, DamagedTextNeverGoesUnnoticedOrAstray) {
    const std::string text = with(
        "initrd = i\ncmdline = a b c\ncpus = 0-3,5\nconsole = 2\nloader = linux\n[b]\nmemory = 2M\nloader = "
        "flat\nkernel = k");
    unsigned seed = 1;
    for (int round = 0; round < 20000; ++round) {
        std::string damaged = text;
        for (int i = 0; i < 3; ++i) {
            seed = seed * 1103515245 + 12345;
            const std::size_t at = (seed >> 8) % damaged.size();
            if (seed & 0x40000000)
                damaged[at] = static_cast<char>(seed >> 16);
            else
                damaged.erase(at, 1);
        }
        const std::string copy{damaged};
        const auto config = guest::parse_config(copy);
        if (config) {
            EXPECT_GE(config->count, 1u);
            for (std::size_t i = 0; i < config->count; ++i) EXPECT_NE(config->guests[i].console, 0u);
        } else {
            EXPECT_FALSE(config.error().message().empty());
            EXPECT_LT(config.error().message().size(), config.error().text.size());
        }
    }
}

}  // namespace
