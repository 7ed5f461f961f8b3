// SPDX-License-Identifier: Apache-2.0
// What INIT and start-up IPIs do to a processor, and IPIs to several at once (SDM Vol. 3A, 9.1.1, 9.4, 11.6, 11.12):
// broadcasts with vector 0, the state behind an INIT, INIT and NMI while halted, x2APIC destinations, lowest priority.
#include "interrupts.hpp"
#include "processors.hpp"

namespace {

constexpr uint32_t init = 5 << 8, startup = 6 << 8, nmi = 4 << 8, asserted = 1 << 14, level = 1 << 15,
                   logical = 1 << 11, lowest = 1 << 8, to_others = 3 << 18, delivering = 1 << 12;
constexpr unsigned max_processors = 16, trampoline_page = 8;
constexpr uint32_t apic_base = 0x1b, x2apic = 0x800, extended = 1 << 10;

enum Command : uint32_t { none, nothing, change_state, halt_closed, halt_open, listen, sti_loop, enter_x2apic };

struct Processor {
    volatile uint32_t command, done, interrupts, nmis, resets, last_vector, in_shadow;
    // Of the local APIC as it was found.
    volatile uint32_t svr, tpr, ldr, dfr, lvt, lint0, divide, initial_count, id;
    volatile uint64_t base, lstar, kernel_gs, pat, tsc, aux;
};
Processor processors[max_processors];
volatile FirstState* first;
unsigned count, own;

bool x2() { return read_msr(apic_base) & extended; }
unsigned id_of_this() { return x2() ? static_cast<unsigned>(read_msr(x2apic + 2)) : read_lapic(lapic_id) >> 24; }
Processor& of(unsigned id) { return processors[id % max_processors]; }
uint32_t read(unsigned offset) {
    return x2() ? static_cast<uint32_t>(read_msr(x2apic + offset / 16)) : read_lapic(offset);
}
void write(unsigned offset, uint32_t value) {
    x2() ? write_msr(x2apic + offset / 16, value) : write_lapic(offset, value);
}
bool until(auto condition, uint64_t ticks = 20000000) {
    for (const uint64_t end = rdtsc() + ticks; rdtsc() < end; pause())
        if (condition()) return true;
    return condition();
}
void delay(uint64_t ticks = 200000) {
    for (const uint64_t end = rdtsc() + ticks; rdtsc() < end;) pause();
}
void send(uint32_t destination, uint32_t command) {
    if (x2()) return write_msr(x2apic + 0x30, static_cast<uint64_t>(destination) << 32 | command);
    write_lapic(lapic_icr_high, destination << 24);
    write_lapic(lapic_icr, command);
    until([] { return !(read_lapic(lapic_icr) & delivering); });
}
template <class Function>
void for_others(Function function) {
    for (unsigned id = 0; id < max_processors; ++id)
        if (id != own && of(id).resets) function(id);
}
bool all_others(auto predicate) {
    bool all = true;
    for_others([&](unsigned id) { all = all && predicate(of(id)); });
    return all;
}
bool order(unsigned id, Command command) {
    const uint32_t done = of(id).done;
    of(id).command = command;
    return until([=] { return of(id).done == done + 1; });
}
void order_all(Command command) {
    for_others([=](unsigned id) { order(id, command); });
}
// The vCPUs that received an interrupt since the last call.
unsigned receivers() {
    static uint32_t seen[max_processors];
    delay();
    let_in();
    unsigned set = 0;
    for (unsigned id = 0; id < max_processors; ++id) {
        if (of(id).interrupts != seen[id]) set |= 1u << id;
        seen[id] = of(id).interrupts;
    }
    return set;
}
unsigned others_set() {
    unsigned set = 0;
    for_others([&](unsigned id) { set |= 1u << id; });
    return set;
}
void on_interrupt(Frame& f) {
    Processor& p = of(id_of_this());
    p.last_vector = static_cast<uint32_t>(f.vector & 0xff);
    p.interrupts = p.interrupts + 1;
    write(lapic_eoi, 0);
}
extern "C" uint8_t behind_sti[];
void on_nmi(Frame& f) {
    Processor& p = of(id_of_this());
    p.nmis = p.nmis + 1;
    if (f.ip == reinterpret_cast<word>(behind_sti)) p.in_shadow = p.in_shadow + 1;
}

// Registers that INIT leaves alone, and some that it does not.
void dirty_state() {
    write_msr(0xc0000082, 0x123456789a);
    write_msr(0xc0000102, 0x765432100);
    write_msr(0x277, 0x0706050401000607);
    asm volatile("mov %0, %%cr2; mov %0, %%dr0; mov %1, %%dr7" ::"r"(0x5a5a5a5aul), "r"(0x401ul));
    write_lapic(lapic_tpr, 0x20);
    write_lapic(lapic_lvt_error, 0xe3);
    write_lapic(lapic_lvt_timer, lvt_periodic | 0xe4);
    write_lapic(lapic_divide, 0xb);
    write_lapic(lapic_initial_count, 100000000);
}

}  // namespace

