// SPDX-License-Identifier: Apache-2.0
// PM1 event and control blocks and the power management timer.
#include "guest/acpi_pm.hpp"

#include "tests/fuzz/fuzz.hpp"

using namespace bulkhead;
using fuzz::require;
using guest::AcpiPm;

namespace {

struct Power {
    void off() { ++offs; }
    unsigned offs{};
};

void check(AcpiPm& pm, const fuzz::Time& time) {
    const std::uint32_t status = pm.in(AcpiPm::pm1_event, 2), enable = pm.in(AcpiPm::pm1_event + 2, 2);
    // A status that nobody has looked at yet is seen by its timer, so that the line may only be behind the registers.
    require(!pm.sci().level() || (status & enable) != 0, "the SCI is an enabled event");
    require((enable & ~0x0521u) == 0 && (status & ~0x0521u) == 0, "events that are not there are zero");
    require((pm.in(AcpiPm::pm1_control, 2) & 0x2001) == 1, "SCI_EN is set, SLP_EN reads as zero");
    const std::uint64_t count = guest::scale(time.clock.now, AcpiPm::timer_hz, fuzz::Time::hz);
    require(pm.in(AcpiPm::pm_timer, 4) == (count & 0xff'ffff), "the timer is 24 bits of the time");
}

}  // namespace

FUZZ_TARGET(in) {
    fuzz::Time time;
    Power power;
    AcpiPm pm{time.timers, Delegate<void()>::to<&Power::off>(&power)};
    in.repeat([&] {
        const unsigned before = power.offs;
        bool asked = false;
        switch (in.below(7)) {
            case 0:
            case 1:
            case 2:
                fuzz::access_port(in, pm, AcpiPm::base, AcpiPm::last);
                asked = true;
                break;
            case 3:
                pm.press_power_button();
                require((pm.in(AcpiPm::pm1_event, 2) & 0x100) != 0, "PWRBTN_STS");
                break;
            case 4:
                pm.rtc_interrupt(in.below(2) != 0);
                break;
            default:
                time.pass(in);
                break;
        }
        require(asked || power.offs == before, "only the guest powers off");
        check(pm, time);
    });
}
