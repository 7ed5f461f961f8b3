// SPDX-License-Identifier: Apache-2.0
// The instruction forms with an operand in memory, by their encoding (SDM volume 2, appendix A).
#pragma once

#include <stdint.h>

// std::initializer_list is not there for every mode that the image is built for.
template <class T, unsigned n>
struct List {
    T values[n];
    constexpr const T* begin() const { return values; }
    constexpr const T* end() const { return values + n; }
};
template <class T, class... Rest>
List(T, Rest...) -> List<T, 1 + sizeof...(Rest)>;

enum Shape : uint8_t {
    memory,          // ModRM names it
    memory_stack,    // and the stack takes or gives the other operand
    moffs,
    string,          // at (E/R)DI, (E/R)SI or both
    stack,           // at the top of the stack
    table,           // at (E/R)BX + AL
};

// What the operand holds before.
enum Content : uint8_t {
    any,
    accumulator,
    landing,
    far_landing,
    selector,
    far_data,
    flag_image,
    machine_status,
    no_selector
};

enum Trait : uint16_t {
    byte_sized = 1 << 0, not_in_64 = 1 << 1, ring_0_only = 1 << 2, repeats = 1 << 3, reads_si = 1 << 4, at_di = 1 << 5,
    bit_offset = 1 << 6, port = 1 << 7, relative = 1 << 8, level = 1 << 9, divides = 1 << 10, register_of_6 = 1 << 11,
    only_protected = 1 << 12, count_to_7 = 1 << 13,
};

inline constexpr uint32_t cf = 1, pf = 4, af = 0x10, zf = 0x40, sf = 0x80, of = 0x800;
inline constexpr uint32_t status_flags = cf | pf | af | zf | sf | of;

struct Form {
    const char* name;
    uint8_t mandatory;  // prefix, 0: none
    uint8_t opcode[3], length;
    Shape shape;
    int8_t extension;   // in ModRM.reg; -1: a register, any
    uint8_t immediate;  // bytes; `by_operand`: 2 or 4
    uint16_t traits;
    Content content;
    uint32_t undefined;  // flags
};
inline constexpr uint8_t by_operand = 0xff;

inline constexpr unsigned most_forms = 320;
inline Form forms[most_forms];
inline unsigned form_count;

struct Bytes {
    uint8_t b[3], n;
};
constexpr Bytes op(unsigned a) { return {{static_cast<uint8_t>(a)}, 1}; }
constexpr Bytes op0f(unsigned a) { return {{0x0f, static_cast<uint8_t>(a)}, 2}; }
constexpr Bytes op38(unsigned a) { return {{0x0f, 0x38, static_cast<uint8_t>(a)}, 3}; }

inline void form(const char* name, Bytes o, Shape shape = memory, int extension = -1, unsigned immediate = 0,
                 unsigned traits = 0, Content content = any, uint32_t undefined = 0, unsigned mandatory = 0) {
    forms[form_count++] = {name,
                           static_cast<uint8_t>(mandatory),
                           {o.b[0], o.b[1], o.b[2]},
                           o.n,
                           shape,
                           static_cast<int8_t>(extension),
                           static_cast<uint8_t>(immediate),
                           static_cast<uint16_t>(traits),
                           content,
                           undefined};
}
// Bytes at an even opcode, the operand size at the odd one that follows.
inline void pair(const char* name, unsigned opcode, Shape shape = memory, int extension = -1,
                 unsigned immediate_of_bytes = 0, unsigned immediate = 0, unsigned traits = 0, Content content = any,
                 uint32_t undefined = 0) {
    form(name, op(opcode), shape, extension, immediate_of_bytes, traits | byte_sized, content, undefined);
    form(name, op(opcode + 1), shape, extension, immediate, traits, content, undefined);
}
inline void pair0f(const char* name, unsigned opcode, Content content = any) {
    form(name, op0f(opcode), memory, -1, 0, byte_sized, content);
    form(name, op0f(opcode + 1), memory, -1, 0, 0, content);
}