extern "C" void processor_main(uint64_t) {
    const unsigned id = id_of_this();
    Processor& p = of(id);
    p.base = read_msr(apic_base);
    p.svr = read(lapic_svr);
    p.tpr = read(lapic_tpr);
    p.ldr = read(lapic_ldr);
    p.id = id;
    p.dfr = x2() ? 0 : read(lapic_dfr);
    p.lvt = read(lapic_lvt_timer) & read(lapic_lvt_error) & read(lapic_lvt_lint1);
    p.lint0 = read(lapic_lvt_lint0);
    p.divide = read(lapic_divide);
    p.initial_count = read(lapic_initial_count);
    p.lstar = read_msr(0xc0000082);
    p.kernel_gs = read_msr(0xc0000102);
    p.pat = read_msr(0x277);
    p.tsc = rdtsc();
    write(lapic_svr, apic_enabled | 0xff);
    if (!x2()) {
        write(lapic_dfr, 0xffffffff);
        write(lapic_ldr, 1u << 24 << id);
    }
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
        if (command == change_state) dirty_state();
        if (command == enter_x2apic) write_msr(apic_base, read_msr(apic_base) | extended);
        p.done = p.done + 1;
        if (command == halt_closed) asm volatile("cli; hlt" ::: "memory");
        if (command == halt_open) asm volatile("sti; hlt; cli" ::: "memory");
        if (command == listen) {
            enable_interrupts();
            while (p.command == none) pause();
            disable_interrupts();
            continue;
        }
        if (command == sti_loop)
            while (p.command == none) asm volatile("sti\n .globl behind_sti\n behind_sti: nop; nop; cli" ::: "memory");
        if (command == halt_closed || command == halt_open || command == sti_loop) p.done = p.done + 1;
    }
}

TEST(broadcast) {
    start_lapic();
    own = id_of_this();
    of(own).resets = 0;
    for (unsigned v = 0x20; v < 0xff; ++v) handlers[v] = on_interrupt;
    handlers[NMI] = on_nmi;
    first = place_trampoline(0);
    write_lapic(lapic_dfr, 0xffffffff);
    write_lapic(lapic_ldr, 1u << 24 << own);
    // Every processor but this one, at address 0.
    write_lapic(lapic_icr, to_others | asserted | init);
    delay();
    write_lapic(lapic_icr, to_others | startup);
    delay(5000000);
    count = arrived;
    show("processors started", count);
    check("each has an ID of its own", [] {
        unsigned started = 0;
        for (unsigned id = 0; id < max_processors; ++id) started += of(id).resets;
        return started;
    }(), count);
    write_lapic(lapic_icr, to_others | startup);
    write_lapic(lapic_icr, to_others | asserted | startup);
    delay();
    check("a start-up IPI that nobody waits for", arrived, count);
    // INIT's level de-assertion does nothing (11.6.1).
    write_lapic(lapic_icr, 2 << 18 | level | init);
    delay();
    check("INIT level de-assert", all_others([](Processor& p) { return order(p.id, nothing); }));
    check("  all are still there", arrived, count);
    if (!count) return;
    check("nobody is the boot processor", all_others([](Processor& p) { return !(p.base & 0x100); }));
}

