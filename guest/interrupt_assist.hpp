// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "guest/lapic_page.hpp"

namespace bulkhead::guest {

// Who keeps IRR, ISR, TPR and PPR of a local APIC's register page and knows what is delivered next. With
// virtual-interrupt delivery (SDM volume 3, 29.2) that is the processor while the guest runs; without it, software.
class InterruptAssist {
  public:
    // Whether a vector in IRR is delivered without more ado: the local APIC has nobody to tell and nothing to
    // acknowledge.
    virtual bool delivers() const = 0;
    // Sets the vector's bit in IRR. The one call that does not need the page to be taken.
    virtual void post(std::uint8_t vector) = 0;
    // The highest vector in IRR and in ISR, 0 if there is none: RVI and SVI of the guest interrupt status.
    virtual std::uint8_t requested() const = 0;
    virtual std::uint8_t in_service() const = 0;
    // Whether the local APIC has to learn of the end of this interrupt: it was level triggered.
    virtual void set_eoi_exit(std::uint8_t vector, bool wanted) = 0;
    // Between the two the page is true, and the local APIC's to change.
    virtual void take() = 0;
    virtual void give_back() = 0;

  protected:
    ~InterruptAssist() = default;
};

// The page is the local APIC's for a scope.
class [[nodiscard]] OwnedPage {
  public:
    OwnedPage(InterruptAssist& assist, RegisterPage& page) : assist_(assist), page_(page) { assist_.take(); }
    ~OwnedPage() { assist_.give_back(); }
    OwnedPage(const OwnedPage&) = delete;
    OwnedPage& operator=(const OwnedPage&) = delete;
    RegisterPage* operator->() const { return &page_; }

  private:
    InterruptAssist& assist_;
    RegisterPage& page_;
};

// No help from the processor: the local APIC does all of it on the page.
class SoftwareInterruptAssist final : public InterruptAssist {
  public:
    explicit SoftwareInterruptAssist(RegisterPage& page) : page_(page) { give_back(); }

    bool delivers() const override { return false; }
    void post(std::uint8_t vector) override {
        page_.set(isa::apic::IRR, vector);
        if (vector > requested_) requested_ = vector;
    }
    std::uint8_t requested() const override { return requested_; }
    std::uint8_t in_service() const override { return in_service_; }
    void set_eoi_exit(std::uint8_t, bool) override {}
    void take() override {}
    void give_back() override {
        requested_ = page_.highest(isa::apic::IRR);
        in_service_ = page_.highest(isa::apic::ISR);
    }

  private:
    RegisterPage& page_;
    std::uint8_t requested_{};
    std::uint8_t in_service_{};
};

}  // namespace bulkhead::guest
