// SPDX-License-Identifier: Apache-2.0
#include "tests/differential/native.hpp"

#include <asm/ldt.h>
#include <csignal>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <stdexcept>

namespace bulkhead::differential {

namespace {

namespace ar = isa::access_rights;

constexpr std::size_t page = NativeCpu::page;
constexpr std::uint16_t cs_32 = 0x23, cs_64 = 0x33;  // Linux
constexpr std::uint16_t cs_16_ldt = 0x27, cs_32_ldt = 0x2f, gs_ldt = 0x37, scratch_ss_ldt = 0x3f;
// Beside the state in the first page.
constexpr std::size_t saved_rsp = 2048, far_pointer = 2056, stack_top = 4096;
constexpr std::size_t code_offset = page;
constexpr std::byte nop{0x90};

// A fault ends the instruction: its state is what the signal says, and the tail of the stub goes on.
struct Recovery {
    NativeState* state;
    std::uint64_t resume;
    bool faulted;
    NativeFault fault;
} recovery;

void set_descriptor(unsigned entry, std::uint64_t base, const isa::SegmentRegister& s, bool& done) {
    user_desc d{};
    d.entry_number = entry;
    d.base_addr = static_cast<unsigned>(base);
    d.limit_in_pages = s.limit > 0xfffff;
    d.limit = d.limit_in_pages ? s.limit >> 12 : s.limit;
    d.seg_32bit = (s.rights & ar::DB) != 0;
    d.contents = s.rights >> 2 & 3;  // data, expand-down data, code
    d.read_exec_only = !(s.rights & 2);
    d.useable = 1;
    if (syscall(SYS_modify_ldt, 1, &d, sizeof d) != 0) done = false;
}

}  // namespace

// AC would be seen by the handler's own accesses.
extern "C" void native_fault_entry(int, siginfo_t*, void*);
extern "C" [[gnu::used]] void native_fault(int, siginfo_t*, void* context) {
    auto& gregs = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
    constexpr int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                               REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    // In 32-bit code there are no more than eight.
    const std::size_t registers = (gregs[REG_CSGSFS] & 0xffff) == cs_64 ? 16 : 8;
    for (std::size_t r = 0; r < registers; ++r)
        recovery.state->gpr.gpr[r] = static_cast<std::uint64_t>(gregs[order[r]]);
    recovery.state->rflags = static_cast<std::uint64_t>(gregs[REG_EFL]);
    recovery.faulted = true;
    recovery.fault = {static_cast<unsigned>(gregs[REG_TRAPNO]), static_cast<std::uint32_t>(gregs[REG_ERR]),
                      static_cast<std::uint64_t>(gregs[REG_CR2])};
    gregs[REG_RIP] = static_cast<greg_t>(recovery.resume);
    gregs[REG_EFL] = 0x202;
    const std::uint64_t selectors = static_cast<std::uint64_t>(gregs[REG_CSGSFS]) & 0x0000'ffff'ffff'0000;
    gregs[REG_CSGSFS] =
        static_cast<greg_t>(selectors | cs_64 | static_cast<std::uint64_t>(NativeCpu::flat_selector()) << 48);
}
asm(".text; native_fault_entry: pushf; andl $~0x40000, (%rsp); popf; jmp native_fault");

NativeCpu::NativeCpu() {
    // Below 2 GiB: absolute 32-bit addresses reach it, from 32-bit code too.
    void* memory = mmap(nullptr, data_offset + data_size + page, PROT_READ | PROT_WRITE | PROT_EXEC,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED) throw std::runtime_error("mmap");
    memory_ = static_cast<std::byte*>(memory);
    (void)mlock(memory, data_offset + data_size);
    mprotect(memory_ + 2 * page, page, PROT_NONE);  // in front of the data
    mprotect(memory_ + data_offset + data_size, page, PROT_NONE);
    static std::array<std::byte, 65536> signal_stack;
    stack_t stack{};
    stack.ss_sp = signal_stack.data();
    stack.ss_size = signal_stack.size();
    sigaltstack(&stack, nullptr);
    struct sigaction action{};
    action.sa_sigaction = native_fault_entry;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP}) sigaction(signal, &action, nullptr);
    has_segments_ = true;
    const isa::SegmentRegister data{0, 0x93 | ar::DB, 0xffff, 0};
    set_descriptor(4, base(), {0, 0x9b, 0xffff, 0}, has_segments_);
    set_descriptor(5, base(), {0, 0x9b | ar::DB, 0xffff, 0}, has_segments_);
    set_descriptor(6, base(), data, has_segments_);
    set_descriptor(7, base(), data, has_segments_);
}

