# SPDX-License-Identifier: Apache-2.0
"""What the hypervisor says in its log that a guest has used, when it ends."""
import re


def parse(name, log):
    """Gives the ticks (`ticks`, `guest`, `root`, `idle`) and the number of `exits`, and the exits by reason. Empty: not there."""
    name = re.escape(name)
    summary = re.search(rf"guest {name}: (ticks=[^\r\n]*)", log)
    numbers = {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", summary[1])} if summary else {}
    reasons = {reason: int(count) for reason, count in re.findall(rf"guest {name}: exits ([^=\r\n]+)=(\d+)", log)}
    return numbers, reasons


def sources(name, log):
    """Gives the accesses by the first port of a device (None: no device), and by the kind of MSR."""
    name = re.escape(name)
    ports = {int(port, 16): int(count)
             for port, count in re.findall(rf"guest {name}: ports from ([0-9a-f]+)=(\d+)", log)}
    if unclaimed := re.search(rf"guest {name}: ports of none=(\d+)", log):
        ports[None] = int(unclaimed[1])
    msrs = {kind: int(count) for kind, count in re.findall(rf"guest {name}: MSRs of the ([^=\r\n]+)=(\d+)", log)}
    return ports, msrs
