// SPDX-License-Identifier: Apache-2.0
#include "mm/page_table.hpp"

#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "mm/frame_store.hpp"
#include "mm/host_format.hpp"

namespace bulkhead::mm {
namespace {

// Physical memory that holds nothing but tables. Frees are real: a read of a freed table is an error of the test.
class FakeMemory {
  public:
    std::expected<HostPhys, OutOfMemory> allocate() {
        if (tables_.size() >= limit) return std::unexpected(OutOfMemory::exhausted);
        next_ += page_size;
        tables_[next_] = {};
        return HostPhys{next_};
    }
    // Its contents are gone at once: a state in which a walk still leads there is wrong.
    void free(HostPhys table) {
        EXPECT_EQ(tables_.erase(table.value), 1u) << "freed what is no table: " << table.value;
        if (on_write) on_write();
    }
    std::uint64_t read(std::uint64_t slot) const {
        const auto table = tables_.find(slot & ~0xfffull);
        if (table == tables_.end()) {
            ADD_FAILURE() << "read of a table that is not there: " << std::hex << slot;
            return 0;
        }
        return table->second[slot % page_size / 8];
    }
    void write(std::uint64_t slot, std::uint64_t value) {
        ASSERT_TRUE(tables_.contains(slot & ~0xfffull)) << "write to a table that is not there: " << std::hex << slot;
        tables_[slot & ~0xfffull][slot % page_size / 8] = value;
        ++writes;
        if (on_write) on_write();
    }
    std::size_t tables() const { return tables_.size(); }
    std::map<std::uint64_t, std::array<std::uint64_t, 512>> snapshot() const { return tables_; }

    std::size_t limit{~0ull};
    std::size_t writes{};
    std::function<void()> on_write;

  private:
    std::map<std::uint64_t, std::array<std::uint64_t, 512>> tables_;
    std::uint64_t next_{0x10'0000};
};

struct FakeStore {
    FakeMemory* memory;
    std::expected<HostPhys, OutOfMemory> allocate_table() { return memory->allocate(); }
    void free_table(HostPhys table) { memory->free(table); }
    std::uint64_t read(HostPhys slot) { return memory->read(slot.value); }
    void write(HostPhys slot, std::uint64_t value) { memory->write(slot.value, value); }
};

using Table = PageTable<HostFormat, FakeStore>;

struct Seen {
    std::uint64_t phys{};
    bool writable{}, executable{}, uncached{}, global{};
    std::uint64_t page{};  // size; not part of what a program can tell

    friend bool operator==(const Seen& a, const Seen& b) {
        return a.phys == b.phys && a.writable == b.writable && a.executable == b.executable &&
               a.uncached == b.uncached && a.global == b.global;
    }
};
using MaybeSeen = std::optional<Seen>;

// The reference: what a processor does (SDM volume 3, figures 4-8 to 4-10 and tables 4-15 to 4-20), written out level
// by level and without the code under test.
MaybeSeen walk(const FakeMemory& memory, std::uint64_t root, std::uint64_t linear) {
    if (linear >= 0x0000'8000'0000'0000 && linear < 0xffff'8000'0000'0000) return std::nullopt;
    constexpr std::uint64_t address_bits = 0x000f'ffff'ffff'f000;
    bool writable = true, executable = true;
    const auto fetch = [&](std::uint64_t table, unsigned shift) {
        const std::uint64_t entry = memory.read(table + (linear >> shift & 511) * 8);
        writable = writable && (entry & 2) != 0;
        executable = executable && (entry >> 63) == 0;
        if ((entry & 1) != 0) {
            EXPECT_EQ(entry & 4, 0u) << "user-accessible";
        }
        return entry;
    };
    const auto leaf = [&](std::uint64_t entry, std::uint64_t size) {
        const std::uint64_t base = entry & address_bits;
        EXPECT_EQ(base & (size - 1) & ~0x1000ull, 0u) << "reserved bits set in a large page";
        return Seen{(base & ~(size - 1)) + (linear & (size - 1)),
                    writable,
                    executable,
                    (entry & 0x18) == 0x18,
                    (entry & 0x100) != 0,
                    size};
    };
    const std::uint64_t pml4e = fetch(root, 39);
    if ((pml4e & 1) == 0) return std::nullopt;
    EXPECT_EQ(pml4e & 0x80, 0u) << "reserved bit in a PML4 entry";
    const std::uint64_t pdpte = fetch(pml4e & address_bits, 30);
    if ((pdpte & 1) == 0) return std::nullopt;
    if ((pdpte & 0x80) != 0) return leaf(pdpte, gib);
    const std::uint64_t pde = fetch(pdpte & address_bits, 21);
    if ((pde & 1) == 0) return std::nullopt;
    if ((pde & 0x80) != 0) return leaf(pde, 2 * mib);
    const std::uint64_t pte = fetch(pde & address_bits, 12);
    if ((pte & 1) == 0) return std::nullopt;
    return leaf(pte, 4 * kib);
}

Seen seen(std::uint64_t phys, HostAttributes a) {
    return {phys, a.writable, a.executable, a.uncached, a.global};
}

class PageTableTest : public testing::Test {
  protected:
    MaybeSeen at(std::uint64_t linear) const { return walk(memory, table.root().value, linear); }

