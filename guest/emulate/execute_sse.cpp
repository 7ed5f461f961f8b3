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

// MOVD and MOVQ of the MMX registers.
Expected<void> Execution::mmx_move() {
    if (cpu_.cr0() & isa::cr0::EM) return stop(isa::invalid_opcode);
    if (cpu_.cr0() & isa::cr0::TS) return stop({isa::Exception::NM, std::nullopt, 0});
    if (cpu_.x87_exception_pending()) {
        if (!(cpu_.cr0() & isa::cr0::NE)) return unsupported();  // reported by FERR#
        return stop({isa::Exception::MF, std::nullopt, 0});
    }
    const unsigned size = insn_.operand_size;
    if (insn_.operation == Operation::MMX_LOAD) {
        const Operand& from = insn_.source;
        const auto value = from.kind == Kind::mm ? cpu_.mm(from.number & 7u) : value_of(from);
        if (!value) return std::unexpected(value.error());
        cpu_.set_mm(insn_.destination.number & 7u, *value & mask_of(size));
        return {};
    }
    Location location{};
    if (insn_.destination.kind == Kind::memory) {
        const auto located = locate(Access::Kind::write, size);
        if (!located) return std::unexpected(located.error());
        location = *located;
    }
    const std::uint64_t value = cpu_.mm(insn_.source.number & 7u);
    if (insn_.destination.kind != Kind::mm) return store(insn_.destination, location, value);
    cpu_.set_mm(insn_.destination.number & 7u, value);
    return {};
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
