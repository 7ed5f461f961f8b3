// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <stdexcept>

#include "arch/isa/registers.hpp"

// Executes one instruction on the processor that runs the test, with all its general, flag and XMM registers given.
namespace {

struct NativeState {
    bulkhead::isa::Registers gpr;
    std::uint64_t rflags;
    std::array<std::array<std::uint64_t, 2>, 16> xmm;
};

class NativeCpu {
  public:
    static constexpr std::size_t data_pages = 2;

    NativeCpu() {
        // Below 2 GiB: absolute 32-bit addresses reach it, from 32-bit code too.
        void* memory = mmap(nullptr, total, PROT_READ | PROT_WRITE | PROT_EXEC,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
        if (memory == MAP_FAILED) throw std::runtime_error("mmap");
        base_ = static_cast<std::byte*>(memory);
        // 64-bit processes run with null DS and ES, which 32-bit code cannot use.
        const std::uint16_t ss = selector_ss();
        asm volatile("mov %0, %%ds; mov %0, %%es" : : "r"(ss));
    }
    ~NativeCpu() { munmap(base_, total); }
    NativeCpu(const NativeCpu&) = delete;
    NativeCpu& operator=(const NativeCpu&) = delete;

    std::span<std::byte> data() { return {base_ + 2 * page, data_pages * page}; }
    std::uint64_t data_address() const { return address(2 * page); }
    // Chooses between 64-bit and 32-bit code; gives the address at which instructions will run.
    std::uint64_t prepare(bool long_mode) {
        emit(long_mode);
        return address(instruction_);
    }
    static std::uint16_t selector_ss() {
        std::uint16_t value;
        asm("mov %%ss, %0" : "=r"(value));
        return value;
    }

    void run(std::span<const std::byte> instruction, NativeState& state) {
        std::memcpy(base_, &state, sizeof state);
        std::byte* const slot = base_ + instruction_;
        std::ranges::copy(instruction, slot);
        std::fill(slot + instruction.size(), slot + longest, nop);
        std::bit_cast<void (*)()>(base_ + page)();
        std::memcpy(&state, base_, sizeof state);
    }

  private:
    static constexpr std::size_t page = 4096;
    static constexpr std::size_t total = (3 + data_pages) * page;
    static constexpr std::uint16_t cs_32 = 0x23, cs_64 = 0x33;  // Linux
    static constexpr std::size_t longest = 15;
    static constexpr std::byte nop{0x90};
    // Beside the state in the first page.
    static constexpr std::size_t saved_rsp = 2048, far_pointer = 2056, stack_top = 4096;

    std::uint64_t address(std::size_t offset) const { return reinterpret_cast<std::uint64_t>(base_) + offset; }

    void bytes(std::initializer_list<unsigned> list) {
        for (const unsigned b : list) base_[at_++] = static_cast<std::byte>(b);
    }
    void word32(std::uint64_t value) {
        const auto v = static_cast<std::uint32_t>(value);
        std::memcpy(base_ + at_, &v, sizeof v);
        at_ += sizeof v;
    }
    void word16(std::uint16_t value) {
        std::memcpy(base_ + at_, &value, sizeof value);
        at_ += sizeof value;
    }
    // opcode r, [absolute] with 64-bit operands, or with 32-bit ones in 32-bit code.
    void gpr(unsigned opcode, unsigned r, std::size_t offset, bool long_mode) {
        if (long_mode) bytes({0x48u | (r >= 8 ? 4u : 0u), opcode, 0x04u | (r & 7) << 3, 0x25});
        else bytes({opcode, 0x05u | r << 3});
        word32(address(offset));
    }
    void sse(unsigned opcode, unsigned r) {
        bytes({0x40u | (r >= 8 ? 4u : 0u), 0x0f, opcode, 0x04u | (r & 7) << 3, 0x25});
        word32(address(offsetof(NativeState, xmm) + 16 * r));
    }
    // RSP goes last when loading: the flags are loaded by a push.
    void gprs(unsigned opcode, bool long_mode) {
        for (unsigned r = 0; r < (long_mode ? 16u : 8u); ++r)
            if (r != 4) gpr(opcode, r, offsetof(NativeState, gpr) + 8 * r, long_mode);
        gpr(opcode, 4, offsetof(NativeState, gpr) + 8 * 4, long_mode);
    }
    void memory_operand(unsigned opcode, unsigned extension, std::size_t offset, bool long_mode) {
        bytes({opcode, extension << 3 | (long_mode ? 4u : 5u)});
        if (long_mode) bytes({0x25});
        word32(address(offset));
    }

    void emit(bool long_mode) {
        constexpr std::size_t flags = offsetof(NativeState, rflags);
        at_ = page;
        bytes({0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57});  // PUSH RBX, RBP, R12 to R15
        gpr(0x89, 4, saved_rsp, true);
        for (unsigned r = 0; r < 16; ++r) sse(0x10, r);
        if (!long_mode) to_32();
        memory_operand(0xff, 6, flags, long_mode);  // PUSH
        bytes({0x9d});                              // POPF
        gprs(0x8b, long_mode);
        instruction_ = at_;
        at_ += longest;
        gprs(0x89, long_mode);
        if (long_mode) gpr(0x8b, 4, saved_rsp, true);
        else own_stack_32();
        bytes({0x9c});                              // PUSHF
        memory_operand(0x8f, 0, flags, long_mode);  // POP
        if (!long_mode) to_64();
        for (unsigned r = 0; r < 16; ++r) sse(0x11, r);
        bytes({0xfc, 0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b, 0xc3});  // CLD, POP, RET
    }
    void to_32() {
        bytes({0xff, 0x2c, 0x25});  // JMP FAR [absolute]
        word32(address(far_pointer));
        const auto target = static_cast<std::uint32_t>(address(at_));
        std::memcpy(base_ + far_pointer, &target, sizeof target);
        std::memcpy(base_ + far_pointer + sizeof target, &cs_32, sizeof cs_32);
        own_stack_32();
    }
    void own_stack_32() {
        bytes({0xbc});  // MOV ESP, imm32
        word32(address(stack_top));
    }
    void to_64() {
        bytes({0xea});  // JMP FAR imm
        word32(address(at_ + 6));
        word16(cs_64);
        gpr(0x8b, 4, saved_rsp, true);
    }

    std::byte* base_{};
    std::size_t at_{};
    std::size_t instruction_{};
};

}  // namespace
