# SPDX-License-Identifier: Apache-2.0
"""The verdict over an image's two runs."""
import dataclasses

from . import comparison, description, sides


@dataclasses.dataclass
class Result:
    description: description.Description
    cpus: int
    apic_virtualization: str  # the guest's key: yes or no
    bare: sides.Outcome
    guest: sides.Outcome
    comparison: comparison.Comparison

    def problems(self):
        """Why the image does not count as equal, differences apart: a sentence each."""
        for side, outcome in (("bare", self.bare), ("guest", self.guest)):
            if outcome.problem:
                yield f"{side}: {outcome.problem}"
        if not self.comparison.equal:
            yield "no line was compared"
        if None not in (self.bare.status, self.guest.status) and self.bare.status != self.guest.status:
            yield f"debug exit: bare {self.bare.status}, guest {self.guest.status}"

    def ok(self):
        return not self.comparison.different and not any(self.problems())


def judge(what, cpus, apic_virtualization, bare, guest):
    bare_lines, guest_lines = comparison.lines(bare.text), comparison.lines(guest.text)
    if what.loader == "bios":
        bare_lines, guest_lines = map(comparison.without_firmware, (bare_lines, guest_lines))
    if bare.switched_off:
        bare_lines = comparison.complete(bare_lines, guest_lines)
    return Result(what, cpus, apic_virtualization, bare, guest, comparison.compare(bare_lines, guest_lines, what))
