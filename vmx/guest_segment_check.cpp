// SPDX-License-Identifier: Apache-2.0
#include "vmx/guest_segment_check.hpp"

#include <array>

#include "vmx/fields.hpp"

namespace bulkhead::vmx {

namespace {

using namespace isa;

constexpr std::string_view section = "26.3.1.2";

struct Names {
    std::string_view selector, base, limit, rights;
};
constexpr std::array<Names, 8> names{{
    {"guest ES selector", "guest ES base", "guest ES limit", "guest ES access rights"},
    {"guest CS selector", "guest CS base", "guest CS limit", "guest CS access rights"},
    {"guest SS selector", "guest SS base", "guest SS limit", "guest SS access rights"},
    {"guest DS selector", "guest DS base", "guest DS limit", "guest DS access rights"},
    {"guest FS selector", "guest FS base", "guest FS limit", "guest FS access rights"},
    {"guest GS selector", "guest GS base", "guest GS limit", "guest GS access rights"},
    {"guest LDTR selector", "guest LDTR base", "guest LDTR limit", "guest LDTR access rights"},
    {"guest TR selector", "guest TR base", "guest TR limit", "guest TR access rights"},
}};

struct Checked : SegmentRegister {
    Segment id;

    const Names& name() const { return names[static_cast<std::size_t>(id)]; }
    // CS and TR are always held to their rules.
    bool usable() const { return (rights & access_rights::unusable) == 0; }
    bool applies() const { return id == Segment::CS || id == Segment::TR || usable(); }
    unsigned type() const { return rights & access_rights::type; }
    unsigned dpl() const { return rights >> access_rights::dpl_shift & 3; }
    unsigned rpl() const { return selector & 3; }
    bool in_ldt() const { return (selector & 4) != 0; }
};

Checked fetch(Segment id) { return {read_segment(id), id}; }

constexpr Segment application_segments[] = {Segment::CS, Segment::SS, Segment::DS,
                                            Segment::ES, Segment::FS, Segment::GS};

void check_virtual_8086(FirstViolation& v, const Checked& s) {
    constexpr std::uint32_t rights = 0xf3;
    v.require(s.base == std::uint64_t{s.selector} << 4, s.name().base,
              "it must be the selector times 16 in virtual-8086 "
              "mode",
              section, s.base);
    v.require(s.limit == 0xffff, s.name().limit, "it must be FFFFh in virtual-8086 mode", section, s.limit);
    v.require(s.rights == rights, s.name().rights, "they must be F3h in virtual-8086 mode", section, s.rights);
}

void check_selectors(FirstViolation& v, const SegmentCheckContext& c) {
    const Checked tr = fetch(Segment::TR), ldtr = fetch(Segment::LDTR), ss = fetch(Segment::SS);
    v.require(!tr.in_ldt(), tr.name().selector, "TI must be 0", section, tr.selector);
    v.require(!ldtr.usable() || !ldtr.in_ldt(), ldtr.name().selector, "TI must be 0", section, ldtr.selector);
    v.require(c.v86 || c.unrestricted || ss.rpl() == fetch(Segment::CS).rpl(), ss.name().selector,
              "its RPL must be that of CS", section, ss.selector);
}

void check_base(FirstViolation& v, const SegmentCheckContext& c, const Checked& s) {
    switch (s.id) {
    case Segment::FS:
    case Segment::GS:
    case Segment::TR:
        return v.require(c.is_canonical(s.base), s.name().base, "it must be canonical", section, s.base);
    case Segment::LDTR:
        return v.require(!s.usable() || c.is_canonical(s.base), s.name().base, "it must be canonical", section, s.base);
    default:
        return v.require(!s.applies() || s.base >> 32 == 0, s.name().base, "bits 63:32 must be 0", section, s.base);
    }
}

// The rules on access rights that all eight registers share.
void check_common_rights(FirstViolation& v, const Checked& s) {
    constexpr std::uint32_t reserved_low = 0xf00, reserved_high = 0xfffe'0000;
    constexpr std::uint32_t low_limit = 0xfff, high_limit = 0xfff0'0000;
    const bool granular = (s.rights & access_rights::G) != 0;
    v.require((s.rights & access_rights::P) != 0, s.name().rights, "P must be 1", section, s.rights);
    v.require((s.rights & reserved_low) == 0, s.name().rights, "bits 11:8 must be 0", section, s.rights);
    v.require((s.limit & low_limit) == low_limit || !granular, s.name().rights,
              "G must be 0 where a bit 11:0 of the limit is 0", section, s.rights);
    v.require((s.limit & high_limit) == 0 || granular, s.name().rights,
              "G must be 1 where a bit 31:20 of the limit is 1", section, s.rights);
    v.require((s.rights & reserved_high) == 0, s.name().rights, "bits 31:17 must be 0", section, s.rights);
}

void check_code(FirstViolation& v, const SegmentCheckContext& c, const Checked& cs) {
    constexpr unsigned data_accessed = 3;
    const unsigned type = cs.type();
    const unsigned ss_dpl = fetch(Segment::SS).dpl();
    v.require(type == 9 || type == 11 || type == 13 || type == 15 || (c.unrestricted && type == data_accessed),
              cs.name().rights, "the type must be accessed code (9, 11, 13, 15), or 3 under unrestricted guest",
              section, cs.rights);
    v.require(type != data_accessed || cs.dpl() == 0, cs.name().rights, "the DPL must be 0 with type 3", section,
              cs.rights);
    v.require((type != 9 && type != 11) || cs.dpl() == ss_dpl, cs.name().rights,
              "the DPL must be that of SS for non-conforming code", section, cs.rights);
    v.require((type != 13 && type != 15) || cs.dpl() <= ss_dpl, cs.name().rights,
              "the DPL must not be above that of SS for conforming code", section, cs.rights);
    v.require(!c.ia32e || (cs.rights & access_rights::L) == 0 || (cs.rights & access_rights::DB) == 0, cs.name().rights,
              "D/B must be 0 in 64-bit mode", section, cs.rights);
}

void check_stack(FirstViolation& v, const SegmentCheckContext& c, const Checked& ss) {
    v.require(!ss.usable() || ss.type() == 3 || ss.type() == 7, ss.name().rights,
              "the type must be accessed, writable data (3 or 7)", section, ss.rights);
    v.require(c.unrestricted || ss.dpl() == ss.rpl(), ss.name().rights, "the DPL must be the selector's RPL", section,
              ss.rights);
    v.require((fetch(Segment::CS).type() != 3 && c.protected_mode) || ss.dpl() == 0, ss.name().rights,
              "the DPL must be 0 in real mode, or with a CS of type 3", section, ss.rights);
}

void check_data(FirstViolation& v, const SegmentCheckContext& c, const Checked& s) {
    constexpr unsigned accessed = 1, readable = 2, code = 8, last_with_privilege = 11;
    const unsigned type = s.type();
    v.require((type & accessed) != 0, s.name().rights, "the type must be accessed", section, s.rights);
    v.require((type & code) == 0 || (type & readable) != 0, s.name().rights, "a code segment must be readable", section,
              s.rights);
    v.require(c.unrestricted || type > last_with_privilege || s.dpl() >= s.rpl(), s.name().rights,
              "the DPL must not be below the selector's RPL", section, s.rights);
}

void check_application_segment(FirstViolation& v, const SegmentCheckContext& c, const Checked& s) {
    if (c.v86) return check_virtual_8086(v, s);
    if (s.id == Segment::CS) check_code(v, c, s);
    if (s.id == Segment::SS) check_stack(v, c, s);
    if (!s.applies()) return;
    if (s.id != Segment::CS && s.id != Segment::SS) check_data(v, c, s);
    v.require((s.rights & access_rights::S) != 0, s.name().rights, "S must be 1", section, s.rights);
    check_common_rights(v, s);
}

void check_system_segment(FirstViolation& v, const Checked& s, bool type_is_right, std::string_view type_rule) {
    v.require(type_is_right, s.name().rights, type_rule, section, s.rights);
    v.require((s.rights & access_rights::S) == 0, s.name().rights, "S must be 0", section, s.rights);
    check_common_rights(v, s);
}

}  // namespace

void check_segments(FirstViolation& v, const SegmentCheckContext& c) {
    check_selectors(v, c);
    for (const Segment id : application_segments) {
        const Checked s = fetch(id);
        check_base(v, c, s);
        check_application_segment(v, c, s);
    }
    const Checked tr = fetch(Segment::TR), ldtr = fetch(Segment::LDTR);
    check_base(v, c, tr);
    v.require(tr.usable(), tr.name().rights, "TR must be usable", section, tr.rights);
    check_system_segment(v, tr, tr.type() == 11 || (!c.ia32e && tr.type() == 3),
                         "the type must be a busy TSS (11, or 3 outside IA-32e mode)");
    check_base(v, c, ldtr);
    if (ldtr.usable()) check_system_segment(v, ldtr, ldtr.type() == 2, "the type must be LDT (2)");
}

}  // namespace bulkhead::vmx
