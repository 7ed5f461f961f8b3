// SPDX-License-Identifier: Apache-2.0
// The instruction emulator against the processor. Each case runs twice from the same state: with its operands in RAM,
// where the processor executes it, and with the same linear addresses in the memory of the test device, where every
// access is an exit and the emulator executes it. Registers, flags, memory, the exception with its error code, CR2, DR6
// and the accessed and dirty flags must be the same.
#include "tests/twin/case.hpp"
#include "tests/twin/coverage.hpp"

namespace {

#ifdef __x86_64__
constexpr Mode modes[] = {
    {"64-bit, ring 0", 8, 0, Paging::long_mode, false, true},
    {"64-bit, ring 3", 8, 3, Paging::long_mode, false, true},
    {"compatibility 32, ring 0", 4, 0, Paging::long_mode, false, false},
    {"compatibility 32, ring 3", 4, 3, Paging::long_mode, false, false},
    {"compatibility 16, ring 0", 2, 0, Paging::long_mode, false, false},
    {"compatibility 16, ring 3", 2, 3, Paging::long_mode, false, false},
};
#else
constexpr Mode modes[] = {
    {"real", 2, 0, Paging::none, false, false},
    {"virtual-8086", 2, 3, Paging::legacy, true, true},
    {"protected 32, ring 0", 4, 0, Paging::legacy, false, true},
    {"protected 32, ring 3", 4, 3, Paging::legacy, false, false},
    {"protected 16, ring 0", 2, 0, Paging::legacy, false, false},
    {"protected 16, ring 3", 2, 3, Paging::legacy, false, false},
    {"protected 32, PAE, ring 0", 4, 0, Paging::pae, false, false},
    {"protected 32, PAE, ring 3", 4, 3, Paging::pae, false, false},
    {"protected 16, PAE, ring 0", 2, 0, Paging::pae, false, false},
    {"protected 16, PAE, ring 3", 2, 3, Paging::pae, false, false},
    {"virtual-8086, PAE", 2, 3, Paging::pae, true, false},
};
#endif
constexpr uint16_t loop_port = 0xe0;
constexpr uint8_t breakpoint_trap = 0xcc;
constexpr unsigned most_reports = 12;  // of a group

Case current;
unsigned cases, differences, reported;

// ---- a run

void transfer(const Case& c, const Area& area, uint8_t* bytes, Run run, bool to_memory) {
    for (unsigned done = 0; done < area.size;) {
        const uint32_t linear = area.linear + done;
        const unsigned left = page - linear % page, size = left < area.size - done ? left : area.size - done;
        uint8_t* memory = backing(*c.mode, linear, run);
        if (to_memory) copy(memory, bytes + done, size);
        else copy(bytes + done, memory, size);
        done += size;
    }
}

void place_code(const Case& c) {
    auto* at = reinterpret_cast<uint8_t*>(static_cast<word>(code_page));
    copy(at, c.code, c.length);
    at[c.length] = at[end_code] = breakpoint_trap;
}

void set_debug(const Case& c, Run run) {
    write_dr6(0xffff0ff0);
    const word base = !c.mode->real() ? 0 : reinterpret_cast<word>(backing(*c.mode, window, run)) - window;
    write_dr0(c.operand + base);
    write_dr7(0x400 | (c.extras.breakpoint ? 0x30001 : 0));  // reads and writes of one byte
}

#ifdef __x86_64__
void write_pkru(uint32_t value) { asm volatile("wrpkru" ::"a"(value), "c"(0), "d"(0)); }
void set_protection(const Case& c) {
    write_cr4((read_cr4() & ~0x600000ul) | (c.extras.smap ? 0x200000 : 0) | (c.extras.keys ? 0x400000 : 0));
    if (c.extras.keys) write_pkru(static_cast<uint32_t>(c.start.gpr[14] & 0xc));
}
void execute(const Case&, Run) { run_case(); }
#else
void set_protection(const Case&) {}
extern "C" void run_real_case();
void execute(const Case& c, Run run) {
    if (!c.mode->real()) return run_case();
    const auto base = static_cast<uint32_t>(reinterpret_cast<word>(backing(*c.mode, window, run)));
    set_descriptor(own_data, base, 0xffff, 0x93);
    set_descriptor(own_limited, base, limited_to, 0x93);
    set_descriptor(own_fs, base - (window - fs_base), 0xffff, 0x93);
    set_descriptor(own_code16, 0, 0xffff, 0x9b);
    run_real_case();
}
#endif

void run(Case& c, Run run) {
    const bool paged = !c.mode->real();
    if (paged) map_window(*c.mode, run, c.extras.keys);
    for (const unsigned n : List{1, 0}) transfer(c, c.areas[n], c.areas[n].first, run, true);
    const bool port_used = c.form->traits & port;
    if (port_used) out32(loop_port, 0x87654321);
    state = c.start;
    const bool debug = c.extras.breakpoint || c.extras.step;
    if (debug) set_debug(c, run);
    const bool protection = c.extras.smap || c.extras.keys;
    if (protection) set_protection(c);
    execute(c, run);
    if (protection) {
        Case none{};
        set_protection(none);
    }
    c.dr6[run] = debug ? read_dr6() : 0;
    if (c.extras.breakpoint) write_dr7(0x400);
    c.end[run] = state;
    c.end[run].unused = port_used ? in32(loop_port) : 0;
    for (Area& area : c.areas) transfer(c, area, area.after[run], run, false);
    for (unsigned n = 0; paged && n < window_pages; ++n) c.pages[run][n] = entry(window / page + n) & 0xfff;
}

// ---- the comparison

struct Difference {
    const char* what;
    uint64_t ram, device;
};

// Bochs differs in two things. It clears RF at a trap between two iterations, where it is set (SDM volume 3, 17.3.1.1);
// and after a comparison that faults in a later iteration the flags are those of before (SDM volume 2, REP).
uint64_t compared_flags(const Case& c) {
    const bool between = (c.form->traits & repeats) && c.end[on_ram].ip == c.start.ip;
    const bool compares = (c.form->opcode[0] & 0xf6) == 0xa6;  // CMPS, SCAS
    if (between && c.end[on_ram].vector == DB) return ~uint64_t{1 << 16};
    return ~static_cast<uint64_t>(between && compares ? status_flags : c.form->undefined);
}

// Which of these two comes first is the processor's affair (SDM volume 3, table 6-2).
bool page_fault_or_alignment(const Case& c) {
    const auto either = [](uint64_t vector) { return vector == PF || vector == AC; };
    return c.extras.alignment && either(c.end[on_ram].vector) && either(c.end[on_device].vector);
}

// What is written in several steps may be written in part before a fault (SDM volume 2, ENTER and PUSHA).
bool written_in_part(const Case& c) {
    return c.form->shape == stack && c.end[on_ram].vector > BP &&
           (c.form->opcode[0] == 0xc8 || c.form->opcode[0] == 0x60);
}

bool find(const Case& c, Difference& d) {
    const State &a = c.end[on_ram], &b = c.end[on_device];
    const auto differ = [&d](const char* what, uint64_t ram, uint64_t device) {
        d = {what, ram, device};
        return ram != device;
    };
    if (page_fault_or_alignment(c)) return false;
    if (differ("vector", a.vector, b.vector) || differ("error code", a.error, b.error) || differ("CR2", a.cr2, b.cr2))
        return true;
    if (differ("IP", a.ip, b.ip) || differ("flags", a.flags & compared_flags(c), b.flags & compared_flags(c)))
        return true;
    static constexpr const char* names[] = {"AX", "CX", "DX",  "BX",  "SP",  "BP",  "SI",  "DI",
                                            "R8", "R9", "R10", "R11", "R12", "R13", "R14", "R15"};
    for (unsigned n = 0; n < 16; ++n)
        if (differ(names[n], a.gpr[n], b.gpr[n])) return true;
    const uint64_t State::* segments[] = {&State::cs, &State::ss, &State::ds, &State::es, &State::fs, &State::gs};
    for (unsigned n = 0; n < 6; ++n)
        if (differ("a segment register", a.*segments[n] & 0xffff, b.*segments[n] & 0xffff)) return true;
    if (differ("the port's value", a.unused, b.unused) || differ("DR6", c.dr6[0], c.dr6[1])) return true;
    for (const unsigned n : List{0u, 1u, 2u, 3u, 4u})
        if (differ("x87", a.fx[n], b.fx[n])) return true;
    for (unsigned n = 32; n < 416 && !equal(a.fx + 32, b.fx + 32, 384); ++n)
        if (differ("a vector register", n << 8 | a.fx[n], n << 8 | b.fx[n])) return true;
    for (const Area& area : c.areas)
        if (!written_in_part(c) && !equal(area.after[0], area.after[1], area.size))
            for (unsigned n = 0; n < area.size; ++n)
                if (differ("memory", (area.linear + n) << 8 | area.after[0][n],
                           (area.linear + n) << 8 | area.after[1][n]))
                    return true;
    for (unsigned n = 0; n < window_pages; ++n)
        if (differ("a page's flags", n << 12 | c.pages[0][n], n << 12 | c.pages[1][n])) return true;
    return false;
}

void report(const Case& c, const Difference& d) {
    if (++reported > most_reports) return;
    put("DIFFERENT ");
    put(c.form->name);
    put(", ");
    put(c.mode->name);
    put(", ");
    put(place_names[c.place]);
    put(":");
    for (unsigned n = 0; n < c.length; ++n) {
        put(" ");
        put_hex(c.code[n], 2);
    }
    put(": ");
    put(d.what);
    put(": RAM ");
    put_hex(d.ram);
    put(", device ");
    put_hex(d.device);
    put("; vectors ");
    put_decimal(static_cast<uint32_t>(c.end[0].vector));
    put(" ");
    put_decimal(static_cast<uint32_t>(c.end[1].vector));
    put("; operands ");
    put_hex(c.operand);
    put(" ");
    put_hex(c.other);
    put("; flags before ");
    put_hex(c.start.flags);
    put("\n");
}

void try_case(const Form& f, const Mode& mode, unsigned prefix, Place place, const Extras& extras) {
    Case& c = current;
    c.form = &f;
    c.mode = &mode;
    c.prefix = prefix;
    c.place = place;
    c.extras = extras;
    if (!Builder{c}.build()) return;
    place_code(c);
    run(c, on_ram);
    run(c, on_device);
    ++cases;
    coverage.count(static_cast<unsigned>(&f - forms), static_cast<unsigned>(&mode - modes), prefix,
                   c.end[on_ram].vector);
    Difference d{};
    if (!find(c, d)) return;
    ++differences;
    report(c, d);
}

// ---- groups

uint32_t all_cases, all_differences;

template <class Cases>
void group(const Mode& mode, const char* name, Cases run_cases) {
    cases = differences = reported = 0;
    for (unsigned f = 0; f < form_count; ++f) run_cases(forms[f]);
    put(differences ? "FAIL " : "ok ");
    put(mode.name);
    put(", ");
    put(name);
    put(": ");
    put_decimal(cases);
    put(" cases, ");
    put_decimal(differences);
    put(" different\n");
    all_cases += cases;
    all_differences += differences;
}

// "all" as the command line (Multiboot 1, section 3.3).
bool all_cases_wanted() {
    const auto* information = reinterpret_cast<const uint32_t*>(static_cast<word>(boot_information));
    if (!(information[0] & 1 << 2)) return false;
    const char* text = reinterpret_cast<const char*>(static_cast<word>(information[4]));
    return text[0] == 'a' && text[1] == 'l' && text[2] == 'l';
}

void all_groups(const Mode& mode) {
    set_paging(mode.paging);
    set_segments(mode);
    // Each form has some of the prefixes and places in a mode, others in the next; all of them if the command line
    // asks.
    const unsigned part = all_cases_wanted() ? 1 : mode.thorough ? 3 : 10;
    const auto chosen = [&] { return below(part) < 3; };
    group(mode, "prefixes", [&](const Form& f) {
        for (unsigned p = below(part); p < prefix_count; p += part) try_case(f, mode, p, inside, {});
    });
    group(mode, "places", [&](const Form& f) {
        for (unsigned p = below(part); p < places; p += part) try_case(f, mode, 0, static_cast<Place>(p), {});
    });
    group(mode, "prefixes and places", [&](const Form& f) {
        for (unsigned n = 0; n < 4; n += part)
            try_case(f, mode, 1 + below(prefix_count - 1), static_cast<Place>(1 + below(places - 1)), {});
    });
    group(mode, "single steps", [&](const Form& f) {
        if (chosen()) try_case(f, mode, f.traits & repeats ? 4 : 0, inside, {.step = true});
    });
    group(mode, "breakpoints", [&](const Form& f) {
        if (chosen() || (f.traits & repeats))
            try_case(f, mode, f.traits & repeats ? 4 : 0, below(2) ? inside : across, {.breakpoint = true});
        if (f.traits & repeats) try_case(f, mode, 0, into_absent, {.breakpoint = true});
    });
    if (mode.ring == 3)
        group(mode, "alignment checks", [&](const Form& f) {
            for (const Place p : List{unaligned, into_read_only})
                if (chosen()) try_case(f, mode, 0, p, {.alignment = true});
        });
#ifdef __x86_64__
    const Leaf features = cpuid(7);
    if (mode.ring == 0 && features.b >> 20 & 1)
        group(mode, "SMAP", [&](const Form& f) {
            for (const Place p : List{inside, across, to_supervisor}) try_case(f, mode, 0, p, {.smap = true});
        });
    if (features.c >> 3 & 1)
        group(mode, "protection keys", [&](const Form& f) {
            for (const Place p : List{from_memory, into_memory}) try_case(f, mode, 0, p, {.keys = true});
        });
#endif
}

void set_gates() {
    for (unsigned vector = 0; vector < 32; ++vector) {
        const auto stub = reinterpret_cast<word>(case_stubs) + 16 * vector;
        const uint64_t dpl = vector == 3 ? 3 : 0;
        uint64_t gate = (stub & 0xffff) | 0x08ull << 16 | 0x8e00ull << 32 | dpl << 45 |
                        static_cast<uint64_t>(stub & 0xffff0000) << 32;
#ifdef __x86_64__
        gate |= 1ull << 32;  // the first stack of the interrupt stack table
#endif
        set_gate(vector, gate, 0);
    }
}

// If both runs had the same memory, nothing could ever differ.
bool twins_are_two() {
    ram_twin[0] = 0x12;
    *reinterpret_cast<volatile uint8_t*>(device) = 0x34;
    return ram_twin[0] == 0x12 && *reinterpret_cast<volatile uint8_t*>(device) == 0x34;
}

[[noreturn]] void end(unsigned status) {
    while (!(in8(0x3fd) & 0x40)) pause();
    out32(0xf4, status);
    for (;;) asm volatile("cli; hlt");
}

TEST(twin) {
#ifdef __x86_64__
    extern uint8_t exception_stack[] asm("exception_stack");
    const word top = reinterpret_cast<word>(exception_stack);
    copy(tss + 36, &top, sizeof top);  // IST1
#endif
    map_low_memory();
    start_paging();
    write_cr3(read_cr3());
    set_paging(modes[0].paging);
    write_cr0((read_cr0() & ~0xeul) | 0x50020);  // NE, WP, AM
    if (!twins_are_two()) {
        put("FAIL there is no test device\n");
        end(1);
    }
    set_gates();
    list_forms();
    for (const Mode& mode : modes) all_groups(mode);
    coverage.print(modes, sizeof modes / sizeof *modes);
    put("twin: ");
    put_decimal(all_cases);
    put(" cases, ");
    put_decimal(all_differences);
    put(" different\n");
    end(all_differences ? 1 : 0);
}

}  // namespace
