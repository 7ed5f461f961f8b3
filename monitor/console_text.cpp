// SPDX-License-Identifier: Apache-2.0
#include "monitor/console_text.hpp"

#include "monitor/console_view.hpp"

namespace bulkhead::monitor {

namespace console_text {

std::string_view colour(unsigned partition) {
    static constexpr std::string_view colours[max_partitions] = {
        "1;37", "1;36", "1;32", "1;33", "1;35", "1;34", "1;31", "36", "32", "33",
    };
    return colours[partition];
}

std::string_view state_name(unsigned partition, link::PartitionState state) {
    if (partition == hypervisor_partition && state == link::PartitionState::off) return "log of the hypervisor";
    switch (state) {
        case link::PartitionState::off:
            return "is off";
        case link::PartitionState::running:
            return "is running";
        case link::PartitionState::halted:
            return "has halted";
        case link::PartitionState::crashed:
            return "has crashed";
        case link::PartitionState::died:
            return "has died";
        case link::PartitionState::leaving:
            return "is leaving";
        case link::PartitionState::exited:
            return "has exited, status";
    }
    return "is in an unknown state";
}

std::string_view help() {
    return "Ctrl-A then\n"
           "  0..9    show the partition of that number; 0 is the hypervisor's log\n"
           "  n       the next partition\n"
           "  a       all partitions, line by line\n"
           "  l       the stored output of the guest in focus once more\n"
           "  d       the state of the guest in focus\n"
           "  v       the text on the screen of the guest in focus\n"
           "  s       what the guests have used: exits, time\n"
           "  r       restart the guest in focus\n"
           "  x       all guests off, machine off\n"
           "  Ctrl-A  send Ctrl-A to the guest\n"
           "  ?       this text\n";
}

}  // namespace console_text

void Neutraliser::add(std::uint8_t byte) {
    if (want_ != 0) {
        if ((byte & 0xc0) != 0x80) {
            hexadecimal();
            return add(byte);
        }
        sequence_[have_++] = static_cast<char>(byte);
        if (have_ < want_) return;
        // Overlong forms, and U+0080 to U+009F: a terminal may obey those as controls.
        const auto first = static_cast<std::uint8_t>(sequence_[0]);
        const auto second = static_cast<std::uint8_t>(sequence_[1]);
        const bool control = first == 0xc2 && second < 0xa0;
        const bool overlong = (first == 0xe0 && second < 0xa0) || (first == 0xf0 && second < 0x90);
        if (control || overlong) return hexadecimal();
        sink_.write({sequence_.data(), have_});
        have_ = want_ = 0;
        return;
    }
    if (byte < 0x80) return single(byte);
    sequence_[0] = static_cast<char>(byte);
    have_ = 1;
    want_ = byte >= 0xc2 && byte < 0xe0 ? 2 : byte >= 0xe0 && byte < 0xf0 ? 3 : byte >= 0xf0 && byte < 0xf5 ? 4 : 1;
    if (want_ == 1) hexadecimal();
}

void Neutraliser::single(std::uint8_t byte) {
    if (byte == '\t' || (byte >= 0x20 && byte < 0x7f)) {
        const char c = static_cast<char>(byte);
        sink_.write({&c, 1});
        return;
    }
    const char visible[] = {'^', static_cast<char>(byte ^ 0x40)};
    sink_.write({visible, 2});
}

void Neutraliser::hexadecimal() {
    for (unsigned i = 0; i < have_; ++i) print(sink_, "\\x{:02x}", static_cast<std::uint8_t>(sequence_[i]));
    have_ = want_ = 0;
}

void Neutraliser::finish() {
    if (want_ != 0) hexadecimal();
}

}  // namespace bulkhead::monitor
