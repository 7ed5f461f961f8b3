// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <tuple>

#include "guest/emulate/execute.hpp"
#include "tests/unit/emulate_fakes.hpp"

// One instruction on fake memory, without paging.
namespace {

using namespace bulkhead::guest::emulator;
using isa::Exception;
using isa::Gpr;
using isa::Segment;
namespace ar = isa::access_rights;

constexpr std::uint64_t code_at = 0x1000, data_at = 0x5000, other_at = 0x6000, stack_at = 0x9000;

struct FakePorts final : Ports {
    std::vector<std::tuple<char, std::uint16_t, unsigned, std::uint32_t>> log;
    std::uint32_t next{0x11223344};
    std::uint32_t in(std::uint16_t port, unsigned size) override {
        log.emplace_back('i', port, size, next);
        return next++;
    }
    void out(std::uint16_t port, unsigned size, std::uint32_t value) override {
        log.emplace_back('o', port, size, value);
    }
    void in_run(std::uint16_t port, unsigned size, std::span<std::byte> to) override {
        ++runs;
        guest::each_in(to, size, [&] { return in(port, size); });
    }
    void out_run(std::uint16_t port, unsigned size, std::span<const std::byte> from) override {
        ++runs;
        guest::each_out(from, size, [&](std::uint32_t value) { out(port, size, value); });
    }
    unsigned runs{};
};

class EmulateFixture : public testing::Test {
  protected:
    void start(unsigned code, std::initializer_list<unsigned> bytes) {
        cpu.set_flat(code);
        cpu.ip = code_at;
        bus.code(code_at, bytes);
        cpu.gprs[Gpr::RSP] = stack_at;
        length = bytes.size();
    }
    Result run() {
        bus.log.clear();
        return emulate(cpu, bus, translate, &ports);
    }
    void expect_done() {
        EXPECT_EQ(run().outcome, Outcome::done);
        EXPECT_EQ(cpu.ip, code_at + length);
    }
    // A fault leaves everything as it was.
    void expect_fault(isa::Fault fault) {
        const FakeCpu before = cpu;
        const Result result = run();
        EXPECT_EQ(result.outcome, Outcome::fault);
        EXPECT_EQ(result.fault.vector, fault.vector);
        EXPECT_EQ(result.fault.error_code, fault.error_code);
        EXPECT_EQ(result.fault.address, fault.address);
        EXPECT_EQ(cpu.gprs.gpr, before.gprs.gpr);
        EXPECT_EQ(cpu.ip, before.ip);
        EXPECT_EQ(cpu.flags, before.flags);
        for (const auto& entry : bus.log) EXPECT_LT(entry.address, code_at + page_size) << "only the fetch";
    }
    // The bus accesses beside the fetch.
    std::vector<FakeBus::Entry> accesses() const {
        std::vector<FakeBus::Entry> result;
        for (const auto& entry : bus.log)
            if (entry.address < code_at || entry.address >= code_at + page_size) result.push_back(entry);
        return result;
    }

    FakeCpu cpu;
    FakeBus bus;
    FakeTranslate translate;
    FakePorts ports;
    std::uint64_t length{};
};

constexpr isa::Fault gp{Exception::GP, 0u, 0}, ss{Exception::SS, 0u, 0};

}  // namespace
