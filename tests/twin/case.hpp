// SPDX-License-Identifier: Apache-2.0
// One case: a form with a prefix, in a mode, with its operands in places that may fault.
#pragma once

#include "tests/twin/forms.hpp"
#include "tests/twin/machine.hpp"

// Where the operand is.
enum Place : uint8_t {
    inside,
    unaligned,
    across,
    to_read_only,
    into_read_only,
    to_absent,
    into_absent,
    out_of_absent,
    to_supervisor,
    from_memory,
    into_memory,
    past_limit,
    not_canonical,
    places
};

struct Prefix {
    const char* name;
    uint8_t bytes[2];
};
inline constexpr Prefix prefixes[] = {
    {"-", {}},         {"66", {0x66}},    {"67", {0x67}},     {"LOCK", {0xf0}},         {"REP", {0xf3}},
    {"REPNE", {0xf2}}, {"ES", {0x26}},    {"CS", {0x2e}},     {"SS", {0x36}},           {"FS", {0x64}},
    {"GS", {0x65}},    {"REX.W", {0x48}}, {"REX.RB", {0x45}}, {"66 REP", {0x66, 0xf3}}, {"67 REP", {0x67, 0xf3}},
};
inline constexpr unsigned prefix_count = sizeof prefixes / sizeof *prefixes;

// The extras of a group.
struct Extras {
    bool step{}, breakpoint{}, alignment{}, smap{}, keys{};
};

inline uint64_t random_state = 0x243f6a8885a308d3;
inline uint64_t random() {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}
inline unsigned below(unsigned n) { return static_cast<uint32_t>(random() >> 20) % n; }

// In as few and wide accesses as can be: on the device each is emulated.
inline void copy(void* to, const void* from, word size) {
    word words = size / sizeof(word);
    asm volatile("rep movs%z2" : "+D"(to), "+S"(from), "+c"(words)::"memory");
    size %= sizeof(word);
    if (size) asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size)::"memory");
}
inline bool equal(const void* a, const void* b, word size) {
    bool same;
    asm volatile("cmp %0, %0; repe cmpsb" : "+D"(a), "+S"(b), "+c"(size), "=@cce"(same)::"memory");
    return same;
}

// Memory around an operand, filled before a run and compared after it.
struct Area {
    static constexpr unsigned most = 96;
    uint32_t linear;
    unsigned before, size;  // bytes before the operand's eight, and in all; multiples of 8
    alignas(8) uint8_t first[most], after[2][most];
};

struct Case {
    const Form* form;
    const Mode* mode;
    unsigned prefix;
    Place place;
    Extras extras;

    uint8_t code[20];
    unsigned length;
    unsigned operand_size, address_size;
    uint32_t operand, other;  // linear; `other`: the second operand's
    State start;
    State end[2];
    uint64_t pages[2][window_pages];
    word dr6[2];
    Area areas[2];
};
inline constexpr uint64_t end_code = 0x800;  // in the code page: where branches land

class Builder {
  public:
    explicit Builder(Case& c) : c_(c), form_(*c.form), mode_(*c.mode) {}
    // False: there is no such case.
    bool build() {
        if (!possible()) return false;
        sizes();
        encode();
        places_of_operands();
        registers();
        contents();
        return true;
    }

  private:
    bool has(uint16_t trait) const { return form_.traits & trait; }
    bool stack_on_twin() const { return form_.shape == stack; }
    uint8_t prefix_byte(unsigned n) const { return prefixes[c_.prefix].bytes[n]; }
    bool prefixed(uint8_t byte) const { return prefix_byte(0) == byte || prefix_byte(1) == byte; }
    bool rex() const { return mode_.in_64() && (prefix_byte(0) & 0xf0) == 0x40; }

