// SPDX-License-Identifier: Apache-2.0
// The instruction emulator: any instruction on any registers, in each size of code.
#include "guest/emulate/decode.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "tests/unit/emulate_fakes.hpp"

using fuzz::require;
using namespace bulkhead::guest::emulator;

namespace {

constexpr std::uint64_t code_at = 0x1000;

struct AllPorts final : Ports {
    std::uint32_t in(std::uint16_t, unsigned size) override {
        require(size == 1 || size == 2 || size == 4, "a port access has 1, 2 or 4 bytes");
        return 0x11223344;
    }
    void out(std::uint16_t, unsigned size, std::uint32_t) override {
        require(size == 1 || size == 2 || size == 4, "a port access has 1, 2 or 4 bytes");
    }
    void in_run(std::uint16_t, unsigned size, std::span<std::byte> to) override {
        require(!to.empty() && to.size() % size == 0, "a run has whole accesses");
        std::ranges::fill(to, std::byte{0x11});
    }
    void out_run(std::uint16_t, unsigned size, std::span<const std::byte> from) override {
        require(!from.empty() && from.size() % size == 0, "a run has whole accesses");
    }
};

void set_registers(fuzz::Input& in, FakeCpu& cpu, unsigned code) {
    cpu.set_flat(code);
    cpu.ip = code_at;
    for (auto& value : cpu.gprs.gpr) {
        value = in.chance() ? in.any<std::uint16_t>() : in.any<std::uint64_t>();
        if (code != 64) value &= 0xffffffff;
    }
    cpu.flags = (in.any<std::uint16_t>() & 0x0dd5u) | isa::rflags::FIXED;
    cpu.privilege = in.chance() ? 3 : 0;
}

void check_accesses(const FakeBus& bus) {
    for (const FakeBus::Entry& entry : bus.log) {
        require(entry.size >= 1 && entry.size <= (bus.runs ? 512 : 16), "an operand has 1 to 16 bytes");
        require(entry.address / page_size == (entry.address + entry.size - 1) / page_size, "it crosses no page");
    }
    require(bus.log.size() < 100'000, "an instruction ends, or stops to be gone on with");
}

}  // namespace

FUZZ_TARGET(in) {
    constexpr unsigned modes[] = {16, 32, 64};
    FakeCpu cpu;
    FakeBus bus;
    FakeTranslate translate;
    AllPorts ports;
    set_registers(in, cpu, modes[in.below(3)]);
    if (in.chance()) translate.absent[in.any<std::uint8_t>() * page_size] = true;
    if (in.chance()) translate.read_only[in.any<std::uint8_t>() * page_size] = true;
    translate.absent.erase(code_at);
    bus.runs = in.chance();
    const auto bytes = in.bytes(15);
    for (std::size_t i = 0; i < bytes.size(); ++i) bus.byte(code_at + i) = bytes[i];

    const FakeCpu before = cpu;
    const Result result = emulate(cpu, bus, translate, in.chance() ? &ports : nullptr);
    check_accesses(bus);
    if (result.outcome == Outcome::done || result.outcome == Outcome::restart) return;
    // Of a repeated string instruction iterations may have been done; its flags and address stay in any case.
    require(cpu.ip == before.ip, "what does not retire stays where it is");
    const auto instruction = decode(bytes, code_size(before));
    const bool repeated = instruction && instruction->repeat != Repeat::none;
    require(repeated || cpu.gprs.gpr == before.gprs.gpr, "what does not retire changes no register");
    require(repeated || cpu.flags == before.flags, "nor a flag");
}
