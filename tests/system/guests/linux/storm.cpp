// SPDX-License-Identifier: Apache-2.0
// storm SECONDS: a thread a processor in one address space. They map, touch and unmap memory, so that each sends TLB
// shootdowns to the others; wake each other; and watch that no clock falls from one processor to the next.
#include <stdint.h>

namespace {

long call(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0) {
    long result;
    register long r10 asm("r10") = d;
    register long r8 asm("r8") = e;
    register long r9 asm("r9") = f;
    asm volatile("syscall"
                 : "=a"(result)
                 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                 : "rcx", "r11", "memory");
    return result;
}

constexpr long sys_write = 1, sys_mmap = 9, sys_munmap = 11, sys_clone = 56, sys_exit = 60, sys_getaffinity = 204,
               sys_setaffinity = 203, sys_futex = 202, sys_clock_gettime = 228, sys_exit_group = 231, sys_getcpu = 309;
constexpr long futex_wait = 0, futex_wake = 1;
constexpr long page = 4096, pages = 32, max_threads = 16;
constexpr long thread_flags = 0x100 | 0x200 | 0x400 | 0x800 | 0x10000 | 0x40000;  // VM FS FILES SIGHAND THREAD SYSVSEM

struct Shared {
    long threads;
    uint64_t end;            // nanoseconds
    uint64_t last_time, last_tsc;
    uint64_t falls;          // of a clock
    uint64_t astray;         // threads found on a processor that is not theirs
    uint64_t rounds[max_threads];
    uint32_t turn;
    uint32_t finished;
} shared;

alignas(16) unsigned char stacks[max_threads][16384];

uint64_t nanoseconds() {
    uint64_t t[2];
    call(sys_clock_gettime, 1, reinterpret_cast<long>(t));
    return t[0] * 1'000'000'000 + t[1];
}
uint64_t tsc() {
    uint32_t low, high;
    asm volatile("lfence; rdtsc" : "=a"(low), "=d"(high)::"memory");
    return uint64_t{high} << 32 | low;
}

// Both clocks at one moment: again if this processor did something else in between.
struct Moment {
    uint64_t ticks, time;
};
Moment moment() {
    for (;;) {
        const uint64_t before = tsc(), time = nanoseconds(), after = tsc();
        if (after - before < 50'000) return {before + (after - before) / 2, time};
    }
}

// What anybody has seen before this clock was read is not later than it.
template <class Clock>
uint64_t look(uint64_t& last, Clock clock) {
    uint64_t before = __atomic_load_n(&last, __ATOMIC_SEQ_CST);
    const uint64_t now = clock();
    if (now < before) __atomic_fetch_add(&shared.falls, 1, __ATOMIC_SEQ_CST);
    while (before < now &&
           !__atomic_compare_exchange_n(&last, &before, now, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
    }
    return now;
}

void storm(long self) {
    uint64_t mask = 1ull << self;
    call(sys_setaffinity, 0, sizeof mask, reinterpret_cast<long>(&mask));
    do {
        const long at = call(sys_mmap, 0, pages * page, 3, 0x22, -1, 0);
        for (long i = 0; i < pages; ++i) *reinterpret_cast<volatile char*>(at + i * page) = 1;
        call(sys_munmap, at, pages * page);
        // Whose turn it is wakes the next one; the others sleep a while.
        const uint32_t turn = __atomic_load_n(&shared.turn, __ATOMIC_SEQ_CST);
        if (turn % static_cast<uint64_t>(shared.threads) == static_cast<uint64_t>(self)) {
            __atomic_fetch_add(&shared.turn, 1, __ATOMIC_SEQ_CST);
            call(sys_futex, reinterpret_cast<long>(&shared.turn), futex_wake, 64);
        } else if (shared.rounds[self] % 4 == 0) {
            const long time[2] = {0, 1'000'000};
            call(sys_futex, reinterpret_cast<long>(&shared.turn), futex_wait, turn, reinterpret_cast<long>(time));
        }
        uint32_t cpu = 0;
        call(sys_getcpu, reinterpret_cast<long>(&cpu));
        if (cpu != static_cast<uint32_t>(self)) __atomic_fetch_add(&shared.astray, 1, __ATOMIC_SEQ_CST);
        look(shared.last_tsc, tsc);
        ++shared.rounds[self];
    } while (look(shared.last_time, nanoseconds) < shared.end);
}

[[noreturn]] void thread(long self) {
    storm(self);
    __atomic_fetch_add(&shared.finished, 1, __ATOMIC_SEQ_CST);
    call(sys_futex, reinterpret_cast<long>(&shared.finished), futex_wake, 64);
    for (;;) call(sys_exit, 0);
}

// The new thread comes out of the call on a stack of its own, from which it takes what to do.
void start(long number) {
    auto* top = reinterpret_cast<long*>(stacks[number] + sizeof stacks[number]) - 2;
    top[0] = reinterpret_cast<long>(&thread);
    top[1] = number;
    long result = sys_clone;
    asm volatile(
        "syscall\n\t"
        "test %%rax, %%rax\n\t"
        "jnz 1f\n\t"
        "pop %%rax\n\t"
        "pop %%rdi\n\t"
        "call *%%rax\n"
        "1:"
        : "+a"(result)
        : "D"(thread_flags), "S"(top), "d"(0)
        : "rcx", "r11", "memory");
}

void put(const char* text) {
    long length = 0;
    while (text[length]) ++length;
    call(sys_write, 1, reinterpret_cast<long>(text), length);
}
void put(uint64_t number) {
    char digits[24];
    char* at = digits + sizeof digits - 1;
    *at = 0;
    do *--at = static_cast<char>('0' + number % 10); while (number /= 10);
    put(at);
}

uint64_t parse(const char* text) {
    uint64_t value = 0;
    while (*text >= '0' && *text <= '9') value = 10 * value + static_cast<uint64_t>(*text++ - '0');
    return value;
}

}  // namespace

extern "C" [[noreturn]] void run(const long* stack) {
    const uint64_t seconds = stack[0] > 1 ? parse(reinterpret_cast<const char*>(stack[2])) : 1;
    uint64_t allowed[16]{};
    call(sys_getaffinity, 0, sizeof allowed, reinterpret_cast<long>(allowed));
    for (uint64_t left = allowed[0]; left != 0; left &= left - 1) ++shared.threads;
    const Moment began = moment();
    shared.end = began.time + seconds * 1'000'000'000;
    for (long i = 1; i < shared.threads; ++i) start(i);
    storm(0);
    for (uint32_t done; (done = __atomic_load_n(&shared.finished, __ATOMIC_SEQ_CST)) + 1 != shared.threads;)
        call(sys_futex, reinterpret_cast<long>(&shared.finished), futex_wait, done);
    const Moment ended = moment();
    put("storm: ticks=");
    put(ended.ticks - began.ticks);
    put(" ns=");
    put(ended.time - began.time);
    put(" threads=");
    put(static_cast<uint64_t>(shared.threads));
    put(" falls=");
    put(shared.falls);
    put(" astray=");
    put(shared.astray);
    put(" rounds=");
    for (long i = 0; i < shared.threads; ++i) {
        if (i != 0) put(",");
        put(shared.rounds[i]);
    }
    put("\n");
    for (;;) call(sys_exit_group, shared.falls != 0);
}

asm(R"(
        .globl _start
_start: xor %ebp, %ebp
        mov %rsp, %rdi
        and $-16, %rsp
        call run
)");
