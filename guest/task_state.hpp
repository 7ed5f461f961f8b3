// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

// The task-state segment of 32-bit (SDM volume 3, 7.2.1) and of 16-bit tasks (7.6).
namespace bulkhead::guest {

inline constexpr std::size_t largest_task_state = 0x68;

struct TaskState {
    std::uint32_t cr3{}, ip{}, flags{};
    std::array<std::uint32_t, 8> gpr{};        // in encoding order
    std::array<std::uint16_t, 6> selectors{};  // likewise
    std::uint16_t ldt{};
    bool trap{};
};

// Both have IP, the flags and the general registers in a row, and then the selectors, in slots of `width`.
struct TaskFormat {
    std::uint8_t width{};        // bytes: 4 or 2
    std::uint8_t saved_begin{};  // where IP is
    std::uint8_t selectors{};    // 16-bit tasks have no FS and GS
    std::uint8_t size{};         // the least a TSS has

    static constexpr unsigned registers = 10;

    constexpr bool wide() const { return width == 4; }
    constexpr unsigned selectors_begin() const { return saved_begin + registers * width; }
    constexpr unsigned saved_end() const { return selectors_begin() + selectors * width; }
};

inline constexpr TaskFormat task_format_32{4, 0x20, 6, 0x68}, task_format_16{2, 0x0e, 4, 0x2c};
// By a TSS descriptor's type.
constexpr TaskFormat task_format(unsigned descriptor_type) {
    return descriptor_type & 8 ? task_format_32 : task_format_16;
}

// IP, the flags and the general registers as a TSS has them.
constexpr std::array<std::uint32_t, TaskFormat::registers> register_image(const TaskState& s) {
    return {s.ip,     s.flags,  s.gpr[0], s.gpr[1], s.gpr[2],
            s.gpr[3], s.gpr[4], s.gpr[5], s.gpr[6], s.gpr[7]};
}

// `image` has `format.size` bytes. A 16-bit TSS loads ones to the upper half of the general registers, as processors
// do, and null to FS and GS.
inline TaskState read_task_state(const TaskFormat& format, std::span<const std::byte> image) {
    const auto slot = [&](unsigned offset, unsigned size) {
        std::uint32_t value = 0;
        std::memcpy(&value, image.data() + offset, size);
        return value;
    };
    const unsigned width = format.width;
    TaskState s{};
    s.ip = slot(format.saved_begin, width);
    s.flags = slot(format.saved_begin + width, width);
    for (unsigned n = 0; n < 8; ++n)
        s.gpr[n] = slot(format.saved_begin + (2 + n) * width, width) | (format.wide() ? 0 : 0xffff0000);
    for (unsigned n = 0; n < format.selectors; ++n)
        s.selectors[n] = static_cast<std::uint16_t>(slot(format.selectors_begin() + n * width, 2));
    s.ldt = static_cast<std::uint16_t>(slot(format.saved_end(), 2));
    if (!format.wide()) return s;
    s.cr3 = slot(0x1c, 4);
    s.trap = slot(0x64, 2) & 1;
    return s;
}

}  // namespace bulkhead::guest