    bool possible() const {
        if (mode_.in_64() && has(not_in_64)) return false;
        if ((prefix_byte(0) & 0xf0) == 0x40 && !mode_.in_64()) return false;
        if (form_.opcode[0] == 0x63 && !mode_.in_64()) return false;  // ARPL
        // Bochs gives ENTER and LEAVE 64-bit operands there whatever the prefix (SDM volume 2, ENTER: 16).
        if (mode_.in_64() && has(level) && prefixed(0x66)) return false;
        if (form_.mandatory && (prefixed(0x66) || prefixed(0xf2) || prefixed(0xf3))) return false;
        // A prefix that makes another instruction: TZCNT, LZCNT, CRC32, CLWB, an SSE move, RDFSBASE and their kind.
        const bool changes = prefixed(0xf2) || prefixed(0xf3) || prefixed(0x66);
        if (changes && form_.length > 1 && (has(register_of_6) || form_.opcode[1] == 0xae)) return false;
        if ((prefixed(0xf2) || prefixed(0xf3)) && form_.length > 1 &&
            (form_.opcode[1] == 0xbc || form_.opcode[1] == 0xbd || form_.opcode[1] == 0x38 || form_.opcode[1] == 0xb8 ||
             form_.opcode[1] == 0xc7))
            return false;
#ifndef __x86_64__
        // Without stacks of its own an exception in ring 0 has to be delivered on the device.
        if (stack_on_twin() && mode_.ring == 0) return false;
        if (form_.shape == memory_stack && mode_.ring == 0 && c_.extras.breakpoint) return false;
#endif
        if (c_.place == past_limit && (mode_.in_64() || stack_on_twin())) return false;
        if (c_.place == not_canonical && !mode_.in_64()) return false;
        if (mode_.real() && c_.place > across && c_.place != past_limit) return false;
        // CS and SS are the program's own there, and reach no device.
        if (mode_.real() && (prefixed(0x2e) || prefixed(0x36))) return false;
        if (mode_.real() && c_.place == past_limit && (prefixed(0x64) || prefixed(0x65))) return false;
        // Segment registers that are loaded keep nothing of the window's base.
        if (mode_.real() && form_.content == selector) return false;
        return true;
    }

    void sizes() {
        const bool narrow = (mode_.code == 2) != prefixed(0x66);
        c_.operand_size = has(byte_sized) ? 1 : rex() && prefix_byte(0) & 8 ? 8 : narrow ? 2 : 4;
        c_.address_size = mode_.code;
        if (prefixed(0x67)) c_.address_size = mode_.code == 4 ? 2 : 4;
    }

    void put(uint8_t byte) { c_.code[c_.length++] = byte; }
    void put_value(uint64_t value, unsigned size) {
        for (unsigned n = 0; n < size; ++n) put(static_cast<uint8_t>(value >> 8 * n));
    }

    void encode() {
        c_.length = 0;
        const bool in_front = (prefix_byte(0) & 0xf0) != 0x40;
        if (in_front)
            for (const uint8_t b : prefixes[c_.prefix].bytes)
                if (b) put(b);
        if (form_.mandatory) put(form_.mandatory);
        if (!in_front) put(prefix_byte(0));
        for (unsigned n = 0; n < form_.length; ++n) put(form_.opcode[n]);
        if (form_.shape == memory || form_.shape == memory_stack) {
            static constexpr uint8_t registers[] = {0, 1, 2, 3, 5, 6};
            unsigned number = form_.extension >= 0 ? static_cast<unsigned>(form_.extension) : registers[below(6)];
            if (has(bit_offset)) number = reg::CX;
            put(static_cast<uint8_t>(number << 3 | (c_.address_size == 2 ? 5 : 7)));  // [DI], [EDI], [RDI]
        }
        if (form_.shape == moffs) moffs_at_ = c_.length;
        immediate();
    }

    void immediate() {
        if (form_.shape == moffs) return put_value(0, c_.address_size);
        if (form_.immediate == 0) return;
        const unsigned branch = mode_.in_64() ? 4 : c_.operand_size == 2 ? 2 : 4;
        unsigned size = form_.immediate != by_operand ? form_.immediate : c_.operand_size == 8 ? 4 : c_.operand_size;
        if (has(relative)) return put_value(end_code - (c_.length + branch), branch);
        if (has(level) && size == 3) return put_value(0x10 | below(3) << 16, 3);
        put_value(has(count_to_7) ? random() & 7 : form_.length == 1 && form_.opcode[0] == 0xc2 ? 8 : random(), size);
    }

    unsigned span() const {
        if (has(register_of_6)) return 8;
        if (form_.content == far_landing || form_.content == far_data || form_.content == no_selector)
            return c_.operand_size + 2;
        return c_.operand_size == 1 ? 2 : c_.operand_size;  // a byte never crosses; its neighbour may
    }

