// SPDX-License-Identifier: Apache-2.0
// String instructions, repeated or not (SDM volume 1, 7.3.9; volume 2, REP).
#include <algorithm>

#include "guest/emulate/execute.hpp"

namespace bulkhead::guest::emulator {

namespace {

using isa::Gpr;

constexpr Operand accumulator(unsigned size) {
    return {Operand::Kind::gpr, static_cast<std::uint8_t>(Gpr::RAX), static_cast<std::uint8_t>(size)};
}

}  // namespace

// A fault in the middle leaves the registers of the iterations that were completed, and the flags of before the
// instruction.
Expected<Outcome> Execution::string() {
    if (insn_.repeat == Repeat::none) {
        const auto done = string_iteration();
        if (!done) return std::unexpected(done.error());
        set_flags(flags_);
        return Outcome::done;
    }
    // With TF set there is a trap after each iteration, and with a breakpoint after that which meets it (SDM volume 3,
    // 17.3.1.2 and 17.3.1.4).
    const bool traced = (cpu_.rflags() & isa::rflags::TF) || cpu_.breakpoints_enabled();
    unsigned budget = traced ? 1 : repeat_chunk;
    const unsigned size = insn_.address_size;
    bool finished = address_register(Gpr::RCX, size) == 0;
    while (!finished && budget != 0) {
        unsigned iterations = port_run(budget);
        if (iterations == 0) {
            const auto done = string_iteration();
            if (!done) return std::unexpected(done.error());
            iterations = 1;
        }
        budget -= iterations;
        const std::uint64_t left = address_register(Gpr::RCX, size) - iterations;
        set_address_register(Gpr::RCX, size, left);
        finished = left == 0 || comparison_ends();
    }
    set_flags(flags_);
    return finished ? Outcome::done : Outcome::restart;
}

Expected<void> Execution::string_iteration() {
    switch (insn_.operation) {
        case Operation::CMPS:
        case Operation::SCAS: return string_compare();
        case Operation::INS:
        case Operation::OUTS: return string_port();
        default: return string_move();
    }
}

// REPE goes on while ZF is set, REPNE while it is clear; both mean REP for an instruction that does not compare.
bool Execution::comparison_ends() const {
    if (insn_.operation != Operation::CMPS && insn_.operation != Operation::SCAS) return false;
    const bool equal = flags_ & isa::rflags::ZF;
    return equal != (insn_.repeat == Repeat::equal);
}

Expected<Location> Execution::string_source() {
    return memory_.locate(insn_.memory.segment, address_register(Gpr::RSI, insn_.address_size), insn_.operand_size,
                          Access::Kind::read);
}

// ES cannot be overridden.
Expected<Location> Execution::string_destination(Access::Kind kind) {
    return memory_.locate(isa::Segment::ES, address_register(Gpr::RDI, insn_.address_size), insn_.operand_size, kind);
}

void Execution::advance_pointer(Gpr r, unsigned iterations) {
    const std::uint64_t size = insn_.operand_size * iterations;
    const std::uint64_t step = flags_ & isa::rflags::DF ? 0 - size : size;
    set_address_register(r, insn_.address_size, cpu_.gpr(r) + step);
}

// MOVS, LODS, STOS.
Expected<void> Execution::string_move() {
    const bool from_memory = insn_.operation != Operation::STOS;
    const bool to_memory = insn_.operation != Operation::LODS;
    Location source{}, destination{};
    if (from_memory) {
        const auto located = string_source();
        if (!located) return std::unexpected(located.error());
        source = *located;
    }
    if (to_memory) {
        const auto located = string_destination(Access::Kind::write);
        if (!located) return std::unexpected(located.error());
        destination = *located;
    }
    const Operand acc = accumulator(insn_.operand_size);
    const auto value = from_memory ? memory_.read(source) : register_value(acc);
    if (!value) return std::unexpected(value.error());
    if (to_memory) {
        const auto written = memory_.write(destination, *value);
        if (!written) return written;
        advance_pointer(Gpr::RDI);
    } else {
        set_register(acc, *value);
    }
    if (from_memory) advance_pointer(Gpr::RSI);
    return {};
}

// CMPS, SCAS.
Expected<void> Execution::string_compare() {
    const bool two = insn_.operation == Operation::CMPS;
    Location left{};
    if (two) {
        const auto located = string_source();
        if (!located) return std::unexpected(located.error());
        left = *located;
    }
    const auto right = string_destination(Access::Kind::read);
    if (!right) return std::unexpected(right.error());
    const auto a = two ? memory_.read(left) : register_value(accumulator(insn_.operand_size));
    if (!a) return std::unexpected(a.error());
    const auto b = memory_.read(*right);
    if (!b) return std::unexpected(b.error());
    flags_ = binary(Operation::CMP, insn_.operand_size, *a, *b, flags_).rflags;
    if (two) advance_pointer(Gpr::RSI);
    advance_pointer(Gpr::RDI);
    return {};
}

// INS, OUTS.
Expected<void> Execution::string_port() {
    if (!ports_) return unsupported();
    const auto port = static_cast<std::uint16_t>(cpu_.gpr(Gpr::RDX));
    const unsigned size = insn_.operand_size;
    if (insn_.operation == Operation::INS) {
        const auto destination = string_destination(Access::Kind::write);
        if (!destination) return std::unexpected(destination.error());
        const auto written = memory_.write(*destination, std::uint64_t{ports_->in(port, size)});
        if (!written) return written;
        advance_pointer(Gpr::RDI);
        return {};
    }
    const auto source = string_source();
    if (!source) return std::unexpected(source.error());
    const auto value = memory_.read(*source);
    if (!value) return std::unexpected(value.error());
    ports_->out(port, size, static_cast<std::uint32_t>(*value & mask_of(size)));
    advance_pointer(Gpr::RSI);
    return {};
}

// Many iterations of INS or OUTS at once, which disks' data pass by: how many were done. 0: the next one has to be done
// by itself, as it may fault or reach a device.
unsigned Execution::port_run(unsigned most) {
    const bool in = insn_.operation == Operation::INS;
    if ((!in && insn_.operation != Operation::OUTS) || !ports_ || flags_ & isa::rflags::DF) return 0;
    std::array<std::byte, 512> bytes;
    const unsigned size = insn_.operand_size, address_size = insn_.address_size;
    const Gpr pointer = in ? Gpr::RDI : Gpr::RSI;
    const std::uint64_t offset = address_register(pointer, address_size);
    const std::uint64_t before_wrap = (mask_of(address_size) - offset) / size;
    const auto wanted = static_cast<unsigned>(
        std::min({address_register(Gpr::RCX, address_size), before_wrap, std::uint64_t{bytes.size() / size},
                  std::uint64_t{most}}));
    if (wanted < 2) return 0;
    const auto run = memory_.locate_run(in ? isa::Segment::ES : insn_.memory.segment, offset, size, wanted,
                                        in ? Access::Kind::write : Access::Kind::read);
    if (run.count == 0) return 0;
    const auto data = std::span{bytes}.first(run.count * size);
    const auto port = static_cast<std::uint16_t>(cpu_.gpr(Gpr::RDX));
    if (in) {
        ports_->in_run(port, size, data);
        memory_.write_run(run, data);
    } else {
        memory_.read_run(run, data);
        ports_->out_run(port, size, data);
    }
    advance_pointer(pointer, run.count);
    return run.count;
}

}  // namespace bulkhead::guest::emulator
