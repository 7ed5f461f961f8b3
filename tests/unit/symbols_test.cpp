// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <vector>

#include "arch/cpu/backtrace.hpp"
#include "arch/cpu/layout.hpp"

namespace bulkhead::cpu {
namespace {

constexpr char strings[] = "first\0second\0third";
const std::vector<SymbolEntry> entries = {{0x100, 0}, {0x180, 6}, {0x200, 13}};

TEST(Symbols, TheFunctionThatHoldsAnAddress) {
    const struct {
        std::uint64_t offset;
        std::string_view name;
        std::uint64_t into;
    } cases[] = {{0x100, "first", 0},    {0x101, "first", 1},    {0x17f, "first", 0x7f}, {0x180, "second", 0},
                 {0x1ff, "second", 0x7f}, {0x200, "third", 0}, {0x1000, "third", 0xe00}};
    for (const auto& c : cases) {
        SCOPED_TRACE(c.offset);
        const auto symbol = find_symbol(entries, strings, c.offset);
        ASSERT_TRUE(symbol.has_value());
        EXPECT_EQ(symbol->name, c.name);
        EXPECT_EQ(symbol->offset, c.into);
    }
}

TEST(Symbols, NoneBelowTheFirst) { EXPECT_FALSE(find_symbol(entries, strings, 0xff).has_value()); }
TEST(Symbols, NoneInAnEmptyTable) { EXPECT_FALSE(find_symbol({}, strings, 0x100).has_value()); }

// Each stack has memory that is never mapped on both sides.
TEST(StackLayout, GuardsOnBothSides) {
    using namespace layout;
    EXPECT_EQ(classify(stacks_base), StackAddress::guard);
    EXPECT_EQ(classify(stacks_base - 1), StackAddress::elsewhere);
    for (unsigned i = 0; i < stack_count; ++i) {
        const auto stack = static_cast<Stack>(i);
        EXPECT_EQ(stack_top(stack) - stack_bottom(stack), stack_size);
        EXPECT_TRUE(stack_top(stack).is_aligned(page_size));
        EXPECT_EQ(classify(stack_top(stack) - 1), StackAddress::stack);
        EXPECT_EQ(classify(stack_bottom(stack)), StackAddress::stack);
        EXPECT_EQ(classify(stack_bottom(stack) - 1), StackAddress::guard);
        EXPECT_EQ(classify(stack_bottom(stack) - page_size), StackAddress::guard);
        EXPECT_NE(classify(stack_top(stack)), StackAddress::stack);
    }
}

}  // namespace
}  // namespace bulkhead::cpu