TEST(state_behind_init) {
    if (!count) return skip("the state behind INIT", "one processor");
    first = place_trampoline(trampoline_page);
    unsigned id = max_processors;
    for_others([&](unsigned n) { id = n < id ? n : id; });
    Processor& p = of(id);
    order(id, change_state);
    const uint64_t before = rdtsc();
    send(id, asserted | init);
    delay();
    next_stack = (max_processors + id) * word{4096};
    send(id, startup | trampoline_page);
    check("it starts again", until([&] { return p.resets == 2; }));
    check("EAX", first->eax, 0);
    check("EDX: family and model", first->edx, cpuid(1).a & 0x0fff3fff);
    check("EFLAGS", first->flags, 2);
    check("CR0: CD and NW as they were", first->cr0, 0x10);
    check("CR2", first->cr2, 0);
    check("CR3", first->cr3, 0);
    check("CR4", first->cr4, 0);
    check("DR0", first->dr0, 0);
    check("DR6", first->dr6, 0xffff0ff0);
    check("DR7", first->dr7, 0x400);
    check("EFER", first->efer, 0);
    check("CS", first->cs & 0xffff, trampoline_page << 8);
    check("GDTR", first->gdt_limit == 0xffff && first->gdt_base[0] == 0 && first->gdt_base[1] == 0);
    check("IDTR", first->idt_limit == 0xffff && first->idt_base[0] == 0 && first->idt_base[1] == 0);
    check("LSTAR is kept", p.lstar, 0x123456789a);
    check("KERNEL_GS_BASE is kept", p.kernel_gs, 0x765432100);
    check("PAT is kept", p.pat, 0x0706050401000607);
    check("the TSC is kept", p.tsc > before);
    check("SVR", p.svr, 0xff);
    check("TPR", p.tpr, 0);
    check("LDR", p.ldr, 0);
    check("DFR", p.dfr, 0xffffffff);
    check("the LVT is masked", p.lvt, lvt_masked);
    check("LINT0, too", p.lint0, lvt_masked);
    check("the divide register", p.divide, 0);
    check("the initial count", p.initial_count, 0);
    check("the ID is kept", p.id, id);
    // More than one INIT, more than one start-up IPI: one start.
    next_stack = (max_processors + id) * word{4096};
    send(id, asserted | init);
    delay();
    send(id, asserted | init);
    delay();
    const uint32_t arrivals = arrived;
    send(id, startup | trampoline_page);
    send(id, startup | trampoline_page);
    check("two of each start it once", until([&] { return p.resets == 3; }));
    delay();
    check("  once", p.resets == 3 && arrived == arrivals + 1);
}

TEST(halted) {
    if (!count) return skip("while it is halted", "one processor");
    bool asleep = true, woken = true, closed = true, started = true;
    for_others([&](unsigned id) {
        Processor& p = of(id);
        order(id, halt_closed);
        delay();
        const uint32_t done = p.done, nmis = p.nmis, interrupts = p.interrupts;
        send(id, asserted | 0x45);
        delay();
        asleep = asleep && p.done == done;
        send(id, asserted | nmi);
        woken = woken && until([&] { return p.done == done + 1; }) && p.nmis == nmis + 1;
        closed = closed && p.interrupts == interrupts;
        // What waited comes when interrupts are on.
        order(id, listen);
        until([&] { return p.interrupts == interrupts + 1; });
        order(id, nothing);
    });
    check("CLI and HLT: an interrupt does not end it", asleep);
    check("  an NMI does", woken);
    check("  and the interrupt waits still", closed);
    for_others([&](unsigned id) {
        Processor& p = of(id);
        order(id, halt_closed);
        delay();
        const uint32_t resets = p.resets;
        next_stack = (max_processors + id) * word{4096};
        send(id, asserted | init);
        delay();
        send(id, startup | trampoline_page);
        started = started && until([&] { return p.resets == resets + 1; });
    });
    check("  INIT and a start-up IPI do", started);
    bool again = true;
    for (unsigned round = 0; round < 50; ++round)
        for_others([&](unsigned id) {
            Processor& p = of(id);
            const uint32_t done = p.done, interrupts = p.interrupts;
            p.command = halt_open;
            until([&] { return p.done == done + 1; });
            send(id, asserted | 0x20);
            again = again && until([&] { return p.done == done + 2; }) && p.interrupts == interrupts + 1;
        });
    check("STI and HLT: an interrupt ends it, 50 times", again);
}

// As multiprocessor programs that do not care for the 10 ms of the protocol start the others.
TEST(without_a_delay) {
    if (!count) return skip("INIT and a start-up IPI at once", "one processor");
    uint32_t before[max_processors];
    for (unsigned i = 0; i < max_processors; ++i) before[i] = of(i).resets;
    next_stack = max_processors * word{4096};
    write_lapic(lapic_icr, to_others | asserted | init);
    write_lapic(lapic_icr, to_others | startup | trampoline_page);
    const auto started = [&] { return all_others([&](Processor& p) { return p.resets == before[p.id] + 1; }); };
    check("a start-up IPI right behind INIT starts all", until(started));
    if (started()) return;
    write_lapic(lapic_icr, to_others | startup | trampoline_page);
    until(started);
}

TEST(nmis_and_sti) {
    if (!count) return skip("NMIs and STI", "one processor");
    bool all = true, none_in_shadow = true;
    for_others([&](unsigned id) {
        Processor& p = of(id);
        p.in_shadow = 0;
        order(id, sti_loop);
        for (unsigned i = 0; i < 100; ++i) {
            const uint32_t before = p.nmis;
            send(id, asserted | nmi);
            all = all && until([&] { return p.nmis == before + 1; });
        }
        none_in_shadow = none_in_shadow && p.in_shadow == 0;
        p.command = nothing;
        delay();
    });
    check("100 NMIs, each once", all);
    check("none between STI and the next instruction", none_in_shadow);
    uint32_t before[max_processors];
    for (unsigned i = 0; i < max_processors; ++i) before[i] = of(i).nmis;
    write_lapic(lapic_icr, to_others | asserted | nmi);
    check("an NMI to all others",
          until([&] { return all_others([&](Processor& p) { return p.nmis == before[p.id] + 1; }); }));
    check("  and not to this one", of(own).nmis, before[own]);
}

