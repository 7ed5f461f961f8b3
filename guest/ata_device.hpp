// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

// What every device on an ATA channel has (ATA/ATAPI-6, T13/1410D): its registers, data transfer by PIO, and the
// commands that disks and packet devices share.
namespace bulkhead::guest {

// Registers of the Command Block by their distance from its first port (7.4 to 7.15).
enum class AtaRegister : std::uint8_t { data, features, count, lba_low, lba_mid, lba_high, device, command };

namespace ata {
namespace status {
inline constexpr std::uint8_t ERR = 0x01, DRQ = 0x08, DSC = 0x10, DRDY = 0x40, BSY = 0x80;
}
namespace error {
inline constexpr std::uint8_t ABRT = 0x04, IDNF = 0x10, UNC = 0x40;
inline constexpr std::uint8_t passed = 0x01;  // diagnostic code
}  // namespace error
namespace device {
inline constexpr std::uint8_t HEAD = 0x0f, DEV = 0x10, LBA = 0x40;
}
namespace control {
inline constexpr std::uint8_t nIEN = 0x02, SRST = 0x04, HOB = 0x80;
}
namespace command {
inline constexpr std::uint8_t NOP = 0x00, EXECUTE_DEVICE_DIAGNOSTIC = 0x90, STANDBY_IMMEDIATE = 0xe0,
                              IDLE_IMMEDIATE = 0xe1, STANDBY = 0xe2, IDLE = 0xe3, CHECK_POWER_MODE = 0xe5, SLEEP = 0xe6,
                              FLUSH_CACHE = 0xe7, SET_FEATURES = 0xef;
}
}  // namespace ata

// The channel passes on what the host does to it, and has its interrupt only while it is selected. All commands are
// done at once: BSY is seen only while a software reset lasts.
class AtaDevice {
  public:
    AtaDevice(const AtaDevice&) = delete;
    AtaDevice& operator=(const AtaDevice&) = delete;

    // Not of the data register. `high_order` shows the contents before the last write (7.5.3, HOB).
    std::uint8_t read(AtaRegister reg, bool high_order) const;
    std::uint8_t status() const { return status_; }
    // Features to Device.
    void write(AtaRegister reg, std::uint8_t value);
    void command(std::uint8_t value);

    // What comes outside a transfer is lost, and reads as zero.
    std::uint16_t read_data();
    void write_data(std::uint16_t value);

    // SRST is set, and cleared again; the latter is what EXECUTE DEVICE DIAGNOSTIC does, too.
    void hold_in_reset();
    void reset();

    bool interrupt_pending() const { return interrupt_pending_; }
    void request_interrupt() { interrupt_pending_ = true; }
    void acknowledge_interrupt() { interrupt_pending_ = false; }

  protected:
    static constexpr unsigned identify_words = 256;
    enum class Direction : std::uint8_t { none, to_host, to_device };
    // Command Block registers that take two writes for a 48-bit address or count (5.2.4).
    struct TwoDeep {
        std::uint8_t now{}, before{};
        void push(std::uint8_t value) {
            before = now;
            now = value;
        }
        unsigned both() const { return before * 256u + now; }
    };

    AtaDevice() = default;
    ~AtaDevice() = default;

    // ---- of the kind of device

    virtual void execute(std::uint8_t command) = 0;
    // The host has read all of the buffer, or filled it, and the block goes on.
    virtual void buffer_passed() = 0;
    // The last word of a block has passed.
    virtual void block_passed() = 0;
    // Registers and status as after a reset.
    virtual void set_signature() = 0;
    // Settings are as they were at power-on.
    virtual void revert() = 0;
    // Status with neither BSY, DRQ nor ERR.
    virtual std::uint8_t idle_status() const = 0;

    // ---- what a command ends with

    // With an interrupt.
    void complete();
    // Data-in commands have theirs with the last block.
    void complete_silently();
    void fail(std::uint8_t error_bits);

    // ---- data

    // A block of `bytes` through the buffer, of which `in_buffer` bytes at a time pass before buffer_passed.
    void start_block(Direction direction, unsigned bytes);
    void rewind_buffer(unsigned in_buffer) {
        position_ = 0;
        in_buffer_ = in_buffer;
    }
    bool buffer_used_up() const { return position_ >= in_buffer_; }
    std::span<std::byte> buffer() { return buffer_; }
    Direction direction() const { return direction_; }

    // Those that both kinds of device know; false: it is none of these.
    bool execute_common(std::uint8_t command);
    void abort() { fail(ata::error::ABRT); }

    // ---- IDENTIFY

    void clear_identity() { buffer_.fill({}); }
    void set_word(unsigned number, unsigned value);
    // Two characters a word, the first in the upper byte, filled up with blanks (6.17.10).
    void set_text(unsigned first, unsigned words, std::string_view text);
    // What is the same for both kinds.
    void set_common_identity(unsigned drive);

    std::uint8_t features_{}, device_{}, error_{}, status_{};
    TwoDeep count_, lba_low_, lba_mid_, lba_high_;
    bool keeps_settings_{};  // at a software reset (SET FEATURES 66h)
    bool write_cache_{true}, look_ahead_{true};

  private:
    void set_features();
    void advance();

    static constexpr unsigned buffer_size = 2048;
    std::array<std::byte, buffer_size> buffer_{};
    unsigned position_{}, in_buffer_{}, block_left_{};
    Direction direction_{};
    bool interrupt_pending_{};
    std::uint8_t power_mode_{};
};

}  // namespace bulkhead::guest
