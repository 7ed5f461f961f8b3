// SPDX-License-Identifier: Apache-2.0
// The moves between XMM registers and memory or general registers.
#include <algorithm>
#include <cstring>

#include "guest/emulate/execute.hpp"

namespace bulkhead::guest::emulator {

namespace {
using Kind = Operand::Kind;
}

Execution::Bytes Execution::sse_register(const Operand& operand) const {
    Bytes bytes{};
    if (operand.kind == Kind::gpr) {
        const std::uint64_t value = register_value(operand);
        std::memcpy(bytes.data(), &value, sizeof value);
        return bytes;
    }
    std::array<std::uint64_t, 2> halves = cpu_.xmm(operand.number);
    if (operand.kind == Kind::xmm_high) halves[0] = halves[1];
    std::memcpy(bytes.data(), halves.data(), bytes.size());
    return bytes;
}

// `bytes` beyond the operand's size are zero.
void Execution::set_sse_register(const Operand& operand, const Bytes& bytes) {
    std::array<std::uint64_t, 2> halves{};
    std::memcpy(halves.data(), bytes.data(), bytes.size());
    if (operand.kind == Kind::gpr) return set_register(operand, halves[0]);
    if (insn_.operation == Operation::SSE_MERGE) {
        const std::uint64_t loaded = halves[0];
        halves = cpu_.xmm(operand.number);
        halves[operand.kind == Kind::xmm_high ? 1 : 0] = loaded;
    }
    cpu_.set_xmm(operand.number, halves);
}

Expected<void> Execution::sse_move() {
    if ((cpu_.cr0() & isa::cr0::EM) || !(cpu_.cr4() & isa::cr4::OSFXSR)) return stop(isa::invalid_opcode);
    if (cpu_.cr0() & isa::cr0::TS) return stop({isa::Exception::NM, std::nullopt, 0});
    const unsigned size = insn_.operand_size;
    Bytes bytes{};
    if (insn_.source.kind == Kind::memory) {
        const auto location = locate(Access::Kind::read, size);
        if (!location) return std::unexpected(location.error());
        const auto read = memory_.read(*location, bytes);
        if (!read) return read;
    } else {
        bytes = sse_register(insn_.source);
        std::fill(bytes.begin() + size, bytes.end(), std::byte{});
    }
    if (insn_.destination.kind != Kind::memory) {
        set_sse_register(insn_.destination, bytes);
        return {};
    }
    const auto location = locate(Access::Kind::write, size);
    if (!location) return std::unexpected(location.error());
    return memory_.write(*location, bytes);
}

}  // namespace bulkhead::guest::emulator
