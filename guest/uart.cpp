// SPDX-License-Identifier: Apache-2.0
#include "guest/uart.hpp"

namespace bulkhead::guest {
namespace {

enum Reg : unsigned { RBR_THR_DLL = 0, IER_DLM = 1, IIR_FCR = 2, LCR = 3, MCR = 4, LSR = 5, MSR = 6, SCR = 7 };

namespace lsr {
constexpr std::uint8_t DR = 0x01, OE = 0x02, PE = 0x04, FE = 0x08, BI = 0x10, THRE = 0x20, TEMT = 0x40,
                       FIFO_ERROR = 0x80;
constexpr std::uint8_t of_character = PE | FE | BI;
constexpr std::uint8_t errors = OE | of_character;
}  // namespace lsr
namespace ier {
constexpr std::uint8_t ERBFI = 0x01, ETBEI = 0x02, ELSI = 0x04, EDSSI = 0x08, implemented = 0x0f;
}
namespace iir {
constexpr std::uint8_t none = 0x01, modem = 0x00, thre = 0x02, data = 0x04, timeout = 0x0c, line = 0x06, fifos = 0xc0;
}
namespace fcr {
constexpr std::uint8_t ENABLE = 0x01, CLEAR_RX = 0x02, CLEAR_TX = 0x04, kept = 0xc9;
}
namespace lcr {
constexpr std::uint8_t WLS = 0x03, STB = 0x04, PEN = 0x08, BREAK = 0x40, DLAB = 0x80;
}
namespace mcr {
constexpr std::uint8_t DTR = 0x01, RTS = 0x02, OUT1 = 0x04, OUT2 = 0x08, LOOP = 0x10, implemented = 0x1f;
}
namespace msr {
constexpr std::uint8_t TERI = 0x04, CTS = 0x10, DSR = 0x20, RI = 0x40, DCD = 0x80, deltas = 0x0f;
constexpr std::uint8_t connected = CTS | DSR | DCD;
}  // namespace msr

constexpr std::uint64_t clock_hz = 1'843'200;

}  // namespace

Uart::Uart(TimerQueue& timers, SerialPeer& peer, std::uint16_t base, Pacing pacing)
    : peer_(peer),
      base_(base),
      pacing_(pacing),
      lsr_(lsr::THRE | lsr::TEMT),
      msr_(msr::connected),
      transmit_timer_(timers, Delegate<void()>::to<&Uart::character_sent>(this)),
      receive_timer_(timers, Delegate<void()>::to<&Uart::character_received>(this)),
      timeout_timer_(timers, Delegate<void()>::to<&Uart::receive_timeout>(this)),
      timers_(timers) {
    character_time_ = compute_character_time();
}

bool Uart::fifos_enabled() const { return fcr_ & fcr::ENABLE; }
bool Uart::loopback() const { return mcr_ & mcr::LOOP; }
bool Uart::dlab() const { return lcr_ & lcr::DLAB; }
std::uint8_t Uart::data_mask() const { return static_cast<std::uint8_t>(0xff >> (3 - (lcr_ & lcr::WLS))); }
std::size_t Uart::receive_capacity() const { return fifos_enabled() ? fifo_size : 1; }

std::size_t Uart::trigger_level() const {
    constexpr std::uint8_t levels[] = {1, 4, 8, 14};
    return fifos_enabled() ? levels[fcr_ >> 6] : 1;
}

// Start, data, parity and stop bits, in half bits because five data bits may have one and a half stop bits.
Tick Uart::compute_character_time() const {
    const unsigned data_bits = 5 + (lcr_ & lcr::WLS);
    const unsigned stop_halves = !(lcr_ & lcr::STB) ? 2 : data_bits == 5 ? 3 : 4;
    const unsigned halves = 2 + 2 * data_bits + ((lcr_ & lcr::PEN) ? 2 : 0) + stop_halves;
    const std::uint64_t divisor = divisor_ != 0 ? divisor_ : 0x10000;
    return scale_up(halves * 16 * divisor, timers_.hz(), 2 * clock_hz);
}

std::uint32_t Uart::in(std::uint16_t port, unsigned size) {
    if (size == 1) [[likely]]
        return read(port - base_);
    return in_wide(port, size);
}

void Uart::out(std::uint16_t port, unsigned size, std::uint32_t value) {
    if (size == 1) [[likely]]
        return write(port - base_, static_cast<std::uint8_t>(value));
    out_wide(port, size, value);
}

std::uint32_t Uart::in_wide(std::uint16_t port, unsigned size) {
    return bytewise_in(port, size, [this](std::uint16_t p) { return p - base_ < 8 ? read(p - base_) : 0xff; });
}

void Uart::out_wide(std::uint16_t port, unsigned size, std::uint32_t value) {
    bytewise_out(port, size, value, [this](std::uint16_t p, std::uint8_t v) {
        if (p - base_ < 8) write(p - base_, v);
    });
}

std::uint8_t Uart::read(unsigned reg) {
    if (reg == LSR) [[likely]]
        return read_lsr();
    switch (reg) {
        case RBR_THR_DLL: return dlab() ? static_cast<std::uint8_t>(divisor_) : read_rbr();
        case IER_DLM: return dlab() ? static_cast<std::uint8_t>(divisor_ >> 8) : ier_;
        case IIR_FCR: return read_iir();
        case LCR: return lcr_;
        case MCR: return mcr_;
        case MSR: return read_msr();
        default: return scr_;
    }
}

void Uart::write(unsigned reg, std::uint8_t value) {
    busy_polls_ = 0;
    switch (reg) {
        case RBR_THR_DLL:
            if (!dlab()) [[likely]]
                return write_thr(value);
            divisor_ = static_cast<std::uint16_t>((divisor_ & 0xff00) | value);
            character_time_ = compute_character_time();
            return;
        case IER_DLM:
            if (!dlab()) return write_ier(value);
            divisor_ = static_cast<std::uint16_t>((divisor_ & 0x00ff) | value << 8);
            character_time_ = compute_character_time();
            return;
        case IIR_FCR: return write_fcr(value);
        case LCR: return write_lcr(value);
        case MCR: return write_mcr(value);
        case SCR: scr_ = value; return;
        default: return;  // LSR and MSR: factory test only
    }
}

// ---- transmitter ----

void Uart::write_thr(std::uint8_t value) {
    value &= data_mask();
    // The path of nearly every character: an idle, unpaced transmitter, and a partition with room.
    if (pacing_ == Pacing::instant && transmit_fifo_.empty() && !loopback() && peer_.put(value)) [[likely]] {
        thre_interrupt_ = true;
        if (ier_ & ier::ETBEI) update_irq();
        return;
    }
    if (!fifos_enabled()) transmit_fifo_.clear();  // a byte still in THR is overwritten
    // A full FIFO loses the byte, as the chip does.
    static_cast<void>(transmit_fifo_.push(value));
    lsr_ = static_cast<std::uint8_t>(lsr_ & ~(lsr::THRE | lsr::TEMT));
    thre_interrupt_ = false;
    start_transmission();
    update_irq();
}

void Uart::start_transmission() {
    if (pacing_ == Pacing::instant) {
        // The shift register takes no time, so a byte that the far end refuses stays in THR.
        while (!transmit_fifo_.empty()) {
            if (!deliver(transmit_fifo_.front())) return;
            static_cast<void>(transmit_fifo_.pop());
        }
    } else if (!shift_ && !transmit_fifo_.empty()) {
        shift_ = transmit_fifo_.pop();
        // Bytes that wait follow each other without a gap, however late the timer was served.
        line_busy_until_ = (idle_ ? timers_.now() : line_busy_until_) + character_time_;
        idle_ = false;
        transmit_timer_.arm(line_busy_until_);
    }
    if (transmit_fifo_.empty()) thr_emptied();
}

bool Uart::deliver(std::uint8_t byte) {
    blocked_ = !loopback() && !peer_.put(byte);
    if (!blocked_ && loopback()) receive({byte, 0});
    return !blocked_;
}

void Uart::thr_emptied() {
    if (!(lsr_ & lsr::THRE)) thre_interrupt_ = true;
    lsr_ |= lsr::THRE;
    if (!shift_) lsr_ |= lsr::TEMT;
    busy_polls_ = 0;  // who waited for this has something to see
}

// The last bit of a paced character has left.
void Uart::character_sent() {
    if (!deliver(*shift_)) return;
    shift_.reset();
    idle_ = transmit_fifo_.empty();
    start_transmission();
    update_irq();
}

void Uart::transmit_room() {
    if (!blocked_) return;
    line_busy_until_ = timers_.now();
    if (pacing_ == Pacing::baud) return character_sent();
    start_transmission();
    update_irq();
}

std::optional<Tick> Uart::busy_until() const {
    if (!poll_would_wait()) return std::nullopt;
    if (blocked_) return never;
    // The next change of LSR: THRE when the last byte of the FIFO enters the shift register, then TEMT.
    const std::size_t ahead = transmit_fifo_.empty() ? 0 : transmit_fifo_.size() - 1;
    return transmit_timer_.deadline() + ahead * character_time_;
}

// ---- receiver ----

void Uart::input_available() { pull_input(); }

void Uart::pull_input() {
    // The far end sees no connection to the receiver while it loops back.
    if (loopback()) return;
    if (pacing_ == Pacing::baud) {
        if (!receive_timer_.armed() && receive_fifo_.size() < receive_capacity()) character_received();
        return;
    }
    while (receive_fifo_.size() < receive_capacity()) {
        const std::optional<std::uint8_t> byte = peer_.get();
        if (!byte) break;
        receive({static_cast<std::uint8_t>(*byte & data_mask()), 0});
    }
    update_irq();
}

// One character's time has passed: the next one can be complete.
void Uart::character_received() {
    if (loopback() || receive_fifo_.size() >= receive_capacity()) return;
    const std::optional<std::uint8_t> byte = peer_.get();
    if (!byte) return;
    receive({static_cast<std::uint8_t>(*byte & data_mask()), 0});
    receive_timer_.arm(timers_.now() + character_time_);
    update_irq();
}

void Uart::receive(Received character) {
    if (receive_fifo_.size() >= receive_capacity()) {
        lsr_ |= lsr::OE;
        // With FIFOs the new byte is lost; without, it replaces the one in RBR.
        if (fifos_enabled()) return;
        receive_fifo_.clear();
    }
    static_cast<void>(receive_fifo_.push(character));
    lsr_ |= lsr::DR;
    busy_polls_ = 0;
    if (character.errors != 0 && fifos_enabled()) lsr_ |= lsr::FIFO_ERROR;
    if (receive_fifo_.size() == 1) expose_errors();
    restart_receive_timeout();
}

// An error shows in LSR when its character is the next to be read.
void Uart::expose_errors() {
    if (!receive_fifo_.empty()) lsr_ |= receive_fifo_.front().errors;
}

// Four character times without a byte coming in or being read.
void Uart::restart_receive_timeout() {
    timeout_interrupt_ = false;
    if (!fifos_enabled() || receive_fifo_.empty() || !(ier_ & ier::ERBFI))
        timeout_timer_.disarm();
    else
        timeout_timer_.arm(timers_.now() + 4 * character_time_);
}

void Uart::receive_timeout() {
    timeout_interrupt_ = true;
    update_irq();
}

std::optional<Uart::Received> Uart::pop_received() {
    const std::optional<Received> character = receive_fifo_.pop();
    if (!character) return character;
    if (receive_fifo_.empty()) lsr_ = static_cast<std::uint8_t>(lsr_ & ~lsr::DR);
    expose_errors();
    restart_receive_timeout();
    return character;
}

std::optional<std::uint8_t> Uart::withdraw() {
    const std::optional<Received> character = pop_received();
    if (!character) return std::nullopt;
    update_irq();
    return character->byte;
}

std::uint8_t Uart::read_rbr() {
    const std::optional<Received> character = pop_received();
    if (!character) return 0;
    pull_input();
    update_irq();
    return character->byte;
}

void Uart::clear_receiver() {
    receive_fifo_.clear();
    lsr_ = static_cast<std::uint8_t>(lsr_ & ~(lsr::DR | lsr::FIFO_ERROR));
    restart_receive_timeout();
}

// ---- the other registers ----

std::uint8_t Uart::read_lsr() {
    const std::uint8_t value = lsr_;
    if (!(value & lsr::TEMT))
        ++busy_polls_;
    else
        busy_polls_ = 0;
    if (value & (lsr::errors | lsr::FIFO_ERROR)) [[unlikely]] {
        lsr_ = static_cast<std::uint8_t>(value & ~(lsr::errors | lsr::FIFO_ERROR));
        update_irq();
    }
    return value;
}

// In order of priority (PC16550D, table IV).
std::uint8_t Uart::pending_interrupt() const {
    if ((ier_ & ier::ELSI) && (lsr_ & lsr::errors)) return iir::line;
    if (ier_ & ier::ERBFI) {
        if (receive_fifo_.size() >= trigger_level()) return iir::data;
        if (timeout_interrupt_) return iir::timeout;
    }
    if ((ier_ & ier::ETBEI) && thre_interrupt_) return iir::thre;
    if ((ier_ & ier::EDSSI) && (msr_ & msr::deltas)) return iir::modem;
    return iir::none;
}

void Uart::update_irq() { irq_.set((mcr_ & mcr::OUT2) && pending_interrupt() != iir::none); }

std::uint8_t Uart::read_iir() {
    const std::uint8_t source = pending_interrupt();
    if (source == iir::thre) {  // only the interrupt that it reports is reset
        thre_interrupt_ = false;
        update_irq();
    }
    return static_cast<std::uint8_t>(source | (fifos_enabled() ? iir::fifos : 0));
}

// Enabling the interrupt while THR is empty raises it, which is how drivers start a transmission.
void Uart::write_ier(std::uint8_t value) {
    const std::uint8_t before = ier_;
    ier_ = value & ier::implemented;
    if ((ier_ & ~before & ier::ETBEI) && (lsr_ & lsr::THRE)) thre_interrupt_ = true;
    if ((ier_ ^ before) & ier::ERBFI) restart_receive_timeout();
    update_irq();
}

void Uart::write_fcr(std::uint8_t value) {
    const bool toggled = (value ^ fcr_) & fcr::ENABLE;
    // Without the enable bit, the others are not programmed.
    fcr_ = (value & fcr::ENABLE) ? value & fcr::kept : 0;
    if (toggled || (value & fcr::CLEAR_RX)) clear_receiver();
    if ((toggled || (value & fcr::CLEAR_TX)) && !transmit_fifo_.empty()) {
        transmit_fifo_.clear();
        blocked_ = blocked_ && shift_.has_value();
        thr_emptied();
    }
    pull_input();
    update_irq();
}

void Uart::write_lcr(std::uint8_t value) {
    const bool break_begins = value & ~lcr_ & lcr::BREAK;
    lcr_ = value;
    character_time_ = compute_character_time();
    if (break_begins && loopback()) {
        receive({0, lsr::BI});
        update_irq();
    }
}

void Uart::write_mcr(std::uint8_t value) {
    const bool was_loop = loopback();
    mcr_ = value & mcr::implemented;
    if (loopback()) {
        const unsigned inputs = ((mcr_ & mcr::DTR) ? msr::DSR : 0) | ((mcr_ & mcr::RTS) ? msr::CTS : 0) |
                                ((mcr_ & mcr::OUT1) ? msr::RI : 0) | ((mcr_ & mcr::OUT2) ? msr::DCD : 0);
        set_modem_inputs(static_cast<std::uint8_t>(inputs));
    } else {
        set_modem_inputs(msr::connected);
        if (was_loop) pull_input();
    }
    update_irq();
}

void Uart::set_modem_inputs(std::uint8_t inputs) {
    const unsigned before = msr_ & ~msr::deltas;
    const unsigned changed = (before ^ inputs) >> 4;
    // RI reports its trailing edge only.
    const unsigned deltas = (changed & ~msr::TERI) | ((before & ~inputs & msr::RI) >> 4);
    msr_ = static_cast<std::uint8_t>(inputs | (msr_ & msr::deltas) | deltas);
}

std::uint8_t Uart::read_msr() {
    const std::uint8_t value = msr_;
    msr_ = static_cast<std::uint8_t>(msr_ & ~msr::deltas);
    update_irq();
    return value;
}

}  // namespace bulkhead::guest
