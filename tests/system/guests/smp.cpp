// SPDX-License-Identifier: Apache-2.0
// INIT, start-up and other IPIs between the processors of a machine (SDM volume 3, 8.4 and 10.6): a line a check. Then
// it waits for a key, which says how the machine is to end.
#include "smp.hpp"

namespace {

constexpr uint8_t start_vector = 0x08, other_vector = 0x09;  // pages of the start-up code
constexpr uint8_t fixed_vector = 0x41, timer_vector = 0x42;
constexpr uint64_t patience = 100'000'000;  // ticks

unsigned count;  // processors
uint32_t failures;

void check(const char* what, bool good) {
    failures += !good;
    serial::put(good ? "ok   " : "FAIL ");
    serial::put(what);
    serial::put("\r\n");
}

template <class Condition>
bool eventually(Condition condition, uint64_t ticks = patience) {
    const uint64_t start = rdtsc();
    while (!condition())
        if (rdtsc() - start > ticks) return false;
        else asm volatile("pause");
    return true;
}
// For what must not happen: long enough for it to happen wherever the other processor is.
template <class Condition>
bool never(Condition condition) {
    return !eventually(condition, 5'000'000);
}

template <class Condition>
bool all_others(Condition condition) {
    for (unsigned i = 1; i < count; ++i)
        if (!eventually([&] { return condition(processors[i]); })) return false;
    return true;
}

void order(unsigned i, Order what) {
    processors[i].done = 0;
    processors[i].order = what;
}
bool obeyed(unsigned i, Order what) {
    order(i, what);
    return eventually([&] { return processors[i].done; });
}
void forget_interrupts() {
    for (Processor& p : processors) {
        p.fixed = 0;
        p.nmis = 0;
        p.timer = 0;
    }
}
uint32_t taken() {
    uint32_t sum = 0;
    for (unsigned i = 0; i < count; ++i) sum += processors[i].fixed;
    return sum;
}
bool alive(unsigned i) {
    const uint32_t before = processors[i].beats;
    return eventually([&] { return processors[i].beats != before; });
}
bool dead(unsigned i) {
    const uint32_t before = processors[i].beats;
    return never([&] { return processors[i].beats != before; });
}

void start_up() {
    put_start_code(start_vector);
    put_start_code(other_vector);
    put_start_code(0);
    // Nobody listens before an INIT, or after it before the start-up IPI, to anything else.
    apic::send(0, apic::all_but_self | apic::fixed | fixed_vector);
    check("an application processor waits", never([] { return arrivals != 0; }));
    apic::send(0, apic::all_but_self | apic::init);
    apic::send(0, apic::all_but_self | apic::startup | start_vector);
    check("broadcast INIT and SIPI start all others", eventually([] { return arrivals == count - 1; }));
    check("each has its own APIC ID", all_others([](Processor& p) { return p.present != 0; }));
    check("CS is the vector's page", all_others([](Processor& p) { return p.cs == start_vector << 8; }));
    check("EDX is the signature", all_others([](Processor& p) { return p.edx == cpuid(1).eax; }));
    check("CR0 is as after INIT", all_others([](Processor& p) { return (p.cr0 & 0x9fffffff) == 0x10; }));
    check("bootstrap processor: one", apic::is_bootstrap() && all_others([](Processor& p) { return !p.bootstrap; }));
    apic::send(0, apic::all_but_self | apic::startup | other_vector);
    check("a running processor ignores SIPI", never([] { return arrivals != count - 1; }) &&
                                                  all_others([](Processor& p) { return p.cs == start_vector << 8; }));
}

void interrupts(const char* mode) {
    serial::put(mode);
    serial::put("\r\n");
    forget_interrupts();
    for (unsigned i = 1; i < count; ++i) apic::send(i, apic::fixed | fixed_vector);
    check("fixed, physical", all_others([](Processor& p) { return p.fixed == 1; }) && processors[0].fixed == 0);

    forget_interrupts();
    apic::send(0, apic::all_but_self | apic::fixed | fixed_vector);
    check("all but self", all_others([](Processor& p) { return p.fixed == 1; }) && processors[0].fixed == 0);
    apic::send(0, apic::all | apic::fixed | fixed_vector);
    check("all",
          all_others([](Processor& p) { return p.fixed == 2; }) && eventually([] { return processors[0].fixed == 1; }));
    apic::send(0, apic::self | apic::fixed | fixed_vector);
    check("self", eventually([] { return processors[0].fixed == 2; }) && taken() == 2 * count);

    forget_interrupts();
    const uint32_t some = apic::logical_of(1) | apic::logical_of(count - 1);
    uint32_t those = 0;  // in flat mode eight have a bit of their own, the others share one
    for (unsigned i = 0; i < count; ++i) those += (apic::logical_of(i) & some) != 0;
    apic::send(some, apic::logical | apic::fixed | fixed_vector);
    check("logical", eventually([&] { return taken() == those; }) && processors[1].fixed == 1 &&
                         processors[count - 1].fixed == 1 &&
                         processors[0].fixed == (apic::logical_of(0) & some ? 1 : 0));

    forget_interrupts();
    for (unsigned i = 0; i < count; ++i) {
        uint32_t everyone = 0;
        for (unsigned k = 0; k < count; ++k) everyone |= apic::logical_of(k);
        apic::send(everyone, apic::logical | apic::lowest_priority | fixed_vector);
        eventually([&] { return taken() == i + 1; });
    }
    check("lowest priority: to one each time", taken() == count);

    forget_interrupts();
    bool answered = true;
    for (unsigned i = 1; i < count; ++i) answered &= obeyed(i, Order::answer);
    check("from each to the first", answered && eventually([] { return processors[0].fixed == count - 1; }));
}

void nmis() {
    forget_interrupts();
    order(1, Order::hlt_without_interrupts);
    eventually([] { return processors[1].halting; });
    apic::send(1, apic::fixed | fixed_vector);
    check("HLT without IF stays", never([] { return processors[1].done; }));
    apic::send(1, apic::nmi);
    check("an NMI ends it", eventually([] { return processors[1].done && processors[1].nmis == 1; }));
    check("then comes the interrupt", eventually([] { return processors[1].fixed == 1; }));
    order(1, Order::hlt);
    eventually([] { return processors[1].halting; });
    apic::send(1, apic::fixed | fixed_vector);
    check("an interrupt ends HLT", eventually([] { return processors[1].done && processors[1].fixed == 2; }));
    forget_interrupts();
    apic::send(0, apic::all_but_self | apic::nmi);
    check("NMI to all others", all_others([](Processor& p) { return p.nmis == 1; }) && processors[0].nmis == 0);
}

void restart() {
    const unsigned last = count - 1;
    const uint32_t before = arrivals;
    check("it runs", alive(last));
    apic::send(last, apic::init_deassert);
    check("INIT level de-assert does nothing", alive(last));
    order(last, Order::spin_without_interrupts);
    eventually([&] { return processors[last].halting; });
    apic::send(last, apic::init);
    check("INIT stops it", dead(last));
    apic::send(last, apic::nmi);
    apic::send(last, apic::fixed | fixed_vector);
    check("neither NMI nor interrupt starts it", dead(last) && arrivals == before);
    processors[last].nmis = 0;
    apic::send(last, apic::startup | 0);
    check("SIPI with vector 0 does", eventually([&] { return arrivals == before + 1; }) && alive(last));
    check("and CS is 0", processors[last].cs == 0);
    order(last, Order::hlt_without_interrupts);
    eventually([&] { return processors[last].halting; });
    apic::send(last, apic::init);
    apic::send(last, apic::startup | other_vector);
    check("INIT and SIPI out of HLT", eventually([&] { return arrivals == before + 2; }) && alive(last));
    check("the others did not notice", last == 1 || alive(1));
}

void time() {
    forget_interrupts();
    for (unsigned i = 1; i < count; ++i) order(i, Order::start_timer);
    check("each has its timer", all_others([](Processor& p) { return p.timer >= 3; }) && processors[0].timer == 0);
    for (unsigned i = 1; i < count; ++i) obeyed(i, Order::stop_timer);
    // A TSC is handed round: it never falls.
    bool monotonic = true;
    uint64_t last = rdtsc();
    for (int round = 0; round < 200; ++round)
        for (unsigned i = 1; i < count; ++i) {
            obeyed(i, Order::read_tsc);
            const uint64_t theirs = processors[i].tsc, ours = rdtsc();
            monotonic &= theirs >= last && ours >= theirs;
            last = ours;
        }
    check("the TSC is the same everywhere", monotonic);
    obeyed(1, Order::adjust_tsc);
    obeyed(1, Order::read_tsc);
    const uint64_t theirs = processors[1].tsc;
    check("IA32_TSC_ADJUST is each one's own", theirs - rdtsc() > tsc_adjustment / 2 && rdmsr(0x3b) == 0);
    if (count > 2) {
        obeyed(2, Order::read_tsc);
        check("and not the third's", processors[2].tsc < tsc_adjustment / 2);
    }
}

void end(char key) {
    switch (key) {
        case 't': order(count - 1, Order::triple_fault); break;
        case 'p': order(count - 1, Order::power_off); break;
        case 'r': order(count - 1, Order::reset); break;
        case 'b': apic::send(0, apic::init); break;
        default: return;
    }
    for (;;) asm volatile("cli; pause");
}

}  // namespace

extern "C" void main() {
    serial::start();
    count = cpuid(0xb, 1).ebx & 0xffff;
    serial::put("smp: processors ");
    serial::decimal(count);
    serial::put("\r\n");
    interrupts_on(fixed_vector, timer_vector);
    start_up();
    interrupts("xAPIC mode");
    nmis();
    restart();
    time();
    for (unsigned i = 1; i < count; ++i) obeyed(i, Order::x2apic);
    apic::enter_x2apic();
    interrupts("x2APIC mode");
    restart();
    serial::put("smp: failures ");
    serial::decimal(failures);
    serial::put("\r\nsmp: how?\r\n");
    while (!(in8(serial::line_status) & serial::received)) asm volatile("pause");
    end(static_cast<char>(in8(serial::data)));
}
