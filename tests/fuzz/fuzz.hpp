// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <vector>

#include "guest/clock.hpp"

// What the targets share. A target is one file: it turns an input into operations on one thing, and requires what has
// to hold whatever the input is.
namespace bulkhead::fuzz {

inline void require(bool holds, const char* property) {
    if (holds) return;
    std::fprintf(stderr, "fuzz: does not hold: %s\n", property);
    std::abort();
}

class Input : public FuzzedDataProvider {
  public:
    using FuzzedDataProvider::FuzzedDataProvider;

    template <class T>
    T any() {
        return ConsumeIntegral<T>();
    }
    // From 0 to `limit` - 1.
    unsigned below(unsigned limit) { return ConsumeIntegralInRange<unsigned>(0, limit - 1); }
    bool chance() { return ConsumeBool(); }
    // Of a port or a register: 1, 2, 4, and 8 where `widest` is that.
    unsigned size(unsigned widest = 4) { return 1u << below(widest == 8 ? 4 : 3); }
    std::vector<std::byte> bytes(std::size_t most) { return ConsumeBytes<std::byte>(most); }
    std::vector<std::byte> rest() { return ConsumeRemainingBytes<std::byte>(); }

    // Runs `operation` until the input is used up, and not more than so often.
    template <class Operation>
    void repeat(Operation operation, unsigned most = 256) {
        for (unsigned n = 0; n < most && remaining_bytes() != 0; ++n) operation();
    }
};

// The time of a guest and its timers.
class Time {
  public:
    static constexpr std::uint64_t hz = 50'000'000;

    // A little, much, or up to the next deadline.
    void pass(Input& in) {
        switch (in.below(3)) {
            case 0:
                return pass(in.any<std::uint8_t>());
            case 1:
                return pass(std::uint64_t{in.any<std::uint16_t>()} << in.below(16));
            default:
                if (timers.earliest() < clock.now + hz * 3600) pass(timers.earliest() - clock.now);
        }
    }
    void pass(guest::Tick ticks) {
        clock.now += ticks;
        timers.expire();
        require(timers.earliest() > clock.now, "what is due has been done");
    }

    guest::Clock clock{.now = 0, .hz = hz};
    guest::TimerQueue timers{clock};
};

// An access to one of a device's ports from `first` to `last`. As on the bus it begins at one of them.
template <class Device>
void access_port(Input& in, Device& device, std::uint16_t first, std::uint16_t last) {
    const auto port = static_cast<std::uint16_t>(first + in.below(last - first + 1u));
    const unsigned size = in.chance() ? 1 : in.size();
    if (in.chance())
        static_cast<void>(device.in(port, size));
    else
        device.out(port, size, size == 1 ? in.any<std::uint8_t>() : in.any<std::uint32_t>());
}

}  // namespace bulkhead::fuzz

// The body of a target: FUZZ_TARGET(in) { ... }.
#define FUZZ_TARGET(in)                                                                 \
    static void fuzz_one(bulkhead::fuzz::Input& in);                                    \
    extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) { \
        bulkhead::fuzz::Input input{data, size};                                        \
        fuzz_one(input);                                                                \
        return 0;                                                                       \
    }                                                                                   \
    static void fuzz_one(bulkhead::fuzz::Input& in)