    void places_of_operands() {
        const unsigned last = span() > 1 ? 1 + below(span() - 1) : 1;  // bytes on the first of two pages
        const auto at = [](unsigned p, unsigned offset) { return window + p * page + offset; };
        switch (c_.place) {
            case inside: c_.operand = at(writable, 0x100); break;
            case unaligned: c_.operand = at(writable, 0x101 + below(30)); break;
            case across: c_.operand = at(writable_2, 0) - last; break;
            case to_read_only: c_.operand = at(read_only, 0x100); break;
            case into_read_only: c_.operand = at(read_only, 0) - last; break;
            case to_absent: c_.operand = at(absent, 0x100); break;
            case into_absent: c_.operand = at(absent, 0) - last; break;
            case out_of_absent: c_.operand = at(supervisor, 0) - last; break;
            case to_supervisor: c_.operand = at(supervisor, 0x100); break;
            case from_memory: c_.operand = at(twin_6, 0) - last; break;
            case into_memory: c_.operand = at(memory_after, 0) - last; break;
            case past_limit:
                c_.operand = mode_.v86 || mode_.real() ? window + 0x10000 - last : window + limited_to + 1 - last;
                break;
            default: c_.operand = at(writable, 0x100); break;
        }
        static constexpr uint32_t others[] = {0x9100, 0x0800, 0x5ffc, 0x1ffe, 0x3100, 0x2400, 0x9ff8, 0x0806};
        const bool plain = c_.extras.breakpoint || c_.place == past_limit;
        c_.other = window + (plain ? 0x9100 : mode_.real() ? others[below(2)] : others[below(8)]);
        if (form_.shape == memory_stack) {
            static constexpr uint32_t stacks[] = {0xd800, 0xd804, 0x1c00, 0x3800, 0x2c00};
            c_.other = window + (may_move_stack() ? stacks[below(5)] : stacks[below(2)]);
        }
    }
    bool may_move_stack() const {
#ifdef __x86_64__
        return true;
#else
        return mode_.ring == 3;
#endif
    }

    uint64_t base_of(uint8_t override) const {
        if (override == 0x64 || override == 0x65) return fs_base;
        return mode_.in_64() ? 0 : window;
    }
    uint64_t offset_of(uint32_t linear, bool overridden) const {
        uint64_t offset = linear - (overridden ? base_of(prefix_byte(0)) : base_of(0));
        if (c_.place == not_canonical && linear == c_.operand) offset = (1ull << 47) - (below(2) ? 1 : 0x100);
        return offset;
    }

    void registers() {
        State& s = c_.start;
        s = {};
        for (unsigned n = 0; n < 16; ++n) s.gpr[n] = mode_.in_64() ? random() : random() & 0xffffffff;
        for (unsigned n = mode_.in_64() ? 16 : 8; n < 16; ++n) s.gpr[n] = 0;
        s.fx[0] = 0x7f, s.fx[1] = 0x03, s.fx[24] = 0x80, s.fx[25] = 0x1f;  // FCW, MXCSR
        if (has(register_of_6)) vector_registers();
        s.gpr[reg::DI] = s.gpr[15] = offset_of(c_.operand, form_.shape == memory || form_.shape == memory_stack);
        s.gpr[reg::SI] = offset_of(has(at_di) ? c_.other : c_.operand, form_.shape == string);
        s.gpr[reg::SP] = window + 0xd800 - base_of(0);
        if (form_.shape == memory_stack) s.gpr[reg::SP] = c_.other - base_of(0);
        if (form_.shape == stack) stack_registers();
        if (form_.shape == table) s.gpr[reg::BX] = offset_of(c_.operand, true) - (s.gpr[reg::AX] & 0xff);
        if (form_.shape == moffs) {
            const uint64_t offset = offset_of(c_.operand, true);
            for (unsigned n = 0; n < c_.address_size; ++n)
                c_.code[moffs_at_ + n] = static_cast<uint8_t>(offset >> 8 * n);
        }
        if (has(repeats)) s.gpr[reg::CX] = below(6);
        if (has(count_to_7)) s.gpr[reg::CX] = (s.gpr[reg::CX] & ~0xffull) | below(8);
        if (has(bit_offset))
            s.gpr[reg::CX] = (below(200) - 100ull) & (mode_.in_64() ? ~0ull : 0xffffffff), s.gpr[9] = s.gpr[reg::CX];
        if (has(divides)) s.gpr[reg::DX] = below(2), s.gpr[reg::AX] &= below(2) ? ~0ull : 0xff;
        if (has(port)) s.gpr[reg::DX] = 0xe0;
        segments();
    }

    // In the layout of FXSAVE: MM registers of 8 bytes in 16, XMM registers.
    void vector_registers() {
        for (unsigned n = 32; n < (mode_.in_64() ? 416 : 288); n += n < 160 ? 16 : 8)
            write(c_.start.fx + n, random(), 8);
    }

    void stack_registers() {
        State& s = c_.start;
        s.gpr[reg::SP] = offset_of(c_.operand, false) + (below(2) ? 0 : c_.operand_size);
        if (c_.place == not_canonical) s.gpr[reg::SP] = (1ull << 47) - (below(2) ? 4 : 0x100);
        s.gpr[reg::BP] =
            has(level) ? (form_.immediate ? c_.other - base_of(0) : offset_of(c_.operand, false)) : s.gpr[reg::BP];
    }

