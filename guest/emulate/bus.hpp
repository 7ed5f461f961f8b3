// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <expected>
#include <span>

#include "arch/isa/exception.hpp"
#include "guest/bus.hpp"
#include "guest/memory.hpp"

namespace bulkhead::guest::emulator {

// Guest-physical memory as the emulated processor reaches it: RAM or a device. One call is one operand, or its part in
// one page; it never crosses a page and has 1 to 16 bytes. A read-modify-write is a read and a write: the caller keeps
// other vCPUs away from the device meanwhile. False where the access cannot be emulated.
class Bus {
  public:
    [[nodiscard]] virtual bool read(GuestPhys from, std::span<std::byte> to) = 0;
    [[nodiscard]] virtual bool write(GuestPhys to, std::span<const std::byte> from) = 0;
    // Whether these bytes of one page are RAM or nobody's: then one call may be for many operands, and succeeds.
    virtual bool takes_runs(GuestPhys first, unsigned size) const = 0;

  protected:
    ~Bus() = default;
};

struct Access {
    enum class Kind : std::uint8_t { read, write, execute };
    Kind kind{Kind::read};
    bool user{};      // CPL 3
    bool implicit{};  // of the processor itself, to a descriptor table or a TSS: supervisor whatever the CPL
};

// Guest-linear to guest-physical, with the rights that the guest's paging gives.
class Translate {
  public:
    virtual std::expected<GuestPhys, isa::Fault> translate(GuestVirt address, Access access) = 0;

  protected:
    ~Translate() = default;
};

// The I/O ports for INS and OUTS. The processor has already checked IOPL and the I/O permission bitmap: those faults
// come before the VM exit (SDM volume 3, 25.1.1).
class Ports {
  public:
    virtual std::uint32_t in(std::uint16_t port, unsigned size) = 0;
    virtual void out(std::uint16_t port, unsigned size, std::uint32_t value) = 0;
    // One access after the other, of `size` bytes each.
    virtual void in_run(std::uint16_t port, unsigned size, std::span<std::byte> to) = 0;
    virtual void out_run(std::uint16_t port, unsigned size, std::span<const std::byte> from) = 0;

  protected:
    ~Ports() = default;
};

// The usual bus: devices where one is claimed, else RAM, else nobody: all ones, and writes are lost. A device sees an
// access in naturally aligned pieces of at most 8 bytes.
class MachineBus final : public Bus {
  public:
    MachineBus(Memory& memory, MmioBus& mmio) : memory_(memory), mmio_(mmio) {}
    bool read(GuestPhys from, std::span<std::byte> to) override;
    bool write(GuestPhys to, std::span<const std::byte> from) override;
    // A device's range begins with a page.
    bool takes_runs(GuestPhys first, unsigned size) const override {
        return !mmio_.claimed(first) && !mmio_.claimed(first + (size - 1));
    }

  private:
    Memory& memory_;
    MmioBus& mmio_;
};

}  // namespace bulkhead::guest::emulator
