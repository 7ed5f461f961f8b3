// SPDX-License-Identifier: Apache-2.0
// What compiled C++ and the header-only parts of the standard library call when an invariant does not hold. Exceptions
// are off, so each of these is a fault of the hypervisor.
#include <cstddef>

#include "lib/log.hpp"

extern "C" {
[[noreturn]] void abort() { bulkhead::panic_with("abort() was called"); }
[[noreturn]] void __cxa_pure_virtual() { bulkhead::panic_with("a pure virtual function was called"); }
}

namespace std {
[[noreturn]] void __throw_out_of_range(const char* what) { bulkhead::panic("out of range: {}", what); }
[[noreturn]] void __throw_out_of_range_fmt(const char* what, ...) { bulkhead::panic("out of range: {}", what); }
[[noreturn]] void __throw_length_error(const char* what) { bulkhead::panic("length error: {}", what); }
[[noreturn]] void __throw_logic_error(const char* what) { bulkhead::panic("logic error: {}", what); }
[[noreturn]] void __throw_bad_optional_access() { bulkhead::panic_with("an empty optional was read"); }
[[noreturn]] void __throw_bad_function_call() { bulkhead::panic_with("an empty function was called"); }
[[noreturn]] void __glibcxx_assert_fail(const char* file, int line, const char*, const char* condition) noexcept {
    bulkhead::panic("{}:{}: {}", file, line, condition);
}
}  // namespace std

// Nothing is allocated, so nothing is deleted; a class with a virtual destructor still names these.
void operator delete(void*) noexcept { bulkhead::panic_with("delete was called"); }
void operator delete(void*, std::size_t) noexcept { bulkhead::panic_with("delete was called"); }
