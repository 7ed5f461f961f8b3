// SPDX-License-Identifier: Apache-2.0
// A guest from its start to its end, and what its neighbour notices of it: nothing.
#include "monitor_fixture.hpp"

namespace bulkhead::monitor {
namespace {

class VmTest : public MonitorTest {
  protected:
    std::size_t frames(unsigned guest) { return pool.used(static_cast<mm::OwnerId>(2 + guest)); }
    std::size_t taken(unsigned guest) { return blocks.used(static_cast<mm::OwnerId>(2 + guest)); }
    std::uint64_t word(Vm& vm, std::uint64_t address) {
        std::uint64_t value{};
        EXPECT_TRUE(vm.memory().load(GuestPhys{address}, value));
        return value;
    }
    void write(Vm& vm, std::uint64_t address, std::uint64_t value) {
        ASSERT_TRUE(vm.memory().store(GuestPhys{address}, value));
    }
};

TEST_F(VmTest, StartsAsAFlatImageExpects) {
    start(one());
    EXPECT_EQ(taken(0), memory / large_page_size);
    EXPECT_EQ(word(one(), 0x10'0000) & 0xffff, 0xfeebu) << "the kernel's bytes";
    EXPECT_EQ(get(vmcs::guest_cr0) & 1, 1u);
    EXPECT_TRUE(log.has("guest one: started on CPU 1"));
}

TEST_F(VmTest, PowerOffGivesBackEverything) {
    const std::size_t blocks_free = blocks.available(), frames_free = pool.available();
    start(one());
    ASSERT_LT(blocks.available(), blocks_free);
    ASSERT_LT(pool.available(), frames_free);
    one().machine().ports().in(0x3fd, 1);
    one().machine().ports().in(0x2fd, 1);
    one().power_off();
    end(one());
    EXPECT_EQ(one().state(), Vm::State::off);
    EXPECT_EQ(taken(0), 0u);
    EXPECT_EQ(frames(0), 0u);
    EXPECT_EQ(blocks.available(), blocks_free);
    EXPECT_EQ(pool.available(), frames_free);
    EXPECT_FALSE(one().has_requests()) << "it stays off";
    EXPECT_TRUE(log.has("guest one: powered off"));
    EXPECT_TRUE(log.has("guest one: ports from 3f8=1"));
    EXPECT_TRUE(log.has("guest one: ports of none=1"));
}

TEST_F(VmTest, ResetStartsAnewWithCleanMemory) {
    start(one());
    write(one(), 0x20'0000, 0x5ec7e7);
    vcpu().registers[isa::Gpr::RBX] = 1;
    one().reset();
    end(one());
    EXPECT_EQ(one().state(), Vm::State::off);
    ASSERT_TRUE(one().has_requests());
    serve(one());
    ASSERT_EQ(one().state(), Vm::State::running);
    EXPECT_EQ(word(one(), 0x20'0000), 0u);
    EXPECT_EQ(word(one(), 0x10'0000) & 0xffff, 0xfeebu);
    EXPECT_EQ(vcpu().registers[isa::Gpr::RBX], 0u);
    EXPECT_EQ(taken(0), memory / large_page_size);
}

TEST_F(VmTest, AGuestThatCrashedStaysDownUntilItIsAsked) {
    start(one());
    one().crash(vcpu(), "a test");
    end(one());
    EXPECT_FALSE(one().has_requests());
    EXPECT_NE(one().report().find("guest one: a test"), std::string_view::npos) << "it can be read after its end";
    one().ask(Request::restart);
    serve(one());
    EXPECT_EQ(one().state(), Vm::State::running);
    EXPECT_TRUE(one().report().empty());
}

TEST_F(VmTest, TheOperatorRestartsAndStops) {
    start(one());
    one().ask(Request::restart);
    serve(one());
    EXPECT_EQ(one().state(), Vm::State::running);
    one().ask(Request::stop);
    serve(one());
    EXPECT_EQ(one().state(), Vm::State::off);
    EXPECT_EQ(taken(0) + frames(0), 0u);
    EXPECT_TRUE(log.has("stopped by the operator"));
}

TEST_F(VmTest, AGuestThatIsBeingBuiltCanBeStopped) {
    one().ask(Request::start);
    one().serve_requests();
    one().build_step();
    ASSERT_EQ(one().state(), Vm::State::building);
    one().ask(Request::stop);
    serve(one());
    EXPECT_EQ(one().state(), Vm::State::off);
    EXPECT_EQ(taken(0) + frames(0), 0u);
}

TEST_F(VmTest, TheNeighbourIsUntouched) {
    start(two());
    write(two(), 0x20'0000, 0x1234'5678);
    set(vmcs::guest_rip, 0xabcd);
    const auto region = two().vcpu(0).vmcs.region();
    const std::uint16_t vpid = two().vcpu(0).vpid.vpid();
    const std::size_t blocks_of_two = taken(1), frames_of_two = frames(1);
    for (int round = 0; round < 3; ++round) {
        start(one());
        EXPECT_NE(one().vcpu(0).vpid.vpid(), vpid);
        write(one(), 0x20'0000, ~0ull);
        if (round == 0)
            one().crash(vcpu(), "a test");
        else
            one().power_off();
        end(one());
    }
    EXPECT_EQ(two().state(), Vm::State::running);
    EXPECT_EQ(taken(1), blocks_of_two);
    EXPECT_EQ(frames(1), frames_of_two);
    EXPECT_EQ(word(two(), 0x20'0000), 0x1234'5678u);
    EXPECT_EQ(two().vcpu(0).vmcs.region(), region);
    loop->load(two().vcpu(0));
    EXPECT_EQ(get(vmcs::guest_rip), 0xabcdu);
}

TEST_F(VmTest, NoMemoryOfOneIsReachedByTheOther) {
    start(one());
    start(two());
    for (std::uint64_t address = 0; address < memory; address += large_page_size) {
        write(one(), address + 0x800, 0x1111);
        write(two(), address + 0x800, 0x2222);
    }
    for (std::uint64_t address = 0; address < memory; address += large_page_size)
        EXPECT_EQ(word(one(), address + 0x800), 0x1111u);
    std::uint64_t value{};
    EXPECT_FALSE(one().memory().load(GuestPhys{memory}, value)) << "there is nothing behind its memory";
}

TEST_F(VmTest, NothingIsLostByStartingOftenerThanThereAreVpids) {
    the_system.config.guests[0].memory = large_page_size;
    for (unsigned i = 0; i < vmx::VpidAllocator::capacity + 10; ++i) {
        start(one());
        ASSERT_FALSE(HasFatalFailure()) << i;
        one().power_off();
        end(one());
    }
}

TEST_F(VmTest, WithoutMemoryAGuestIsNotStartedAndItsNeighbourRuns) {
    start(two());
    the_system.config.guests[0].memory = 8 * large_page_size;
    one().ask(Request::start);
    serve(one());
    EXPECT_EQ(one().state(), Vm::State::off);
    EXPECT_EQ(taken(0) + frames(0), 0u);
    EXPECT_TRUE(log.has("guest one: needs 16 MiB of memory"));
    EXPECT_TRUE(log.has("guest one: not started"));
    EXPECT_EQ(two().state(), Vm::State::running);
}

TEST_F(VmTest, WithoutItsKernelAGuestIsNotStartedAndHoldsNothing) {
    the_system.config.guests[0].kernel = "gone";
    one().ask(Request::start);
    serve(one());
    EXPECT_EQ(one().state(), Vm::State::off);
    EXPECT_EQ(taken(0) + frames(0), 0u);
    EXPECT_TRUE(log.has("kernel gone is not among the boot modules"));
}

TEST_F(VmTest, WithoutFramesForItsTablesAGuestIsNotStartedAndHoldsNothing) {
    const std::size_t left = 2;
    ASSERT_TRUE(pool.allocate(mm::OwnerId::hypervisor, pool.available() - left));
    one().ask(Request::start);
    serve(one());
    EXPECT_EQ(one().state(), Vm::State::off);
    EXPECT_EQ(taken(0) + frames(0), 0u);
    EXPECT_EQ(pool.available(), left);
}

}  // namespace
}  // namespace bulkhead::monitor
