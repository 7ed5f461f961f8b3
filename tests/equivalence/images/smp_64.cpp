// SPDX-License-Identifier: Apache-2.0
// Several processors (SDM Vol. 3A, 9.4 and 11.6): start by INIT and SIPI, IPIs of every kind, one clock, atomic
// accesses.
#include "interrupts.hpp"
#include "processors.hpp"

namespace {

constexpr uint32_t init = 5 << 8, startup = 6 << 8, nmi = 4 << 8, asserted = 1 << 14, logical = 1 << 11,
                   lowest = 1 << 8, to_all = 2 << 18, to_others = 3 << 18, delivering = 1 << 12;
constexpr unsigned max_processors = 16, trampoline_page = 8;

struct Processor {
    volatile uint32_t apic_id, cpuid_id, extended_id, version;
    volatile uint64_t apic_base, cr0, tsc;
    volatile uint32_t command, done, interrupts, last_vector, nmis, counted, resets;
};
Processor processors[max_processors];
unsigned ids[max_processors], count;
volatile uint32_t shared_counter;
uint32_t shared_bits;

enum Command : uint32_t { none, read_clock, count_up, wait_interrupt, halt };

unsigned own_id() { return read_lapic(lapic_id) >> 24; }
Processor& of(unsigned id) { return processors[id % max_processors]; }

void ipi_handler(Frame& f) {
    Processor& p = of(own_id());
    p.last_vector = static_cast<uint32_t>(f.vector & 0xff);
    p.interrupts = p.interrupts + 1;
    end_of_interrupt();
}
void nmi_handler(Frame&) {
    Processor& p = of(own_id());
    p.nmis = p.nmis + 1;
}
bool until(auto condition, uint64_t ticks = 50000000) {
    for (const uint64_t end = rdtsc() + ticks; rdtsc() < end; pause())
        if (condition()) return true;
    return condition();
}
void send(unsigned id, uint32_t command) {
    until([] { return !(read_lapic(lapic_icr) & delivering); });
    write_lapic(lapic_icr_high, id << 24);
    write_lapic(lapic_icr, command);
    until([] { return !(read_lapic(lapic_icr) & delivering); });
}
void delay(uint64_t ticks) {
    for (const uint64_t end = rdtsc() + ticks; rdtsc() < end;) pause();
}
bool order(unsigned id, Command command, uint64_t ticks = 50000000) {
    Processor& p = of(id);
    const uint32_t done = p.done;
    p.command = command;
    return until([&] { return p.done != done; }, ticks);
}
// The local APICs of the MADT that are enabled.
void find_processors() {
    for (word at = 0xe0000; at < 0x100000; at += 16) {
        if (*reinterpret_cast<const uint64_t*>(at) != 0x2052545020445352) continue;
        const word rsdt = *reinterpret_cast<const uint32_t*>(at + 16);
        const unsigned tables = (*reinterpret_cast<const uint32_t*>(rsdt + 4) - 36) / 4;
        for (unsigned i = 0; i < tables; ++i) {
            const word t = *reinterpret_cast<const uint32_t*>(rsdt + 36 + 4 * i);
            if (*reinterpret_cast<const uint32_t*>(t) != 0x43495041) continue;
            const word end = t + *reinterpret_cast<const uint32_t*>(t + 4);
            for (word entry = t + 44; entry < end; entry += *reinterpret_cast<const uint8_t*>(entry + 1))
                if (*reinterpret_cast<const uint8_t*>(entry) == 0 &&
                    (*reinterpret_cast<const uint32_t*>(entry + 4) & 1) && count < max_processors)
                    ids[count++] = *reinterpret_cast<const uint8_t*>(entry + 3);
        }
        return;
    }
}
template <class Function>
void for_others(Function function) {
    for (unsigned i = 0; i < count; ++i)
        if (ids[i] != own_id()) function(ids[i]);
}
bool all_others(auto predicate) {
    bool all = true;
    for_others([&](unsigned id) { all = all && predicate(of(id)); });
    return all;
}

}  // namespace

extern "C" void processor_main(uint64_t) {
    write_lapic(lapic_svr, apic_enabled | 0xff);
    write_lapic(lapic_dfr, 0xffffffff);
    write_lapic(lapic_ldr, 1u << 24 << own_id());
    Processor& p = of(own_id());
    p.apic_id = own_id();
    p.cpuid_id = cpuid(1).b >> 24;
    p.extended_id = cpuid(0x0b).d;
    p.version = read_lapic(lapic_version);
    p.apic_base = read_msr(0x1b);
    p.cr0 = read_cr0();
    p.command = none;
    p.resets = p.resets + 1;
    asm volatile("lock incl %0" : "+m"(arrived));
    for (;;) {
        const uint32_t command = p.command;
        if (command == none) {
            pause();
            continue;
        }
        p.command = none;
        if (command == read_clock) p.tsc = rdtsc();
        if (command == count_up)
            for (unsigned i = 0; i < 1000; ++i) {
                asm volatile("lock incl %0" : "+m"(shared_counter));
                asm volatile("lock btcl %1, %0" : "+m"(shared_bits) : "r"(p.apic_id));
            }
        if (command == wait_interrupt) {
            const uint32_t before = p.interrupts;
            p.counted = before;
            p.done = p.done + 1;
            enable_interrupts();
            while (p.interrupts == before) pause();
            disable_interrupts();
            continue;
        }
        if (command == halt) {
            p.done = p.done + 1;
            asm volatile("sti; hlt; cli" ::: "memory");
            p.done = p.done + 1;
            continue;
        }
        p.done = p.done + 1;
    }
}