TEST(destinations) {
    if (!count) return skip("destinations", "one processor");
    // Every processor starts anew: priority 0 and a flat ID.
    bool started = true;
    for_others([&](unsigned id) {
        const uint32_t resets = of(id).resets;
        next_stack = (max_processors + id) * word{4096};
        send(id, asserted | init);
        delay();
        send(id, startup | trampoline_page);
        started = started && until([&] { return of(id).resets == resets + 1; });
    });
    check("all start again", started);
    order_all(listen);
    receivers();
    const unsigned others = others_set(), all = others | 1u << own;
    send(others, asserted | logical | 0x61);
    check("flat, all others", receivers(), others);
    send(all, asserted | logical | 0x62);
    check("flat, all", receivers(), all);
    send(0xff, asserted | logical | 0x63);
    check("flat, broadcast", receivers(), all);
    send(0xff, asserted | 0x64);
    check("physical, broadcast", receivers(), all);
    send(0x0e, asserted | 0x65);
    check("physical, nobody", receivers(), 0);
    send(all, asserted | logical | lowest | 0x66);
    const unsigned one = receivers();
    check("lowest priority: one of them", one != 0 && (one & (one - 1)) == 0);
    write_lapic(lapic_tpr, 0x30);
    send(all, asserted | logical | lowest | 0x67);
    check("  not this one, whose task priority is higher", (receivers() & ~others) == 0);
    write_lapic(lapic_tpr, 0);
    // The cluster model, two clusters of two.
    write_lapic(lapic_dfr, 0x0fffffff);
    write_lapic(lapic_ldr, 0x11000000);
    send(0x11, asserted | logical | 0x68);
    check("cluster, this one alone", receivers() & 1u << own, 1u << own);
    write_lapic(lapic_dfr, 0xffffffff);
    write_lapic(lapic_ldr, 1u << 24 << own);
    send(0, to_others | asserted | 0x6a);
    check("shorthand: all others", receivers(), others);
    send(0, 2 << 18 | asserted | 0x6b);
    check("shorthand: all", receivers(), all);
    bool every = true;
    for (unsigned i = 0; i < 100; ++i) {
        const uint32_t before = of(own).interrupts;
        for_others([&](unsigned id) {
            const uint32_t then = of(id).interrupts;
            send(id, asserted | 0x71);
            every = every && until([&] { return of(id).interrupts == then + 1; });
        });
        every = every && of(own).interrupts == before;
    }
    check("100 interrupts to each, one by one", every);
}

TEST(x2apic_destinations) {
    if (!count || !(cpuid(1).c >> 21 & 1)) return skip("x2APIC destinations", "one processor, or not there");
    const unsigned others = others_set(), all = others | 1u << own;
    for_others([&](unsigned id) {
        const uint32_t done = of(id).done;
        of(id).command = enter_x2apic;
        delay();
        until([=] { return of(id).done == done + 1; });
    });
    write_msr(apic_base, read_msr(apic_base) | extended);
    order_all(listen);
    receivers();
    bool each = true;
    for_others([&](unsigned id) {
        send(id, asserted | 0x81);
        each = each && receivers() == 1u << id;
    });
    check("physical", each);
    send(0xffffffff, asserted | 0x82);
    check("physical, broadcast", receivers(), all);
    send(0xff, asserted | 0x83);
    check("physical, FFh is nobody", receivers(), 0);
    send(0, to_others | asserted | 0x84);
    check("shorthand: all others", receivers(), others);
    send(0, 2 << 18 | asserted | 0x85);
    check("shorthand: all", receivers(), all);
    write_msr(0x83f, 0x86);
    check("self-IPI", receivers(), 1u << own);
    send(others, asserted | logical | 0x87);
    check("cluster 0, all others", receivers(), others);
    send(1u << 16 | 1, asserted | logical | 0x88);
    check("cluster 1: nobody", receivers(), 0);
    send(own, asserted | nmi);
    check("an NMI to itself", until([] { return of(own).nmis != 0; }));
    // INIT leaves the mode as it is (11.12.5.1).
    unsigned id = max_processors;
    for_others([&](unsigned n) { id = n < id ? n : id; });
    const uint32_t resets = of(id).resets;
    next_stack = (max_processors + id) * word{4096};
    send(id, asserted | init);
    delay();
    send(id, startup | trampoline_page);
    check("INIT and a start-up IPI", until([&] { return of(id).resets == resets + 1; }));
    check("x2APIC mode is kept over INIT", of(id).base & extended, extended);
}
