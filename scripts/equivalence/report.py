# SPDX-License-Identifier: Apache-2.0
"""What came out: a table for people, and the same as JSON."""
import json

SHOWN = 40  # differences of one image in the table; all are in the JSON

COLUMNS = ("image", "cpus", "APICv", "equal", "different", "deviations", "ignored", "bare", "guest", "exits")


def _count(value):
    return "-" if value is None else f"{value:,}"


def row(result):
    comparison = result.comparison
    return (result.description.name, str(result.cpus), result.apic_virtualization, _count(comparison.equal), _count(len(comparison.different)),
            _count(len(comparison.deviations)), f"{comparison.ignored_bare}/{comparison.ignored_guest}",
            _count(result.bare.instructions), _count(result.guest.instructions),
            _count(result.guest.account.get("exits")))


def details(result):
    """The lines below a row."""
    for problem in result.problems():
        yield f"    {problem}"
    for bare, guest in result.comparison.different[:SHOWN]:
        yield from (f"    {side}: {line}" for side, line in (("bare ", bare), ("guest", guest)) if line is not None)
    if len(result.comparison.different) > SHOWN:
        yield f"    and {len(result.comparison.different) - SHOWN} more differences"
    for entry in result.description.deviations:
        seen = [pair for known, *pair in result.comparison.deviations if known is entry]
        if not seen:
            continue
        yield f"    the emulator deviates, {len(seen)} of its lines: {entry.reason} ({entry.sdm})"
        bare, guest = seen[0]
        yield from (f"        {side}: {line}" for side, line in (("bare ", bare), ("guest", guest)) if line is not None)


def table(results):
    rows = [COLUMNS, *map(row, results)]
    widths = [max(len(cells[column]) for cells in rows) for column in range(len(COLUMNS))]

    def line(cells):
        name, *numbers = (f"{cell:<{width}}" if column == 0 else f"{cell:>{width}}"
                          for column, (cell, width) in enumerate(zip(cells, widths)))
        return "  ".join((name, *numbers))

    text = [line(COLUMNS)]
    for result, cells in zip(results, rows[1:]):
        text += [line(cells), *details(result)]
    return "\n".join(text)


def as_json(results):
    def side(outcome):
        return {"instructions": outcome.instructions, "status": outcome.status, "problem": outcome.problem}

    return json.dumps([{
        "image": result.description.name, "cpus": result.cpus,
        "apic_virtualization": result.apic_virtualization, "ok": result.ok(), "equal": result.comparison.equal,
        "different": [{"bare": bare, "guest": guest} for bare, guest in result.comparison.different],
        "deviations": [{"bare": bare, "guest": guest, "reason": entry.reason, "sdm": entry.sdm}
                       for entry, bare, guest in result.comparison.deviations],
        "ignored": {"bare": result.comparison.ignored_bare, "guest": result.comparison.ignored_guest},
        "problems": list(result.problems()),
        "bare": side(result.bare),
        "guest": {**side(result.guest), "account": result.guest.account, "exits": result.guest.reasons},
    } for result in results], indent=2) + "\n"
