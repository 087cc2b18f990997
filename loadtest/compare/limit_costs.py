"""What a limit costs each proxy: a request through it against one of the same round without.

Owns those tables, of CPU time and of instructions. Runs no slices.
"""

import callgrind
import limits
import table


def costs(duties):
    """Rows of a table: what each limit costs each proxy, round by round over the same without one."""
    rows = [["what a limit costs", "no limit, CPU µs/req", "more through it [95 %]", "by no limit [95 %]"]]
    for duty, figures in duties.items():
        if duty == BASE or duty not in limits.DUTIES:
            continue
        for name, of_name in figures.items():
            rows.append([f"{duty}: {name}", *table.over(duties[BASE][name]["blocks"], of_name["blocks"])])
    return table.align(rows)


def instructions(found):
    """The same in instructions, as text."""
    names = list(found[BASE])
    rows = [["instructions per request", *names]]
    for duty, cells in found.items():
        base = {name: found[BASE][name]["per_request"] for name in names}
        told = [(cells[name]["per_request"], base[name]) for name in names]
        rows.append([duty, *(f"{one:.0f} ({one - without:+.0f}, {one / without:.3f})" for one, without in told)])
    return table.align(rows)


def functions(found):
    """Where a limit's instructions are in Tollgate, as text."""
    base = callgrind.functions(found[BASE]["tollgate"]["runs"])
    parts = []
    for duty in found:
        if duty != BASE:
            ours = callgrind.functions(found[duty]["tollgate"]["runs"])
            parts.append(f"\n{duty}\n{callgrind.difference(ours, base, (duty, BASE))}")
    return "\n".join(parts)


# The duty that the others are held against.
BASE = "unlimited"