inline void arithmetic_forms() {
    static constexpr const char* binary[] = {"ADD", "OR", "ADC", "SBB", "AND", "SUB", "XOR", "CMP"};
    for (unsigned n = 0; n < 8; ++n) {
        const uint32_t undefined = n == 1 || n == 4 || n == 6 ? af : 0;
        const int e = static_cast<int>(n);
        pair(binary[n], 8 * n, memory, -1, 0, 0, 0, any, undefined);
        pair(binary[n], 8 * n + 2, memory, -1, 0, 0, 0, any, undefined);
        pair(binary[n], 0x80, memory, e, 1, by_operand, 0, any, undefined);
        form(binary[n], op(0x83), memory, e, 1, 0, any, undefined);
    }
    pair("TEST", 0x84, memory, -1, 0, 0, 0, any, af);
    pair("TEST", 0xf6, memory, 0, 1, by_operand, 0, any, af);
    pair("NOT", 0xf6, memory, 2);
    pair("NEG", 0xf6, memory, 3);
    pair("MUL", 0xf6, memory, 4, 0, 0, 0, any, sf | zf | af | pf);
    pair("IMUL", 0xf6, memory, 5, 0, 0, 0, any, sf | zf | af | pf);
    pair("DIV", 0xf6, memory, 6, 0, 0, divides, any, status_flags);
    pair("IDIV", 0xf6, memory, 7, 0, 0, divides, any, status_flags);
    pair("INC", 0xfe, memory, 0);
    pair("DEC", 0xfe, memory, 1);
    form("IMUL", op(0x69), memory, -1, by_operand, 0, any, sf | zf | af | pf);
    form("IMUL", op(0x6b), memory, -1, 1, 0, any, sf | zf | af | pf);
    form("IMUL", op0f(0xaf), memory, -1, 0, 0, any, sf | zf | af | pf);
    static constexpr const char* shifts[] = {"ROL", "ROR", "RCL", "RCR", "SHL", "SHR", "SAL", "SAR"};
    for (unsigned n = 0; n < 8; ++n) {
        const int e = static_cast<int>(n);
        pair(shifts[n], 0xc0, memory, e, 1, 1, count_to_7, any, of | (n < 4 ? 0 : af));
        pair(shifts[n], 0xd0, memory, e, 0, 0, 0, any, n < 4 ? 0 : af);
        pair(shifts[n], 0xd2, memory, e, 0, 0, count_to_7, any, of | (n < 4 ? 0 : af));
    }
    for (unsigned opcode : List{0xa4u, 0xacu}) {
        form(opcode == 0xa4 ? "SHLD" : "SHRD", op0f(opcode), memory, -1, 1, count_to_7, any, of | af);
        form(opcode == 0xa4 ? "SHLD" : "SHRD", op0f(opcode + 1), memory, -1, 0, count_to_7, any, of | af);
    }
    static constexpr const char* bits[] = {"BT", "BTS", "BTR", "BTC"};
    for (unsigned n = 0; n < 4; ++n) {
        form(bits[n], op0f(0xa3 + 8 * n), memory, -1, 0, bit_offset, any, of | sf | af | pf);
        form(bits[n], op0f(0xba), memory, 4 + static_cast<int>(n), 1, 0, any, of | sf | af | pf);
    }
    form("BSF", op0f(0xbc), memory, -1, 0, 0, any, cf | of | sf | af | pf);
    form("BSR", op0f(0xbd), memory, -1, 0, 0, any, cf | of | sf | af | pf);
    form("POPCNT", op0f(0xb8), memory, -1, 0, 0, any, 0, 0xf3);
}

inline void move_forms() {
    pair("MOV", 0x88);
    pair("MOV", 0x8a);
    pair("MOV", 0xc6, memory, 0, 1, by_operand);
    pair("MOV", 0xa0, moffs);
    pair("MOV", 0xa2, moffs);
    for (int s : List{0, 1, 2, 3, 4, 5}) form("MOV", op(0x8c), memory, s);
    for (int s : List{0, 3, 4, 5}) form("MOV", op(0x8e), memory, s, 0, 0, selector);
    form("MOVSXD", op(0x63), memory, -1, 0, 0);
    for (unsigned opcode : List{0xb6u, 0xb7u}) form("MOVZX", op0f(opcode));
    for (unsigned opcode : List{0xbeu, 0xbfu}) form("MOVSX", op0f(opcode));
    for (unsigned opcode : List{0xf0u, 0xf1u}) form("MOVBE", op38(opcode));
    form("MOVNTI", op0f(0xc3));
    for (unsigned c : List{2u, 5u, 12u, 15u}) form("CMOVcc", op0f(0x40 + c));
    for (unsigned c : List{2u, 5u, 12u, 15u}) form("SETcc", op0f(0x90 + c), memory, 0, 0, byte_sized);
    pair("XCHG", 0x86);
    pair0f("CMPXCHG", 0xb0, accumulator);
    form("CMPXCHG8B", op0f(0xc7), memory, 1, 0, 0, accumulator);
    pair0f("XADD", 0xc0);
    form("XLAT", op(0xd7), table, -1, 0, byte_sized);
    form("BOUND", op(0x62), memory, -1, 0, not_in_64);
    form("CLFLUSH", op0f(0xae), memory, 7, 0, byte_sized);
}

inline void string_forms() {
    pair("MOVS", 0xa4, string, -1, 0, 0, repeats | reads_si | at_di);
    pair("CMPS", 0xa6, string, -1, 0, 0, repeats | reads_si | at_di);
    pair("STOS", 0xaa, string, -1, 0, 0, repeats | at_di);
    pair("LODS", 0xac, string, -1, 0, 0, repeats | reads_si);
    pair("SCAS", 0xae, string, -1, 0, 0, repeats | at_di);
    pair("INS", 0x6c, string, -1, 0, 0, repeats | port | at_di);
    pair("OUTS", 0x6e, string, -1, 0, 0, repeats | port | reads_si);
}

