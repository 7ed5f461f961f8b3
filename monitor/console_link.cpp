// SPDX-License-Identifier: Apache-2.0
#include "monitor/console_link.hpp"

#include <algorithm>

namespace bulkhead::monitor::link {

namespace {

class Writer {
  public:
    explicit Writer(EncodedFrame& to) : to_(to) {}

    void raw(std::uint8_t byte) { to_[used_++] = byte; }
    void plain(std::uint8_t byte) {
        if (byte == END || byte == ESC) {
            raw(ESC);
            raw(byte == END ? ESC_END : ESC_ESC);
        } else {
            raw(byte);
        }
    }
    void checked(std::uint8_t byte) {
        crc_.add(byte);
        plain(byte);
    }
    void finish() {
        const std::uint16_t crc = crc_.value();
        plain(static_cast<std::uint8_t>(crc >> 8));
        plain(static_cast<std::uint8_t>(crc));
        raw(END);
    }
    std::size_t used() const { return used_; }

  private:
    EncodedFrame& to_;
    std::size_t used_{};
    Crc16 crc_;
};

}  // namespace

std::size_t encode(const Frame& frame, EncodedFrame& to) {
    Writer writer{to};
    // The leading END throws out what the line carried before: noise, or a frame that was cut off.
    writer.raw(END);
    writer.checked(static_cast<std::uint8_t>(frame.type));
    writer.checked(frame.partition);
    writer.checked(frame.sequence);
    for (const std::uint8_t byte : frame.payload.first(std::min(frame.payload.size(), max_payload)))
        writer.checked(byte);
    writer.finish();
    return writer.used();
}

std::optional<Frame> Decoder::feed(std::uint8_t byte) {
    if (byte == END) {
        const auto frame = finish();
        reset();
        return frame;
    }
    if (escaped_) {
        escaped_ = false;
        if (byte == ESC_END)
            store(END);
        else if (byte == ESC_ESC)
            store(ESC);
        else
            bad_ = true;
    } else if (byte == ESC) {
        escaped_ = true;
    } else {
        store(byte);
    }
    return std::nullopt;
}

void Decoder::reset() {
    used_ = 0;
    escaped_ = false;
    bad_ = false;
    crc_ = Crc16{};
}

void Decoder::store(std::uint8_t byte) {
    if (used_ == buffer_.size()) {
        bad_ = true;
        return;
    }
    buffer_[used_++] = byte;
    crc_.add(byte);
}

std::optional<Frame> Decoder::finish() {
    if (used_ == 0 && !escaped_ && !bad_) return std::nullopt;  // between two frames
    if (bad_ || escaped_ || used_ < overhead || crc_.value() != 0) {
        ++damaged_;
        return std::nullopt;
    }
    return Frame{static_cast<Type>(buffer_[0]), buffer_[1], buffer_[2],
                 std::span<const std::uint8_t>{buffer_}.subspan(3, used_ - overhead)};
}

}  // namespace bulkhead::monitor::link
