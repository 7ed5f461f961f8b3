// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

#include "arch/isa/control.hpp"
#include "arch/isa/registers.hpp"
#include "lib/address.hpp"

namespace bulkhead::guest {

// GDTR or IDTR.
struct DescriptorTable {
    std::uint64_t base{};
    std::uint16_t limit{};
};

// The architectural state of a vCPU as the models and the instruction emulator see it. Reads may cost a VMREAD each.
class CpuState {
  public:
    virtual std::uint64_t gpr(isa::Gpr r) const = 0;
    virtual void set_gpr(isa::Gpr r, std::uint64_t value) = 0;
    virtual std::uint64_t rip() const = 0;
    virtual void set_rip(std::uint64_t value) = 0;
    virtual std::uint64_t rflags() const = 0;
    virtual void set_rflags(std::uint64_t value) = 0;
    virtual isa::SegmentRegister segment(isa::Segment s) const = 0;
    virtual std::uint64_t cr0() const = 0;  // as the guest reads them
    virtual std::uint64_t cr3() const = 0;
    virtual std::uint64_t cr4() const = 0;
    virtual std::uint64_t efer() const = 0;
    virtual unsigned cpl() const = 0;
    // The hidden part too. With SS the CPL changes: it is the DPL there.
    virtual void set_segment(isa::Segment s, const isa::SegmentRegister& value) = 0;
    virtual DescriptorTable gdtr() const = 0;
    // PE and PG stay as they are.
    virtual void set_cr0(std::uint64_t value) = 0;
    // Of user pages, where CR4.PKE is set.
    virtual std::uint32_t pkru() const = 0;
    // The 128-bit register XMMn, for emulated SSE moves.
    virtual std::array<std::uint64_t, 2> xmm(unsigned n) const = 0;
    virtual void set_xmm(unsigned n, const std::array<std::uint64_t, 2>& value) = 0;
    // The breakpoints that the access to an operand in memory meets, as bits of the pending debug exceptions.
    virtual std::uint64_t breakpoints_at(GuestVirt, unsigned /*size*/, bool /*write*/) const { return 0; }
    virtual bool breakpoints_enabled() const { return false; }
    // MMn, as an MMX instruction reads and writes it: the x87 tag word becomes valid, TOS zero (SDM volume 1, 9.5.1).
    virtual std::uint64_t mm(unsigned n) = 0;
    virtual void set_mm(unsigned n, std::uint64_t value) = 0;
    virtual bool x87_exception_pending() const = 0;

  protected:
    ~CpuState() = default;
};

// The state in which a loader hands the first vCPU to its guest. What is not named here is as after reset.
struct InitialState {
    isa::Registers gpr{};
    std::uint64_t rip{}, rflags{isa::rflags::FIXED};
    std::uint64_t cr0{}, cr3{}, cr4{}, efer{};
    std::array<isa::SegmentRegister, 8> segments{};  // by isa::Segment
    std::uint64_t gdtr_base{}, idtr_base{};
    std::uint16_t gdtr_limit{}, idtr_limit{};
};

}  // namespace bulkhead::guest