    void segments() {
        State& s = c_.start;
        const uint16_t limited = c_.place == past_limit ? own_limited : own_data;
        s.ip = code_page - base_of(0);
        s.flags = 2 | (random() & (status_flags | (has(repeats) ? 0x400 : 0)));
        if (has(port)) s.flags |= 3 << 12;
        if (c_.extras.step) s.flags |= 0x100;
        if (c_.extras.alignment || (c_.extras.smap && below(2))) s.flags |= 1 << 18;
        s.cr2 = 0x12345000;
        if (mode_.v86) {
            s.flags |= 1 << 17 | 3 << 12;
            s.cs = s.ss = s.ds = s.es = window >> 4;
            s.fs = s.gs = fs_base >> 4;
            return;
        }
        s.cs = selector_of(own_code, mode_.ring);
        s.ss = selector_of(own_data, mode_.ring);
        s.ds = s.es = selector_of(limited, mode_.ring);
        s.fs = s.gs = selector_of(own_fs, mode_.ring);
        if (mode_.real()) s.cs = s.ss = window >> 4;
    }

    // Bytes of memory, and in them what the instruction wants to find.
    void contents() {
        // Little more than is accessed: a copy to or from the device costs far more than the case itself.
        const bool many = form_.shape == string || form_.shape == stack || has(bit_offset);
        const bool second = form_.shape == memory_stack || (has(at_di) && has(reads_si)) || has(level);
        c_.areas[0].before = many ? 40 : 8;
        c_.areas[0].size = many ? Area::most : 32;
        c_.areas[1].before = 40;
        c_.areas[1].size = second ? Area::most : 0;
        for (Area& area : c_.areas)
            for (unsigned n = 0; n < area.size; n += 8) *reinterpret_cast<uint64_t*>(area.first + n) = random();
        c_.areas[0].linear = (c_.operand & ~7u) - c_.areas[0].before;
        c_.areas[1].linear = (c_.other & ~7u) - c_.areas[1].before;
        State& s = c_.start;
        uint8_t* at =
            c_.areas[0].first + (form_.shape == stack ? place_of(s.gpr[reg::SP] + base_of(0)) : place_of(c_.operand));
        const bool wide = form_.content == landing || form_.content == selector || form_.content == flag_image;
        const unsigned size = wide && mode_.in_64() ? 8 : c_.operand_size;
        const uint64_t target = code_page + end_code - base_of(0);
        switch (form_.content) {
            case accumulator: equal_accumulator(at); break;
            case landing: write(at, target, size); break;
            case far_landing: write(at, target, size); write(at + size, s.cs, 2); break;
            case selector: write(at, some_selector(), size); break;
            case far_data: write(at + size, some_selector(), 2); break;
            case no_selector: write(at, 0, size); write(at + size, form_.name[1] == 'S' ? s.ss : 0, 2); break;
            case flag_image: write(at, (random() & 0x240cd5) | 2, size); break;
            case machine_status: write(at, read_cr0() & (mode_.real() ? 0xfff0 : 0xfff1), 2); break;
            default: break;
        }
    }
    unsigned place_of(uint64_t linear) const {
        const uint64_t within = linear - c_.areas[0].linear;
        return within < c_.areas[0].size - 16 ? static_cast<unsigned>(within) : c_.areas[0].before;
    }
    static void write(uint8_t* at, uint64_t value, unsigned size) {
        for (unsigned n = 0; n < size; ++n) at[n] = static_cast<uint8_t>(value >> 8 * n);
    }
    void equal_accumulator(uint8_t* at) {
        if (below(2)) return;
        const bool pair = form_.opcode[1] == 0xc7;
        const unsigned size = pair && c_.operand_size == 2 ? 4 : c_.operand_size;
        write(at, c_.start.gpr[reg::AX], size);
        if (pair) write(at + size, c_.start.gpr[reg::DX], size);
    }
    uint64_t some_selector() const {
        if (mode_.v86 || mode_.real()) return window >> 4;
        const uint16_t choice[] = {selector_of(own_data, mode_.ring), selector_of(own_fs, mode_.ring), 0,
                                   selector_of(own_absent, mode_.ring), selector_of(own_code, mode_.ring), 0xf8};
        return choice[below(6)];
    }

    Case& c_;
    const Form& form_;
    const Mode& mode_;
    unsigned moffs_at_{};
};
