// SPDX-License-Identifier: Apache-2.0
#include "drivers/uart.hpp"

#include <algorithm>

#include "arch/cpu/instructions.hpp"

namespace bulkhead::drivers {
namespace {

// Registers, by offset; some have one meaning for reads and one for writes (data sheet, table II).
constexpr unsigned RBR = 0, THR = 0, DLL = 0, IER = 1, DLM = 1, IIR = 2, FCR = 2, LCR = 3, MCR = 4, LSR = 5, MSR = 6;

constexpr std::uint8_t ier_receive = 0x01, ier_transmit = 0x02;
constexpr std::uint8_t iir_none = 0x01, iir_cause = 0x0e, iir_fifo = 0xc0;
// Interrupt at the first byte received: the most time to fetch it before the FIFO overruns.
constexpr std::uint8_t fcr_enable_and_clear = 0x07;
constexpr std::uint8_t lcr_8n1 = 0x03, lcr_divisor = 0x80;
// OUT2 gates the interrupt onto the bus on a PC.
constexpr std::uint8_t mcr_dtr = 0x01, mcr_rts = 0x02, mcr_out2 = 0x08, mcr_loop = 0x10;
constexpr std::uint8_t lsr_data = 0x01, lsr_thre = 0x20, lsr_temt = 0x40;
constexpr std::uint8_t msr_lines = 0xf0, msr_cts = 0x10, msr_dcd = 0x80;

constexpr std::uint16_t divisor_115200 = 1;

// A full FIFO takes 1.4 ms to go out; a port read takes about 1 us on hardware, and about 0.2 us on the emulator.
constexpr unsigned poll_limit = 200'000;

}  // namespace

std::uint8_t Uart::read(unsigned reg) const {
    return cpu::in8(static_cast<std::uint16_t>(port_ + reg));
}
void Uart::write(unsigned reg, std::uint8_t value) const {
    cpu::out8(static_cast<std::uint16_t>(port_ + reg), value);
}

// Nothing at the port reads as all ones. In loop-back mode the modem outputs come back as modem inputs, on the 8250
// too, which has no scratch register: RTS as CTS, OUT2 as DCD.
bool Uart::detect() const {
    write(IER, 0);
    if (read(IER) != 0) return false;
    write(MCR, mcr_loop | mcr_rts | mcr_out2);
    const bool looped = (read(MSR) & msr_lines) == (msr_cts | msr_dcd);
    write(MCR, mcr_loop);
    const bool released = (read(MSR) & msr_lines) == 0;
    write(MCR, 0);
    return looped && released;
}

bool Uart::initialize() {
    present_ = detect();
    if (!present_) return false;

    interrupts_ = 0;
    write(LCR, lcr_divisor);
    write(DLL, divisor_115200 & 0xff);
    write(DLM, divisor_115200 >> 8);
    write(LCR, lcr_8n1);
    write(FCR, fcr_enable_and_clear);
    // 11b: FIFOs that work. 10b is the first 16550, whose FIFOs do not; they stay off.
    depth_ = (read(IIR) & iir_fifo) == iir_fifo ? 16 : 1;
    if (depth_ == 1) write(FCR, 0);
    write(MCR, mcr_dtr | mcr_rts | mcr_out2);
    // What the firmware left behind.
    read(LSR);
    read(MSR);
    read(IIR);
    read(RBR);
    return true;
}

bool Uart::transmitter_ready() const {
    return present_ && (read(LSR) & lsr_thre) != 0;
}

std::size_t Uart::transmit(std::span<const char> bytes) {
    if (bytes.empty() || !transmitter_ready()) return 0;
    const std::size_t count = std::min(bytes.size(), depth_);
    for (const char byte : bytes.first(count)) write(THR, static_cast<std::uint8_t>(byte));
    return count;
}

bool Uart::wait_for(std::uint8_t status) const {
    for (unsigned i = 0; i < poll_limit; ++i) {
        if ((read(LSR) & status) != 0) return true;
        cpu::pause();
    }
    return false;
}

void Uart::put_polled(char byte) {
    if (present_ && wait_for(lsr_thre)) write(THR, static_cast<std::uint8_t>(byte));
}

void Uart::drain() {
    if (present_) static_cast<void>(wait_for(lsr_temt));
}

std::optional<char> Uart::receive() {
    if (!present_ || (read(LSR) & lsr_data) == 0) return std::nullopt;
    return static_cast<char>(read(RBR));
}

void Uart::enable_receive_interrupt(bool on) {
    set_interrupt(ier_receive, on);
}
void Uart::enable_transmit_interrupt(bool on) {
    set_interrupt(ier_transmit, on);
}

void Uart::set_interrupt(std::uint8_t bit, bool on) {
    const auto wanted = static_cast<std::uint8_t>(on ? interrupts_ | bit : interrupts_ & ~bit);
    if (!present_ || wanted == interrupts_) return;
    interrupts_ = wanted;
    write(IER, interrupts_);
}

Uart::Event Uart::next_event() {
    if (!present_) return Event::none;
    const std::uint8_t cause = read(IIR);
    if ((cause & iir_none) != 0) return Event::none;
    switch (cause & iir_cause) {
        case 0x6:
            read(LSR);
            return Event::line_status;
        case 0x4:
        case 0xc:  // bytes below the trigger level have waited for four character times
            return Event::receive;
        case 0x2:
            return Event::transmit;
        default:
            read(MSR);
            return Event::modem_status;
    }
}

}  // namespace bulkhead::drivers
