// SPDX-License-Identifier: Apache-2.0
#include "monitor/console_keys.hpp"

#include "monitor/console_text.hpp"

namespace bulkhead::monitor {

namespace {
constexpr std::uint8_t ctrl_a = 0x01;
}

Action Keyboard::type(std::uint8_t byte) {
    if (prefix_) {
        prefix_ = false;
        return command(byte);
    }
    if (byte == ctrl_a) {
        prefix_ = true;
        return {};
    }
    return pass_on(byte);
}

Action Keyboard::pass_on(std::uint8_t byte) {
    const unsigned focus = view_.focus();
    // The hypervisor's log listens to nobody.
    if (focus == hypervisor_partition || !partitions_[focus]->input().push(byte)) {
        view_.ring_bell();
        return {};
    }
    return {Action::Kind::input, focus};
}

Action Keyboard::command(std::uint8_t byte) {
    if (byte >= '0' && byte <= '9') {
        show(byte - '0');
        return {};
    }
    switch (byte) {
        case ctrl_a:
            return pass_on(ctrl_a);
        case 'n':
            show(next());
            return {};
        case 'a':
            view_.show_all();
            return {};
        case 'l':
            view_.replay();
            return {};
        case '?':
            note(console_text::help());
            return {};
        case 'x':
            note("leaving: all guests off\n");
            return {Action::Kind::quit, hypervisor_partition};
        case 's':
            view_.begin_note();
            return {Action::Kind::report, hypervisor_partition};
        case 'r':
            return for_guest(Action::Kind::restart);
        case 'd':
            return for_guest(Action::Kind::dump);
        case 'v':
            return for_guest(Action::Kind::screen);
        default:
            note("Ctrl-A ? lists the commands\n");
            return {};
    }
}

Action Keyboard::for_guest(Action::Kind kind) {
    if (view_.focus() == hypervisor_partition) {
        note("no guest is in focus: Ctrl-A and its number first\n");
        return {};
    }
    view_.begin_note();
    return {kind, view_.focus()};
}

void Keyboard::show(unsigned partition) {
    if (partitions_[partition])
        view_.show(partition);
    else
        note("no guest has that number\n");
}

unsigned Keyboard::next() const {
    unsigned number = view_.focus();
    do number = (number + 1) % max_partitions;
    while (!partitions_[number]);
    return number;
}

void Keyboard::note(std::string_view text) {
    view_.begin_note();
    view_.note(text);
}

}  // namespace bulkhead::monitor
