// SPDX-License-Identifier: Apache-2.0
#include "boot/early_log.hpp"

#include "arch/cpu/panic.hpp"
#include "lib/log.hpp"
#include "lib/spinlock.hpp"

namespace bulkhead::boot {
namespace {

constinit drivers::Uart uart{drivers::com1_port};

class EarlyLog final : public LogSink {
  public:
    void line(std::string_view text) override {
        LockGuard guard(lock_);
        for (char c : text) uart.put_polled(c);
        uart.put_polled('\r');
        uart.put_polled('\n');
    }

  private:
    SpinLock lock_;
};
constinit EarlyLog early_log;

}  // namespace

void start_log() {
    uart.initialize();
    set_log_sink(&early_log);
    cpu::set_raw_sink([](char c) {
        if (c != '\0') uart.put_polled(c);
    });
    set_panic_handler(cpu::panic_handler);
}

drivers::Uart& log_uart() { return uart; }

}  // namespace bulkhead::boot