TEST(tables) {
    start_lapic();
    find_processors();
    show("processors", count);
    check("the first is this one", ids[0], own_id());
    check("IA32_APIC_BASE says that it is the boot processor", read_msr(0x1b) >> 8 & 1, 1);
    bool differ = true;
    for (unsigned i = 0; i < count; ++i)
        for (unsigned j = 0; j < i; ++j) differ = differ && ids[i] != ids[j];
    check("APIC IDs differ", differ);
}

TEST(start) {
    place_trampoline(trampoline_page);
    for (unsigned v = 0x30; v < 0xff; ++v) handlers[v] = ipi_handler;
    handlers[NMI] = nmi_handler;
    unsigned started = 0;
    for_others([&](unsigned id) {
        send(id, init | asserted);
        delay(500000);
        send(id, startup | asserted | trampoline_page);
        until([&] { return arrived == started + 1; }, 10000000);
        send(id, startup | asserted | trampoline_page);  // one that is not waited for is ignored
        ++started;
        check("one is started", until([&] { return arrived == started; }));
    });
    delay(1000000);
    check("each once", arrived, count - 1);
    check("CPUID.1 has their APIC IDs", all_others([](Processor& p) { return p.cpuid_id == p.apic_id; }));
    if (count > 1) check("CPUID.0Bh, too", all_others([](Processor& p) { return p.extended_id == p.apic_id; }));
    check("none is the boot processor", all_others([](Processor& p) { return !(p.apic_base & 0x100); }));
    check("their local APICs are alike",
          all_others([](Processor& p) { return p.version == read_lapic(lapic_version); }));
}

TEST(interrupts) {
    bool good = true;
    for_others([&](unsigned id) {
        order(id, wait_interrupt);
        send(id, asserted | 0x51);
        good = good && until([&] { return of(id).interrupts == of(id).counted + 1; }) && of(id).last_vector == 0x51;
    });
    check("fixed, physical", good);
    good = true;
    for_others([&](unsigned id) {
        order(id, wait_interrupt);
        until([] { return !(read_lapic(lapic_icr) & delivering); });
        write_lapic(lapic_icr_high, 1u << 24 << id);
        write_lapic(lapic_icr, logical | asserted | 0x52);
        good = good && until([&] { return of(id).interrupts == of(id).counted + 1; }) && of(id).last_vector == 0x52;
    });
    check("fixed, flat logical", good);
    for_others([&](unsigned id) { order(id, wait_interrupt); });
    const uint32_t own = of(own_id()).interrupts;
    write_lapic(lapic_icr, to_others | asserted | 0x53);
    check("all but self", until([] { return all_others([](Processor& p) { return p.interrupts == p.counted + 1; }); }));
    let_in();
    check("  and not self", of(own_id()).interrupts, own);
    for_others([&](unsigned id) { order(id, wait_interrupt); });
    write_lapic(lapic_icr, to_all | asserted | 0x54);
    check("all", until([] { return all_others([](Processor& p) { return p.interrupts == p.counted + 1; }); }));
    let_in();
    check("  self, too", of(own_id()).interrupts, own + 1);
    for_others([&](unsigned id) { order(id, wait_interrupt); });
    until([] { return !(read_lapic(lapic_icr) & delivering); });
    write_lapic(lapic_icr_high, 0xff000000);
    write_lapic(lapic_icr, asserted | 0x55);
    check("physical broadcast",
          until([] { return all_others([](Processor& p) { return p.interrupts == p.counted + 1; }); }));
    let_in();
    uint32_t nmis[max_processors];
    for (unsigned i = 0; i < max_processors; ++i) nmis[i] = processors[i].nmis;
    good = true;
    for_others([&](unsigned id) {
        send(id, nmi | asserted);
        good = good && until([&] { return of(id).nmis == nmis[id % max_processors] + 1; });
    });
    check("NMI", good);
    good = true;
    for_others([&](unsigned id) {
        order(id, halt);
        delay(100000);
        const uint32_t done = of(id).done;
        send(id, asserted | 0x56);
        good = good && until([&] { return of(id).done == done + 1; });
    });
    check("one that halts wakes up", good);
}

TEST(again) {
    bool stopped = true, started = true;
    for_others([&](unsigned id) {
        next_stack = (max_processors + id) * word{4096};
        const uint32_t resets = of(id).resets;
        send(id, init | asserted);
        delay(2000000);  // one that runs with IF=0 may be reached at the end of its time slice only
        const uint32_t done = of(id).done;
        of(id).command = read_clock;
        delay(200000);
        stopped = stopped && of(id).done == done;
        send(id, startup | asserted | trampoline_page);
        started = started && until([&] { return of(id).resets == resets + 1; });
    });
    check("INIT stops one", stopped);
    check("SIPI starts it again", started);
    check("all answer", all_others([](Processor& p) { return order(p.apic_id, read_clock); }));
}

TEST(clock) {
    bool between = true;
    for (unsigned round = 0; round < 20; ++round)
        for_others([&](unsigned id) {
            const uint64_t before = rdtsc();
            order(id, read_clock);
            const uint64_t after = rdtsc();
            between = between && before <= of(id).tsc && of(id).tsc <= after;
        });
    check("one clock for all", between);
}

TEST(atomic_accesses) {
    shared_counter = 0;
    uint32_t done[max_processors];
    for (unsigned i = 0; i < max_processors; ++i) done[i] = processors[i].done;
    for_others([&](unsigned id) { of(id).command = count_up; });
    check("all are through",
          until([&] { return all_others([&](Processor& p) { return p.done == done[p.apic_id] + 1; }); }, 500000000));
    check("the count", shared_counter, 1000 * (count - 1));
    check("the bits", shared_bits, 0);
}