inline void stack_forms() {
    form("PUSH m", op(0xff), memory_stack, 6);
    form("POP m", op(0x8f), memory_stack, 0);
    form("CALL m", op(0xff), memory_stack, 2, 0, 0, landing);
    form("JMP m", op(0xff), memory, 4, 0, 0, landing);
    form("CALL far m", op(0xff), memory_stack, 3, 0, 0, far_landing);
    form("JMP far m", op(0xff), memory, 5, 0, 0, far_landing);
    form("LES", op(0xc4), memory, -1, 0, not_in_64, far_data);
    form("LDS", op(0xc5), memory, -1, 0, not_in_64, far_data);
    form("LSS", op0f(0xb2), memory, -1, 0, 0, no_selector);
    form("LFS", op0f(0xb4), memory, -1, 0, 0, far_data);
    form("LGS", op0f(0xb5), memory, -1, 0, 0, far_data);
    for (unsigned r : List{0u, 3u, 4u, 7u}) {
        form("PUSH r", op(0x50 + r), stack);
        if (r != 4) form("POP r", op(0x58 + r), stack);
    }
    form("PUSH i", op(0x68), stack, -1, by_operand);
    form("PUSH i", op(0x6a), stack, -1, 1);
    for (unsigned opcode : List{0x06u, 0x0eu, 0x16u, 0x1eu}) form("PUSH s", op(opcode), stack, -1, 0, not_in_64);
    for (unsigned opcode : List{0x07u, 0x1fu}) form("POP s", op(opcode), stack, -1, 0, not_in_64, selector);
    for (unsigned opcode : List{0xa0u, 0xa8u}) form("PUSH s", op0f(opcode), stack);
    for (unsigned opcode : List{0xa1u, 0xa9u}) form("POP s", op0f(opcode), stack, -1, 0, 0, selector);
    form("PUSHA", op(0x60), stack, -1, 0, not_in_64);
    form("POPA", op(0x61), stack, -1, 0, not_in_64);
    form("PUSHF", op(0x9c), stack);
    form("POPF", op(0x9d), stack, -1, 0, 0, flag_image);
    form("ENTER", op(0xc8), stack, -1, 3, level);
    form("LEAVE", op(0xc9), stack, -1, 0, level);
    form("CALL", op(0xe8), stack, -1, by_operand, relative);
    form("RET", op(0xc3), stack, -1, 0, 0, landing);
    form("RET", op(0xc2), stack, -1, 2, 0, landing);
}

inline void system_forms() {
    form("SLDT", op0f(0x00), memory, 0, 0, only_protected);
    form("STR", op0f(0x00), memory, 1, 0, only_protected);
    form("LLDT", op0f(0x00), memory, 2, 0, only_protected, no_selector);
    form("LTR", op0f(0x00), memory, 3, 0, only_protected, no_selector);
    form("SMSW", op0f(0x01), memory, 4);
    form("LMSW", op0f(0x01), memory, 6, 0, 0, machine_status);
}

inline void vector_forms() {
    struct Row {
        const char* name;
        unsigned mandatory, opcode;
    };
    static constexpr Row rows[] = {
        {"MOVUPS", 0, 0x10},    {"MOVUPS", 0, 0x11},     {"MOVUPD", 0x66, 0x10},  {"MOVUPD", 0x66, 0x11},
        {"MOVSS", 0xf3, 0x10},  {"MOVSS", 0xf3, 0x11},   {"MOVSD", 0xf2, 0x10},   {"MOVSD", 0xf2, 0x11},
        {"MOVLPS", 0, 0x12},    {"MOVLPS", 0, 0x13},     {"MOVLPD", 0x66, 0x12},  {"MOVLPD", 0x66, 0x13},
        {"MOVHPS", 0, 0x16},    {"MOVHPS", 0, 0x17},     {"MOVHPD", 0x66, 0x16},  {"MOVHPD", 0x66, 0x17},
        {"MOVAPS", 0, 0x28},    {"MOVAPS", 0, 0x29},     {"MOVAPD", 0x66, 0x28},  {"MOVAPD", 0x66, 0x29},
        {"MOVNTPS", 0, 0x2b},   {"MOVNTPD", 0x66, 0x2b}, {"MOVD x", 0x66, 0x6e},  {"MOVD x", 0x66, 0x7e},
        {"MOVQ x", 0xf3, 0x7e}, {"MOVQ x", 0x66, 0xd6},  {"MOVDQA", 0x66, 0x6f},  {"MOVDQA", 0x66, 0x7f},
        {"MOVDQU", 0xf3, 0x6f}, {"MOVDQU", 0xf3, 0x7f},  {"MOVNTDQ", 0x66, 0xe7}, {"LDDQU", 0xf2, 0xf0},
        {"MOVD m", 0, 0x6e},    {"MOVD m", 0, 0x7e},     {"MOVQ m", 0, 0x6f},     {"MOVQ m", 0, 0x7f},
        {"MOVNTQ", 0, 0xe7},
    };
    for (const Row& row : rows) form(row.name, op0f(row.opcode), memory, -1, 0, register_of_6, any, 0, row.mandatory);
}

inline void list_forms() {
    arithmetic_forms();
    move_forms();
    string_forms();
    stack_forms();
    system_forms();
    vector_forms();
}
