// SPDX-License-Identifier: Apache-2.0
// The instruction decoder on any bytes, held against a trusted one.
#include "guest/emulate/decode.hpp"

#include "tests/fuzz/fuzz.hpp"
#include "tests/unit/emulate_reference.hpp"

using fuzz::require;

// The comparison is that of the unit tests: here what it expects ends the run.
extern "C" int LLVMFuzzerInitialize(int* count, char*** arguments) {
    GTEST_FLAG_SET(throw_on_failure, true);
    testing::InitGoogleTest(count, *arguments);
    return 0;
}

FUZZ_TARGET(in) {
    const CodeSize sizes[] = {CodeSize::bits16, CodeSize::bits32, CodeSize::bits64};
    const CodeSize code = sizes[in.below(3)];
    const auto raw = in.bytes(20);
    const Bytes bytes(reinterpret_cast<const std::uint8_t*>(raw.data()),
                      reinterpret_cast<const std::uint8_t*>(raw.data()) + raw.size());
    const auto instruction = decode_bytes(bytes, code);
    if (!instruction) {
        require(instruction.error() != DecodeError::truncated || bytes.size() < longest_instruction,
                "15 bytes are enough for any instruction");
        if (bytes.size() < longest_instruction) return;
    } else {
        require(instruction->length != 0 && instruction->length <= std::min(bytes.size(), longest_instruction),
                "an instruction has 1 to 15 bytes, and those that were read");
        const auto again = decode_bytes({bytes.begin(), bytes.begin() + instruction->length}, code);
        require(again && again->length == instruction->length, "its own bytes are all that it needs");
        require(!decode_bytes({bytes.begin(), bytes.begin() + instruction->length - 1}, code), "and it needs them all");
    }
    std::size_t compared = 0;
    compare(bytes, code, compared);
}
