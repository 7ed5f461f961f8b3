// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "lib/format.hpp"

namespace bulkhead {

// The hypervisor's log: one call a line, a line end is added. Goes to the sink that was registered last; before the
// first registration it is lost. Callable on every CPU.
class LogSink {
  public:
    virtual void line(std::string_view text) = 0;

  protected:
    ~LogSink() = default;
};

void set_log_sink(LogSink* sink);
void log_line(std::string_view text);

template <class... Args>
void log(std::string_view format, const Args&... args) {
    char storage[256];
    TextBuffer buffer{storage};
    print(buffer, format, args...);
    log_line(buffer.view());
}

// Stops the machine after a fault of the hypervisor itself. The handler is registered at boot and does not return.
using PanicHandler = void (*)(std::string_view reason);
void set_panic_handler(PanicHandler handler);
[[noreturn]] void panic_with(std::string_view reason);

template <class... Args>
[[noreturn]] void panic(std::string_view format, const Args&... args) {
    char storage[256];
    TextBuffer buffer{storage};
    print(buffer, format, args...);
    panic_with(buffer.view());
}

}  // namespace bulkhead
