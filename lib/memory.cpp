// SPDX-License-Identifier: Apache-2.0
// The functions that the compiler calls by itself. String instructions, because root mode has no vector registers, and
// because a loop would be turned into a call of the very function it stands in.
#include <cstddef>
#include <cstdint>

extern "C" {

void* memcpy(void* __restrict destination, const void* __restrict source, std::size_t size) {
    void* to = destination;
    std::size_t words = size / 8;
    std::size_t bytes = size % 8;
    asm volatile("rep movsq" : "+D"(to), "+S"(source), "+c"(words)::"memory");
    asm volatile("rep movsb" : "+D"(to), "+S"(source), "+c"(bytes)::"memory");
    return destination;
}

void* memmove(void* destination, const void* source, std::size_t size) {
    auto distance = reinterpret_cast<std::uintptr_t>(destination) - reinterpret_cast<std::uintptr_t>(source);
    if (distance >= size) return memcpy(destination, source, size);
    // The destination begins inside the source: from the last byte down.
    char* to = static_cast<char*>(destination) + size - 1;
    const char* from = static_cast<const char*>(source) + size - 1;
    asm volatile("std; rep movsb; cld" : "+D"(to), "+S"(from), "+c"(size)::"memory", "cc");
    return destination;
}

void* memset(void* destination, int value, std::size_t size) {
    void* to = destination;
    std::size_t words = size / 8;
    std::size_t bytes = size % 8;
    std::uint64_t pattern = 0x0101010101010101u * static_cast<unsigned char>(value);
    asm volatile("rep stosq" : "+D"(to), "+c"(words) : "a"(pattern) : "memory");
    asm volatile("rep stosb" : "+D"(to), "+c"(bytes) : "a"(pattern) : "memory");
    return destination;
}

int memcmp(const void* left, const void* right, std::size_t size) {
    auto* a = static_cast<const unsigned char*>(left);
    auto* b = static_cast<const unsigned char*>(right);
    for (std::size_t i = 0; i < size; ++i)
        if (a[i] != b[i]) return a[i] - b[i];
    return 0;
}

void* memchr(const void* memory, int value, std::size_t size) {
    auto* bytes = static_cast<const unsigned char*>(memory);
    for (std::size_t i = 0; i < size; ++i)
        if (bytes[i] == static_cast<unsigned char>(value)) return const_cast<unsigned char*>(bytes + i);
    return nullptr;
}

std::size_t strlen(const char* text) {
    std::size_t length = 0;
    while (text[length] != 0) asm("" : "+r"(++length));  // the barrier keeps the loop a loop
    return length;
}
}