NativeCpu::~NativeCpu() { munmap(memory_, data_offset + data_size + page); }

std::uint16_t NativeCpu::flat_selector() {
    std::uint16_t value;
    asm("mov %%ss, %0" : "=r"(value));
    return value;
}

bool NativeCpu::set_segments(Mode mode, const isa::SegmentRegister& ds, const isa::SegmentRegister& es,
                             const isa::SegmentRegister& ss) {
    const std::uint32_t size = mode == Mode::segments32 ? ar::DB : 0;
    bool done = true;
    unsigned entry = 1;
    for (isa::SegmentRegister s : {ds, es, ss}) {
        s.rights = (s.rights & ~ar::DB) | size;
        set_descriptor(entry++, s.base, s, done);
    }
    return done;
}

void NativeCpu::prepare(Mode mode) {
    mode_ = mode;
    emit(mode);
}

void NativeCpu::fill(std::span<const std::byte> bytes) {
    std::byte* const readable = memory_ + data_offset + writable_pages * page;
    mprotect(readable, data_size - writable_pages * page, PROT_READ | PROT_WRITE);
    std::ranges::copy(bytes, memory_ + data_offset);
    mprotect(readable, data_size - writable_pages * page, PROT_READ);
}

std::optional<NativeFault> NativeCpu::run(std::span<const std::byte> instruction, NativeState& state) {
    auto* const there = reinterpret_cast<NativeState*>(memory_);
    std::memcpy(memory_, &state, sizeof state);
    std::byte* const slot = memory_ + instruction_;
    std::ranges::copy(instruction, slot);
    std::fill(slot + instruction.size(), slot + longest, nop);
    recovery.state = there;
    recovery.faulted = false;
    std::bit_cast<void (*)()>(memory_ + code_offset)();
    std::memcpy(&state, memory_, sizeof state);
    if (recovery.faulted) return recovery.fault;
    return std::nullopt;
}

// ---- the stub around the instruction

void NativeCpu::bytes(std::initializer_list<unsigned> list) {
    for (const unsigned b : list) memory_[at_++] = static_cast<std::byte>(b);
}
void NativeCpu::word(std::uint64_t value, unsigned size) {
    std::memcpy(memory_ + at_, &value, size);
    at_ += size;
}
// Of something in the first page, as a displacement: linear, or in the segment GS.
void NativeCpu::address(std::size_t offset) {
    const bool in_gs = mode_ == Mode::segments16 || mode_ == Mode::segments32;
    word(in_gs ? offset : base() + offset, mode_ == Mode::segments16 ? 2 : 4);
}

// MOV between a register and its place.
void NativeCpu::gpr(unsigned opcode, unsigned r) {
    switch (mode_) {
        case Mode::long64: bytes({0x48u | (r >= 8 ? 4u : 0u), opcode, 0x04u | (r & 7) << 3, 0x25}); break;
        case Mode::flat32: bytes({opcode, 0x05u | r << 3}); break;
        case Mode::segments32: bytes({0x65, opcode, 0x05u | r << 3}); break;
        case Mode::segments16: bytes({0x65, 0x66, opcode, 0x06u | r << 3}); break;
    }
    address(offsetof(NativeState, gpr) + 8 * r);
}
// RSP goes last when loading: the flags are loaded by a push.
void NativeCpu::gprs(unsigned opcode) {
    for (unsigned r = 0; r < (mode_ == Mode::long64 ? 16u : 8u); ++r)
        if (r != 4) gpr(opcode, r);
    gpr(opcode, 4);
}

void NativeCpu::far_jump(std::uint16_t selector) {
    bytes({0xff, 0x2c, 0x25});  // JMP FAR [absolute]
    word(base() + far_pointer, 4);
    const bool in_ldt = selector & 4;
    const std::uint64_t target = in_ldt ? at_ : base() + at_;
    std::memcpy(memory_ + far_pointer, &target, 4);
    std::memcpy(memory_ + far_pointer + 4, &selector, 2);
}
// MOV AX, imm16; MOV Sreg, AX
void NativeCpu::load_segment(unsigned reg, std::uint16_t selector) {
    if (mode_ != Mode::segments16) bytes({0x66});
    bytes({0xb8});
    word(selector, 2);
    bytes({0x8e, 0xc0u | reg << 3});
}

void NativeCpu::emit(Mode mode) {
    at_ = code_offset;
    emit_entry(mode);
    instruction_ = at_;
    at_ += longest;
    emit_exit(mode);
    emit_tail();
}

