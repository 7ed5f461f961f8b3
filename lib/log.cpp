// SPDX-License-Identifier: Apache-2.0
#include "lib/log.hpp"

namespace bulkhead {
namespace {

LogSink* log_sink;
PanicHandler panic_handler;

}  // namespace

void set_log_sink(LogSink* sink) { log_sink = sink; }

void log_line(std::string_view text) {
    if (log_sink != nullptr) log_sink->line(text);
}

void set_panic_handler(PanicHandler handler) { panic_handler = handler; }

void panic_with(std::string_view reason) {
    if (panic_handler != nullptr) panic_handler(reason);
    __builtin_trap();
}

}  // namespace bulkhead
