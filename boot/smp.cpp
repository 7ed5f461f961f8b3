// SPDX-License-Identifier: Apache-2.0
#include "boot/smp.hpp"

#include <atomic>
#include <cstring>

#include "arch/cpu/apic.hpp"
#include "arch/cpu/clock.hpp"
#include "arch/cpu/image.hpp"
#include "arch/cpu/instructions.hpp"
#include "arch/cpu/panic.hpp"
#include "arch/cpu/percpu.hpp"
#include "arch/cpu/tables.hpp"
#include "boot/physical.hpp"
#include "boot/trampoline.hpp"
#include "lib/log.hpp"
#include "mm/window.hpp"

// boot/trampoline.S
extern "C" {
extern const std::byte trampoline_start[], trampoline_end[];
extern const std::byte trampoline_gdt[], trampoline_protected_mode[], trampoline_long_mode[];
constinit std::atomic<std::uint64_t> ap_ticket{0};
}

namespace bulkhead::boot {
namespace {

using mm::HostFormat;
namespace image = cpu::image;

// SDM volume 3, 8.4.4.1: 10 ms after INIT, 200 us after the first SIPI.
constexpr std::uint64_t init_delay_us = 10'000;
constexpr std::uint64_t startup_delay_us = 200;
constexpr std::uint64_t answer_timeout_us = 200'000;
constexpr std::uint64_t poll_us = 20;

// What the CPU that holds the ticket reads.
struct Assignment {
    unsigned index{};
    mm::WindowTables windows{};
    void (*main)(){};
};
constinit Assignment assignment;
constinit std::atomic<unsigned> answered{0};  // the index of the CPU that answered last
constinit const RunningCpus* the_running = nullptr;

// The way in: the image as all CPUs have it, and the trampoline one to one. In the image, because a root that is loaded
// in 32-bit mode lies below 4 GiB.
alignas(4096) constinit std::uint64_t way_in[4][512];

HostPhys link_way_in(const mm::AddressSpace& space, HostPhys trampoline) {
    way_in[0][511] = space.image_link();
    for (unsigned i = 0; i < 3; ++i) {
        const std::size_t slot = i < 2 ? 0 : trampoline.value / large_page_size;
        way_in[i][slot] = HostFormat::table(image::phys(&way_in[i + 1][0]));
    }
    way_in[3][trampoline.value / page_size] =
        HostFormat::leaf(trampoline, {.executable = true}, mm::PageSize::size_4k);
    return image::phys(&way_in[0][0]);
}

void prepare_trampoline(HostPhys page, HostPhys root) {
    const mm::Window window{page};
    std::memcpy(window.data(), trampoline_start, static_cast<std::size_t>(trampoline_end - trampoline_start));
    const auto address = [&](const std::byte* label) {
        return static_cast<std::uint32_t>(page.value + static_cast<std::uint64_t>(label - trampoline_start));
    };
    auto* parameters = window.at<TrampolineParameters>(0);
    parameters->gdt_base = address(trampoline_gdt);
    parameters->protected_mode_offset = address(trampoline_protected_mode);
    parameters->long_mode_offset = address(trampoline_long_mode);
    parameters->root = static_cast<std::uint32_t>(root.value);
}

// Frames for CPUs' private areas, out of blocks, which no CPU maps.
class PrivateFrames {
  public:
    explicit PrivateFrames(mm::BlockAllocator& blocks) : blocks_(blocks) {}

    std::expected<HostPhys, mm::OutOfMemory> take(std::uint64_t size) {
        if (left_ < size) {
            const auto block = blocks_.allocate(mm::OwnerId::hypervisor);
            if (!block) return block;
            next_ = *block;
            left_ = large_page_size;
        }
        const HostPhys frames = next_;
        next_ += size;
        left_ -= size;
        return frames;
    }

  private:
    mm::BlockAllocator& blocks_;
    HostPhys next_;
    std::uint64_t left_{};
};

void fill_private_area(HostPhys frames) {
    zero_physical(frames, mm::AddressSpace::private_size());
    const image::Part variables = image::percpu_template();
    for (std::uint64_t at = 0; at < variables.size(); at += page_size) {
        const mm::Window window{frames + at};
        std::memcpy(window.data(), percpu_template_start + at, page_size);
    }
}

bool wait_for_answer(unsigned index, std::uint64_t timeout_us) {
    for (std::uint64_t waited = 0; answered.load(std::memory_order_acquire) != index; waited += poll_us) {
        if (waited >= timeout_us) return false;
        cpu::delay_us(poll_us);
    }
    return true;
}

bool start_cpu(std::uint32_t apic_id, HostPhys trampoline) {
    namespace apic = cpu::apic;
    apic::send_init(apic_id);
    cpu::delay_us(init_delay_us);
    apic::send_startup(apic_id, trampoline);
    if (wait_for_answer(assignment.index, startup_delay_us)) return true;
    apic::send_startup(apic_id, trampoline);
    if (wait_for_answer(assignment.index, answer_timeout_us)) return true;
    // With the ticket gone the CPU is on its way; it has only its own initialisation before it.
    if (ap_ticket.exchange(0) == 0) return wait_for_answer(assignment.index, answer_timeout_us);
    apic::send_init(apic_id);  // where it waits for a SIPI that will not come
    return false;
}

void stop_other_cpus() {
    const auto ids = the_running->apic_ids();
    for (std::size_t i = 0; i < ids.size(); ++i)
        if (i != cpu::index) cpu::apic::send_nmi(ids[i]);
}

}  // namespace

extern "C" [[noreturn]] void ap_main() {
    cpu::index = assignment.index;
    mm::use_window_tables(assignment.windows);
    void (*const main)() = assignment.main;
    cpu::set_control_registers();
    cpu::load_tables();
    cpu::apic::enable();
    answered.store(cpu::index, std::memory_order_release);
    main();
    panic("a CPU's main function has returned");
}

void start_cpus(std::span<const std::uint32_t> apic_ids, const SmpResources& resources, void (*main)(),
                RunningCpus& running) {
    const std::uint32_t self = cpu::apic::id();
    running.apic_id_storage[0] = self;
    running.count = 1;
    the_running = &running;
    cpu::set_stop_others(stop_other_cpus);
    prepare_trampoline(resources.trampoline, link_way_in(resources.space, resources.trampoline));

    PrivateFrames private_frames{resources.blocks};
    for (std::uint32_t id : apic_ids) {
        if (id == self || running.count == monitor::max_cpus) continue;
        const auto frames = private_frames.take(mm::AddressSpace::private_size());
        if (!frames) panic("no memory for the private area of the CPU with APIC ID {}", id);
        fill_private_area(*frames);
        const auto tables = resources.space.create_cpu(*frames);
        if (!tables) panic("no memory for the page tables of the CPU with APIC ID {}", id);

        assignment = {static_cast<unsigned>(running.count), tables->windows, main};
        ap_ticket.store(tables->root.value, std::memory_order_release);
        if (start_cpu(id, resources.trampoline))
            running.apic_id_storage[running.count++] = id;
        else
            log("CPU with APIC ID {} does not start; it is left out", id);
    }
    way_in[0][0] = 0;
    zero_physical(resources.trampoline, page_size);
}

}  // namespace bulkhead::boot