void NativeCpu::emit_entry(Mode mode) {
    constexpr std::size_t flags = offsetof(NativeState, rflags);
    bytes({0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57});  // PUSH RBX, RBP, R12 to R15
    bytes({0x48, 0x89, 0x24, 0x25});                                      // MOV [absolute], RSP
    word(base() + saved_rsp, 4);
    for (unsigned r = 0; r < 16; ++r) {
        bytes({0x40u | (r >= 8 ? 4u : 0u), 0x0f, 0x10, 0x04u | (r & 7) << 3, 0x25});  // MOVUPS
        word(base() + offsetof(NativeState, xmm) + 16 * r, 4);
    }
    for (unsigned r = 0; r < 8; ++r) {
        bytes({0x0f, 0x6f, 0x04u | r << 3, 0x25});  // MOVQ
        word(base() + offsetof(NativeState, mm) + 8 * r, 4);
    }
    mode_ = Mode::long64;
    switch (mode) {
        case Mode::long64:
            bytes({0xff, 0x34, 0x25});  // PUSH the flags
            word(base() + flags, 4);
            break;
        case Mode::flat32:
            load_segment(3, flat_selector());
            load_segment(0, flat_selector());
            far_jump(cs_32);
            mode_ = mode;
            bytes({0xbc});  // MOV ESP, imm32
            word(base() + stack_top, 4);
            bytes({0xff, 0x35});
            address(flags);
            break;
        case Mode::segments32:
        case Mode::segments16:
            load_segment(3, ds_selector);
            load_segment(0, es_selector);
            load_segment(5, gs_ldt);
            far_jump(mode == Mode::segments16 ? cs_16_ldt : cs_32_ldt);
            mode_ = mode;
            load_segment(2, scratch_ss_ldt);
            if (mode == Mode::segments16) bytes({0x66});
            bytes({0xbc});
            word(stack_top, 4);
            bytes({0x65});
            if (mode == Mode::segments16) bytes({0x66});
            bytes({0xff, mode == Mode::segments16 ? 0x36u : 0x35u});
            address(flags);
            break;
    }
    if (mode == Mode::segments16) bytes({0x66});
    bytes({0x9d});  // POPF
    if (mode == Mode::segments16 || mode == Mode::segments32) load_segment(2, ss_selector);
    gprs(0x8b);
}

void NativeCpu::emit_exit(Mode mode) {
    constexpr std::size_t flags = offsetof(NativeState, rflags);
    gprs(0x89);
    switch (mode) {
        case Mode::long64:
            bytes({0x48, 0x8b, 0x24, 0x25});
            word(base() + saved_rsp, 4);
            bytes({0x9c, 0x8f, 0x04, 0x25});  // PUSHF, POP
            word(base() + flags, 4);
            return;
        case Mode::flat32:
            bytes({0xbc});
            word(base() + stack_top, 4);
            bytes({0x9c, 0x8f, 0x05});
            address(flags);
            break;
        case Mode::segments32:
        case Mode::segments16:
            load_segment(2, scratch_ss_ldt);
            if (mode == Mode::segments16) bytes({0x66});
            bytes({0xbc});
            word(stack_top, 4);
            if (mode == Mode::segments16) bytes({0x66, 0x9c, 0x65, 0x66, 0x8f, 0x06});
            else bytes({0x9c, 0x65, 0x8f, 0x05});
            address(flags);
            if (mode == Mode::segments16) bytes({0x66});
            break;
    }
    bytes({0xea});  // JMP FAR imm
    word(base() + at_ + 6, 4);
    word(cs_64, 2);
    mode_ = Mode::long64;
    bytes({0x48, 0x8b, 0x24, 0x25});
    word(base() + saved_rsp, 4);
}

// 64-bit code, entered with any RSP after a fault.
void NativeCpu::emit_tail() {
    recovery.resume = base() + at_;
    bytes({0x48, 0x8b, 0x24, 0x25});
    word(base() + saved_rsp, 4);
    bytes({0x6a, 0x02, 0x9d});  // PUSH 2, POPF: no alignment checks and no direction flag any more
    load_segment(3, flat_selector());
    load_segment(0, flat_selector());
    load_segment(5, 0);
    for (unsigned r = 0; r < 16; ++r) {
        bytes({0x40u | (r >= 8 ? 4u : 0u), 0x0f, 0x11, 0x04u | (r & 7) << 3, 0x25});
        word(base() + offsetof(NativeState, xmm) + 16 * r, 4);
    }
    for (unsigned r = 0; r < 8; ++r) {
        bytes({0x0f, 0x7f, 0x04u | r << 3, 0x25});
        word(base() + offsetof(NativeState, mm) + 8 * r, 4);
    }
    // EMMS, POP, RET
    bytes({0x0f, 0x77, 0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b, 0xc3});
}

}  // namespace bulkhead::differential