    // Runs `operation` and holds every intermediate state against the old and the new translation of each sample.
    template <class Operation, class Expected>
    void replay(const std::vector<std::uint64_t>& samples, Operation operation, Expected expected) {
        std::vector<MaybeSeen> old;
        for (const std::uint64_t address : samples) old.push_back(at(address));
        std::vector<bool> changed(samples.size());
        memory.on_write = [&] {
            for (std::size_t i = 0; i < samples.size(); ++i) {
                const MaybeSeen now = at(samples[i]);
                const bool is_old = now == old[i], is_new = now == expected(samples[i], old[i]);
                ASSERT_TRUE(is_old || is_new) << "neither old nor new at " << std::hex << samples[i];
                ASSERT_TRUE(is_new || !changed[i]) << "went back at " << std::hex << samples[i];
                changed[i] = changed[i] || !is_old;
            }
        };
        operation();
        memory.on_write = nullptr;
        for (std::size_t i = 0; i < samples.size(); ++i)
            EXPECT_EQ(at(samples[i]), expected(samples[i], old[i])) << "in the end, at " << std::hex << samples[i];
    }

    FakeMemory memory;
    Table table = *Table::create(FakeStore{&memory});
};

constexpr std::uint64_t base = 0xffff'8000'0000'0000;

// The edges of a range and of every large page in it, and what is around it.
std::vector<std::uint64_t> samples_of(std::uint64_t input, std::uint64_t size) {
    std::set<std::uint64_t> samples;
    const auto around = [&](std::uint64_t address) { samples.insert({address - 1, address, address + 1}); };
    around(input);
    around(input + size);
    for (std::uint64_t a = (input | 0x1f'ffff) + 1; a - input < size && samples.size() < 60; a += 2 * mib) around(a);
    for (std::uint64_t a = (input | 0x3fff'ffff) + 1; a - input < size && samples.size() < 120; a += gib) around(a);
    samples.insert({input + size / 2, input + size / 3, input - 4 * kib, input + size + 4 * kib});
    return {samples.begin(), samples.end()};
}

TEST_F(PageTableTest, ANewTableTranslatesNothing) {
    EXPECT_FALSE(at(0));
    EXPECT_FALSE(at(base));
    EXPECT_FALSE(table.lookup(base));
    EXPECT_EQ(memory.tables(), 1u);
}

TEST_F(PageTableTest, MapsOnePage) {
    replay(
        samples_of(base, page_size), [&] { ASSERT_TRUE(table.map(base, HostPhys{0x5000}, page_size, host::data)); },
        [](std::uint64_t a, MaybeSeen old) {
            return a - base < page_size ? MaybeSeen{seen(0x5000 + a - base, host::data)} : old;
        });
    EXPECT_EQ(memory.tables(), 4u);
    EXPECT_EQ(at(base)->page, page_size);
}

TEST_F(PageTableTest, EveryAttributeReachesTheEntry) {
    const HostAttributes all[] = {host::code, host::constants, host::data, host::device, host::private_data};
    std::uint64_t address = base;
    for (const HostAttributes& attributes : all) {
        ASSERT_TRUE(table.map(address, HostPhys{0x7000}, page_size, attributes));
        EXPECT_EQ(at(address), seen(0x7000, attributes));
        ASSERT_TRUE(table.lookup(address + 5));
        EXPECT_EQ(*table.lookup(address + 5),
                  (Translation<HostAttributes>{HostPhys{0x7005}, PageSize::size_4k, attributes}));
        address += page_size;
    }
}

TEST_F(PageTableTest, UsesTheLargestPagesThatFit) {
    // 4 KiB pages up to the first 2-MiB line, 2-MiB pages up to the first 1-GiB line, one 1-GiB page, and down again.
    const std::uint64_t input = base + gib - 2 * mib - 4 * kib, output = 3 * gib - 2 * mib - 4 * kib;
    const std::uint64_t size = 4 * kib + 2 * mib + gib + 2 * mib + 4 * kib;
    replay(
        samples_of(input, size),
        [&] { ASSERT_TRUE(table.map(input, HostPhys{output}, size, host::data, PageSize::size_1g)); },
        [&](std::uint64_t a, MaybeSeen old) {
            return a - input < size ? MaybeSeen{seen(output + (a - input), host::data)} : old;
        });
    EXPECT_EQ(at(input)->page, page_size);
    EXPECT_EQ(at(input + 4 * kib)->page, 2 * mib);
    EXPECT_EQ(at(input + 4 * kib + 2 * mib)->page, gib);
    EXPECT_EQ(at(input + 4 * kib + 2 * mib + gib)->page, 2 * mib);
    EXPECT_EQ(at(input + size - 1)->page, page_size);
}

TEST_F(PageTableTest, KeepsToTheLargestPageAllowed) {
    ASSERT_TRUE(table.map(base, HostPhys{0}, gib, host::data, PageSize::size_2m));
    EXPECT_EQ(at(base)->page, 2 * mib);
    ASSERT_TRUE(table.map(base + gib, HostPhys{0}, 2 * mib, host::data, PageSize::size_4k));
    EXPECT_EQ(at(base + gib)->page, page_size);
}

TEST_F(PageTableTest, OutputAlignmentLimitsThePageSize) {
    ASSERT_TRUE(table.map(base, HostPhys{0x1000}, 2 * mib, host::data));
    EXPECT_EQ(at(base)->page, page_size);
    EXPECT_EQ(at(base + 2 * mib - 1), seen(0x1000 + 2 * mib - 1, host::data));
}

TEST_F(PageTableTest, ReachesTheTopOfTheAddressSpace) {
    const std::uint64_t input = 0xffff'ffff'ffe0'0000;
    ASSERT_TRUE(table.map(input, HostPhys{2 * mib}, 2 * mib, host::code));
    EXPECT_EQ(at(~0ull), seen(4 * mib - 1, host::code));
    ASSERT_TRUE(table.unmap(input, 2 * mib));
    EXPECT_FALSE(at(~0ull));
    EXPECT_EQ(memory.tables(), 1u);
}

TEST_F(PageTableTest, RefusesWhatIsMisaligned) {
    const auto misaligned = std::unexpected(MapError::misaligned);
    EXPECT_EQ(table.map(base + 1, HostPhys{0}, page_size, host::data), misaligned);
    EXPECT_EQ(table.map(base, HostPhys{0x800}, page_size, host::data), misaligned);
    EXPECT_EQ(table.map(base, HostPhys{0}, page_size + 1, host::data), misaligned);
    EXPECT_EQ(table.map(base, HostPhys{0}, 0, host::data), misaligned);
    EXPECT_EQ(table.unmap(base, 0), misaligned);
    EXPECT_EQ(table.unmap(base + 8, page_size), misaligned);
    EXPECT_EQ(memory.writes, 0u);
}

TEST_F(PageTableTest, RefusesWhatIsOutOfRange) {
    const auto out_of_range = std::unexpected(MapError::out_of_range);
    EXPECT_EQ(table.map(0x0000'8000'0000'0000, HostPhys{0}, page_size, host::data), out_of_range);
    EXPECT_EQ(table.map(0x0000'7fff'ffff'f000, HostPhys{0}, 2 * page_size, host::data), out_of_range);
    // Both ends are canonical, what is between them is not.
    EXPECT_EQ(table.map(0x0000'7fff'ffff'f000, HostPhys{0}, 0xffff'0000'0000'2000, host::data), out_of_range);
    EXPECT_EQ(table.map(~0xfffull, HostPhys{0}, 2 * page_size, host::data), out_of_range);
    EXPECT_EQ(table.map(base, HostPhys{1ull << 52}, page_size, host::data), out_of_range);
    EXPECT_EQ(table.map(base, HostPhys{(1ull << 52) - page_size}, 2 * page_size, host::data), out_of_range);
    EXPECT_EQ(table.map(base, HostPhys{~0xfffull}, 2 * page_size, host::data), out_of_range);
    EXPECT_EQ(table.unmap(0x0000'8000'0000'0000, page_size), out_of_range);
    EXPECT_EQ(table.unmap(0x0000'7fff'ffff'f000, 0xffff'0000'0000'2000), out_of_range);
    EXPECT_FALSE(table.lookup(0x0000'8000'0000'0000));
    EXPECT_EQ(memory.writes, 0u);
}

TEST_F(PageTableTest, RefusesWritableCode) {
    EXPECT_EQ(table.map(base, HostPhys{0}, page_size, {.writable = true, .executable = true}),
              std::unexpected(MapError::not_permitted));
    EXPECT_EQ(memory.writes, 0u);
}

TEST_F(PageTableTest, RefusesAnOverlapAndLeavesItAlone) {
    ASSERT_TRUE(table.map(base + 2 * mib, HostPhys{8 * mib}, 2 * mib, host::data));
    ASSERT_TRUE(table.map(base + 6 * mib, HostPhys{0x3000}, page_size, host::data));
    const auto before = memory.snapshot();
    const auto overlapping = std::unexpected(MapError::overlapping);
    EXPECT_EQ(table.map(base, HostPhys{0}, 4 * mib, host::constants), overlapping);
    EXPECT_EQ(table.map(base + 2 * mib + 0x5000, HostPhys{0}, page_size, host::constants), overlapping);
    EXPECT_EQ(table.map(base + 6 * mib, HostPhys{0}, 2 * mib, host::constants), overlapping);
    EXPECT_EQ(table.map(base + 5 * mib, HostPhys{0}, 2 * mib, host::constants), overlapping);
    EXPECT_EQ(memory.snapshot(), before);
}

TEST_F(PageTableTest, UnmappingFreesTheTablesThatBecomeEmpty) {
    ASSERT_TRUE(table.map(base, HostPhys{0}, 2 * page_size, host::data));
    ASSERT_TRUE(table.map(base + gib, HostPhys{0}, 2 * mib, host::data));
    EXPECT_EQ(memory.tables(), 5u);
    ASSERT_TRUE(table.unmap(base, page_size));
    EXPECT_EQ(memory.tables(), 5u);
    ASSERT_TRUE(table.unmap(base + page_size, page_size));
    EXPECT_EQ(memory.tables(), 3u);
    EXPECT_TRUE(at(base + gib));
    ASSERT_TRUE(table.unmap(base + gib, 2 * mib));
    EXPECT_EQ(memory.tables(), 1u);
}

TEST_F(PageTableTest, UnmappingTakesHolesAndWholeSubtrees) {
    ASSERT_TRUE(table.map(base + page_size, HostPhys{0}, page_size, host::data));
    ASSERT_TRUE(table.map(base + 700 * mib, HostPhys{2 * mib}, 6 * mib, host::data));
    ASSERT_TRUE(table.map(base + 3 * gib, HostPhys{gib}, gib, host::data, PageSize::size_1g));
    replay(
        samples_of(base, 512 * gib), [&] { ASSERT_TRUE(table.unmap(base, 512 * gib)); },
        [](std::uint64_t a, MaybeSeen old) { return a - base < 512 * gib ? MaybeSeen{} : old; });
    EXPECT_EQ(memory.tables(), 1u);
}

TEST_F(PageTableTest, UnmappingAPageSplitsTheLargeOneAroundIt) {
    ASSERT_TRUE(table.map(base, HostPhys{gib}, gib, host::device, PageSize::size_1g));
    const std::uint64_t hole = base + 37 * mib + 0x5000;
    replay(
        samples_of(hole, page_size), [&] { ASSERT_TRUE(table.unmap(hole, page_size)); },
        [&](std::uint64_t a, MaybeSeen old) { return a - hole < page_size ? MaybeSeen{} : old; });
    // All the rest translates as before, in the pieces that are left.
    for (std::uint64_t a = base; a < base + gib; a += 4 * kib) {
        if (a == hole) continue;
        ASSERT_EQ(at(a), seen(gib + (a - base), host::device)) << std::hex << a;
    }
    EXPECT_EQ(at(base)->page, 2 * mib);
    EXPECT_EQ(at(hole + page_size)->page, page_size);
}

TEST_F(PageTableTest, RemappingSplitsAndMerges) {
    ASSERT_TRUE(table.map(base, HostPhys{gib}, gib, host::constants, PageSize::size_1g));
    // One page of a large one becomes a private copy.
    const std::uint64_t page = base + 3 * mib;
    replay(
        samples_of(page, page_size), [&] { ASSERT_TRUE(table.remap(page, HostPhys{0x9000}, page_size, host::data)); },
        [&](std::uint64_t a, MaybeSeen old) {
            return a - page < page_size ? MaybeSeen{seen(0x9000 + (a - page), host::data)} : old;
        });
    // And the whole becomes one large page again: a single write, then the tables go.
    memory.writes = 0;
    replay(
        samples_of(base, gib),
        [&] { ASSERT_TRUE(table.remap(base, HostPhys{4 * gib}, gib, host::data, PageSize::size_1g)); },
        [&](std::uint64_t a, MaybeSeen old) {
            return a - base < gib ? MaybeSeen{seen(4 * gib + (a - base), host::data)} : old;
        });
    EXPECT_EQ(memory.writes, 1u);
    EXPECT_EQ(memory.tables(), 2u);
}

TEST_F(PageTableTest, MapWithoutMemoryLeavesNothingBehind) {
    ASSERT_TRUE(table.map(base + 512 * gib, HostPhys{0}, page_size, host::data));
    const auto before = memory.snapshot();
    // A PML4 entry that is empty so far takes three tables: fails after each number of them.
    const std::uint64_t input = base + 512 * gib - page_size;
    for (std::size_t more = 0; more < 3; ++more) {
        memory.limit = before.size() + more;
        replay(
            samples_of(input, page_size),
            [&] {
                EXPECT_EQ(table.map(input, HostPhys{0x4000}, page_size, host::data),
                          std::unexpected(MapError::out_of_memory));
            },
            [](std::uint64_t, MaybeSeen old) { return old; });
        EXPECT_EQ(memory.snapshot(), before) << more;
    }
    memory.limit = before.size() + 3;
    EXPECT_TRUE(table.map(input, HostPhys{0x4000}, page_size, host::data));
}

TEST_F(PageTableTest, UnmapWithoutMemoryChangesNoTranslation) {
    ASSERT_TRUE(table.map(base, HostPhys{0}, 2 * gib, host::data, PageSize::size_1g));
    const std::uint64_t from = base + page_size, size = 2 * gib - 2 * page_size;
    // Both edges split twice.
    for (std::size_t more = 0; more < 4; ++more) {
        memory.limit = memory.tables() + (more > 0 ? 1 : 0);
        replay(
            samples_of(from, size),
            [&] { EXPECT_EQ(table.unmap(from, size), std::unexpected(MapError::out_of_memory)); },
            [](std::uint64_t, MaybeSeen old) { return old; });
    }
    memory.limit = memory.tables() + 1;
    EXPECT_TRUE(table.unmap(from, size));
    EXPECT_EQ(at(base + page_size - 1), seen(page_size - 1, host::data));
    EXPECT_FALSE(at(base + page_size));
    EXPECT_EQ(at(base + 2 * gib - page_size), seen(2 * gib - page_size, host::data));
}

TEST_F(PageTableTest, CreatingWithoutMemoryIsAnError) {
    FakeMemory none;
    none.limit = 0;
    EXPECT_FALSE(Table::create(FakeStore{&none}));
}

TEST_F(PageTableTest, DestroyFreesEveryTable) {
    ASSERT_TRUE(table.map(0, HostPhys{0}, 5 * gib + 7 * page_size, host::data, PageSize::size_1g));
    ASSERT_TRUE(table.map(base, HostPhys{page_size}, 4 * mib, host::data));
    table.destroy();
    EXPECT_EQ(memory.tables(), 0u);
}

// Random operations against a map of single pages, with and without memory for them.
TEST_F(PageTableTest, RandomOperationsMatchAModel) {
    std::mt19937_64 random(20240229);
    const auto below = [&](std::uint64_t n) { return random() % n; };
    // Around a 1-GiB line and a 512-GiB line.
    const std::uint64_t windows[] = {base + gib - 4 * mib, base + 512 * gib - 4 * mib};
    constexpr std::uint64_t window_pages = 8 * mib / page_size;
    const HostAttributes kinds[] = {host::code, host::constants, host::data, host::device};
    std::map<std::uint64_t, Seen> model;

    for (int step = 0; step < 400; ++step) {
        const std::uint64_t window = windows[below(2)];
        std::uint64_t first = below(window_pages), count = 1 + below(8);
        if (below(2) == 0) {  // whole 2-MiB pages
            first = below(4) * 512;
            count = 512 * (1 + below(2));
        } else if (below(4) == 0) {
            count = 1 + below(1500);
        }
        count = std::min(count, window_pages - first);
        const std::uint64_t input = window + first * page_size, size = count * page_size;
        const std::uint64_t output = below(2) == 0 ? input % (4 * gib) : below(1 << 20) * page_size;
        const HostAttributes attributes = kinds[below(4)];
        memory.limit = memory.tables() + below(6);
        const std::size_t tables_before = memory.tables();
        const auto operation = below(3);

        bool occupied = false;
        for (std::uint64_t a = input; a < input + size; a += page_size) occupied = occupied || model.contains(a);
        Table::Result result;
        replay(
            samples_of(input, size),
            [&] {
                if (operation == 0) result = table.map(input, HostPhys{output}, size, attributes);
                if (operation == 1) result = table.remap(input, HostPhys{output}, size, attributes);
                if (operation == 2) result = table.unmap(input, size);
            },
            [&](std::uint64_t a, MaybeSeen old) -> MaybeSeen {
                // While the operation runs nobody knows whether it will fail; afterwards the model decides.
                if (memory.on_write == nullptr && !result) return old;
                if (a - input >= size) return old;
                if (operation == 2) return std::nullopt;
                return seen(output + (a - input), attributes);
            });
        if (operation == 0 && occupied) {
            EXPECT_EQ(result, std::unexpected(MapError::overlapping));
        } else if (!result) {
            EXPECT_EQ(result, std::unexpected(MapError::out_of_memory));
        }
        if (operation == 0 && !result) {
            EXPECT_EQ(memory.tables(), tables_before);
        }
        if (result) {
            for (std::uint64_t a = input; a < input + size; a += page_size) {
                if (operation == 2)
                    model.erase(a);
                else
                    model[a] = seen(output + (a - input), attributes);
            }
        }
        for (const std::uint64_t w : windows) {
            for (std::uint64_t a = w; a < w + window_pages * page_size; a += page_size) {
                const auto expected = model.find(a);
                ASSERT_EQ(at(a), expected == model.end() ? MaybeSeen{} : MaybeSeen{expected->second})
                    << "step " << step << " at " << std::hex << a;
            }
        }
        if (HasFailure()) return;
    }
    memory.limit = ~0ull;
    for (const std::uint64_t w : windows) ASSERT_TRUE(table.unmap(w, window_pages * page_size));
    EXPECT_EQ(memory.tables(), 1u);
}

TEST(FrameStoreTest, TablesComeFromTheOwnersBudget) {
    std::vector<std::byte> memory(64 * page_size + page_size);
    auto* aligned = reinterpret_cast<std::byte*>((reinterpret_cast<std::uintptr_t>(memory.data()) + page_size - 1) &
                                                 ~(page_size - 1));
    FramePool pool;
    pool.initialize(HostPhys{16 * mib}, {aligned, 64 * page_size});
    pool.set_budget(OwnerId::first_guest, 4);
    auto table = PageTable<HostFormat, FrameStore>::create(FrameStore(pool, OwnerId::first_guest));
    ASSERT_TRUE(table);
    EXPECT_TRUE(table->map(base, HostPhys{0x5000}, page_size, host::data));
    EXPECT_EQ(pool.used(OwnerId::first_guest), 4u);
    EXPECT_EQ(table->map(base + gib, HostPhys{0x5000}, page_size, host::data),
              std::unexpected(MapError::out_of_memory));
    EXPECT_EQ(pool.used(OwnerId::first_guest), 4u);
    EXPECT_EQ(table->lookup(base)->output, HostPhys{0x5000});
    table->destroy();
    EXPECT_EQ(pool.used(OwnerId::first_guest), 0u);
}

}  // namespace
}  // namespace bulkhead::mm
