// SPDX-License-Identifier: Apache-2.0
#include "vmx/invalidation.hpp"

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <vector>

#include "vmx/instructions.hpp"
#include "vmx/vpid.hpp"

namespace bulkhead::vmx {
namespace {

using instruction::InveptType;
using instruction::InvvpidType;
using test::FakeProcessor;
using test::processor;

constexpr Capabilities every_type{.ept_vpid = 0x0000'0f01'0673'4141};

// The caches of one CPU after SDM 28.4.1 and 28.4.3, as harmful as they may be: whatever was used while the guest ran
// is remembered until an instruction drops it. A translation is the version of what it came from.
class Caches {
  public:
    void use_guest_physical(std::uint64_t eptp, unsigned ept_version) { guest_physical_[eptp].insert(ept_version); }
    void use_linear(std::uint16_t vpid, std::uint64_t eptp, unsigned paging_version, unsigned ept_version) {
        combined_.push_back({vpid, eptp, paging_version, ept_version});
    }
    void invept(std::uint64_t eptp) {
        guest_physical_.erase(eptp);
        std::erase_if(combined_, [&](const Combined& c) { return c.eptp == eptp; });
    }
    void invvpid(std::uint16_t vpid) {
        std::erase_if(combined_, [&](const Combined& c) { return c.vpid == vpid; });
    }
    // Whether a guest with these tags could use anything but the present versions.
    bool has_stale(std::uint16_t vpid, std::uint64_t eptp, unsigned paging_version, unsigned ept_version) const {
        if (const auto found = guest_physical_.find(eptp); found != guest_physical_.end())
            for (const unsigned version : found->second)
                if (version != ept_version) return true;
        for (const Combined& c : combined_)
            if (c.vpid == vpid && c.eptp == eptp &&
                (c.paging_version != paging_version || c.ept_version != ept_version))
                return true;
        return false;
    }

  private:
    struct Combined {
        std::uint16_t vpid;
        std::uint64_t eptp;
        unsigned paging_version, ept_version;
    };
    std::map<std::uint64_t, std::set<unsigned>> guest_physical_;
    std::vector<Combined> combined_;
};

// Guests that are made and destroyed, change their page tables, migrate, and have their EPT changed. Root frames and
// VPIDs are used again.
class Machine {
  public:
    enum class Omit { nothing, invept, invvpid };
    explicit Machine(unsigned seed, Omit omit = Omit::nothing) : random_(seed), omit_(omit) {}

    // False when a guest was entered with a stale translation.
    bool run(unsigned steps) {
        for (unsigned i = 0; i < steps; ++i)
            if (!step()) return false;
        return true;
    }

  private:
    static constexpr unsigned cpus = 4, guests = 3, vcpus_a_guest = 2;

    struct Vcpu {
        VpidHistory vpid;
        unsigned paging_version{};
    };
    struct Guest {
        EptHistory ept;
        std::uint64_t eptp{};
        unsigned ept_version{};
        std::array<Vcpu, vcpus_a_guest> vcpus;
    };

    unsigned pick(unsigned count) { return static_cast<unsigned>(random_() % count); }

    bool step() {
        std::optional<Guest>& guest = guests_[pick(guests)];
        if (!guest) {
            create(guest);
            return true;
        }
        switch (pick(10)) {
        case 0: destroy(guest); return true;
        case 1: change_ept(*guest); return true;
        default: return enter(*guest, guest->vcpus[pick(vcpus_a_guest)], pick(cpus));
        }
    }

    void create(std::optional<Guest>& guest) {
        guest.emplace();
        // The lowest root frame that is free.
        for (guest->eptp = 0x1'001e; used_roots_.contains(guest->eptp);) guest->eptp += 0x1000;
        used_roots_.insert(guest->eptp);
        guest->ept_version = ++versions_;
        for (Vcpu& vcpu : guest->vcpus) {
            vcpu.vpid = VpidHistory{*vpids_.allocate()};
            vcpu.paging_version = ++versions_;
        }
    }
    void destroy(std::optional<Guest>& guest) {
        used_roots_.erase(guest->eptp);
        for (const Vcpu& vcpu : guest->vcpus) vpids_.release(vcpu.vpid.vpid());
        guest.reset();
    }
    void change_ept(Guest& guest) {
        guest.ept_version = ++versions_;
        guest.ept.changed();
    }

    bool enter(Guest& guest, Vcpu& vcpu, unsigned cpu) {
        processor().invepts.clear();
        processor().invvpids.clear();
        prepare_translations(every_type, guest.ept, guest.eptp, vcpu.vpid, cpu);
        Caches& caches = caches_[cpu];
        for (const auto& i : processor().invepts)
            if (omit_ != Omit::invept) caches.invept(i.ept_pointer);
        for (const auto& i : processor().invvpids)
            if (omit_ != Omit::invvpid) caches.invvpid(i.vpid);

        const std::uint16_t vpid = vcpu.vpid.vpid();
        if (caches.has_stale(vpid, guest.eptp, vcpu.paging_version, guest.ept_version)) return false;
        caches.use_guest_physical(guest.eptp, guest.ept_version);
        caches.use_linear(vpid, guest.eptp, vcpu.paging_version, guest.ept_version);
        // The guest changes its page tables and invalidates, which reaches this CPU only.
        if (pick(2) == 0) {
            vcpu.paging_version = ++versions_;
            caches.invvpid(vpid);
            caches.use_linear(vpid, guest.eptp, vcpu.paging_version, guest.ept_version);
        }
        return true;
    }

    std::mt19937 random_;
    Omit omit_;
    unsigned versions_{};
    VpidAllocator vpids_;
    std::set<std::uint64_t> used_roots_;
    std::array<std::optional<Guest>, guests> guests_;
    std::array<Caches, cpus> caches_;
};

class InvalidationTest : public testing::Test {
  protected:
    void SetUp() override {
        processor() = FakeProcessor{};
        processor().start();
    }
};

TEST_F(InvalidationTest, NoGuestEverMeetsAStaleTranslation) {
    for (unsigned seed = 0; seed < 50; ++seed) EXPECT_TRUE(Machine{seed}.run(2000)) << "seed " << seed;
}

// The model does see what is missing.
TEST_F(InvalidationTest, IsNeededInBothKinds) {
    EXPECT_FALSE((Machine{1, Machine::Omit::invept}.run(2000)));
    EXPECT_FALSE((Machine{1, Machine::Omit::invvpid}.run(2000)));
}

TEST_F(InvalidationTest, CostsNothingWhenNothingChanged) {
    EptHistory ept;
    VpidHistory vpid{5};
    prepare_translations(every_type, ept, 0x1'001e, vpid, 2);
    EXPECT_EQ(processor().invepts, (std::vector<FakeProcessor::Invept>{{InveptType::single_context, 0x1'001e}}));
    EXPECT_EQ(processor().invvpids,
              (std::vector<FakeProcessor::Invvpid>{{InvvpidType::single_context, 5, GuestVirt{}}}));
    prepare_translations(every_type, ept, 0x1'001e, vpid, 2);
    EXPECT_EQ(processor().invepts.size(), 1u);
    EXPECT_EQ(processor().invvpids.size(), 1u);
}

TEST_F(InvalidationTest, FollowsAChangeOnEveryCpu) {
    EptHistory ept;
    VpidHistory vpid{5};
    for (unsigned cpu = 0; cpu < 3; ++cpu) prepare_translations(every_type, ept, 0x1'001e, vpid, cpu);
    ept.changed();
    for (unsigned cpu = 0; cpu < 3; ++cpu) EXPECT_TRUE(ept.is_stale(cpu));
    EXPECT_TRUE(ept.may_cache_old(0) && ept.may_cache_old(1) && ept.may_cache_old(2));
    EXPECT_FALSE(ept.may_cache_old(3)) << "it has never run this guest";
    EXPECT_FALSE(ept.all_current());
    for (unsigned cpu = 0; cpu < 3; ++cpu) prepare_translations(every_type, ept, 0x1'001e, vpid, cpu);
    EXPECT_TRUE(ept.all_current());
}

// A change that comes after the generation was read is not covered by the invalidation.
TEST_F(InvalidationTest, DoesNotCoverAChangeThatCameAfterIt) {
    EptHistory ept;
    const std::uint64_t read = ept.generation();
    ept.changed();
    ept.invalidated(0, read);
    EXPECT_TRUE(ept.is_stale(0));
}

TEST_F(InvalidationTest, OfAVpidFollowsTheVcpu) {
    VpidHistory vpid{5};
    EXPECT_TRUE(vpid.is_stale(0));
    vpid.invalidated(0);
    EXPECT_FALSE(vpid.is_stale(0));
    EXPECT_TRUE(vpid.is_stale(1));
    vpid.invalidated(1);
    EXPECT_TRUE(vpid.is_stale(0)) << "it may have left something there";
    vpid.changed();
    EXPECT_TRUE(vpid.is_stale(1));
}

TEST_F(InvalidationTest, LeavesVpidsAloneWhereThereAreNone) {
    EptHistory ept;
    VpidHistory none;
    prepare_translations(every_type, ept, 0x1'001e, none, 0);
    EXPECT_EQ(processor().invepts.size(), 1u);
    EXPECT_TRUE(processor().invvpids.empty());
}

TEST_F(InvalidationTest, UsesWhatTheProcessorHas) {
    constexpr Capabilities all_contexts_only{.ept_vpid = 1ull << 20 | 1ull << 26 | 1ull << 32 | 1ull << 42};
    processor().invept_types = {InveptType::all_contexts};
    processor().invvpid_types = {InvvpidType::all_contexts};
    EptHistory ept;
    VpidHistory vpid{5};
    prepare_translations(all_contexts_only, ept, 0x1'001e, vpid, 0);
    ASSERT_EQ(processor().invepts.size(), 1u);
    EXPECT_EQ(processor().invepts[0].type, InveptType::all_contexts);
    ASSERT_EQ(processor().invvpids.size(), 1u);
    EXPECT_EQ(processor().invvpids[0].type, InvvpidType::all_contexts);
}

TEST_F(InvalidationTest, OfEverythingReachesEveryContext) {
    invalidate_everything(every_type);
    ASSERT_EQ(processor().invepts.size(), 1u);
    EXPECT_EQ(processor().invepts[0].type, InveptType::all_contexts);
    ASSERT_EQ(processor().invvpids.size(), 1u);
    EXPECT_EQ(processor().invvpids[0].type, InvvpidType::all_contexts);
}

TEST(VpidAllocator, GivesEachVpidOnceAndNeverZero) {
    VpidAllocator vpids;
    std::set<std::uint16_t> seen;
    for (unsigned i = 1; i < VpidAllocator::capacity; ++i) {
        const auto vpid = vpids.allocate();
        ASSERT_TRUE(vpid);
        EXPECT_NE(*vpid, 0);
        EXPECT_TRUE(seen.insert(*vpid).second);
    }
    EXPECT_FALSE(vpids.allocate());
    vpids.release(77);
    EXPECT_EQ(vpids.allocate(), 77);
    vpids.release(0);
    EXPECT_FALSE(vpids.allocate());
}

}  // namespace
}  // namespace bulkhead::vmx
