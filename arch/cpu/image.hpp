// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "arch/cpu/layout.hpp"

// The hypervisor's own image, as linker.ld lays it out. Each part begins and ends on a page.
extern "C" {
extern const std::byte image_start[], image_end[];
extern const std::byte image_text_start[], image_text_end[];
extern const std::byte image_rodata_start[], image_rodata_end[];
extern const std::byte image_data_start[], image_data_end[];
extern const std::byte percpu_template_start[], percpu_template_end[];
extern const std::byte boot_private_start[], boot_private_end[];
}

namespace bulkhead::cpu::image {

struct Part {
    HostVirt start, end;

    std::uint64_t size() const { return end - start; }
    HostPhys phys() const { return HostPhys{start - layout::image_base}; }
};

inline Part part(const std::byte* start, const std::byte* end) {
    return {HostVirt{reinterpret_cast<std::uint64_t>(start)}, HostVirt{reinterpret_cast<std::uint64_t>(end)}};
}

inline Part whole() { return part(image_start, image_end); }
inline Part text() { return part(image_text_start, image_rodata_start); }
inline Part rodata() { return part(image_rodata_start, image_rodata_end); }  // the per-CPU template included
inline Part data() { return part(image_data_start, image_data_end); }
inline Part percpu_template() { return part(percpu_template_start, percpu_template_end); }
// The boot CPU's private data, then its stacks in the order of layout::Stack.
inline Part boot_private() { return part(boot_private_start, boot_private_end); }

// Of something in the image's data.
template <class T>
HostPhys phys(const T* object) {
    return HostPhys{HostVirt{reinterpret_cast<std::uint64_t>(object)} - layout::image_base};
}

}  // namespace bulkhead::cpu::image
