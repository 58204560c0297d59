"""A plan to read."""

from __future__ import annotations

from r1zero.plan import GIB, USABLE, Plan


def plan_text(plan: Plan) -> str:
    """The plan to read: memory by what it is for, times, and what to change."""
    shape, machine = plan.shape, plan.machine
    lines = [f"{shape.parameters / 1e6:,.1f} M parameters in {shape.layers} layers on {machine.name} "
             f"({machine.memory / GIB:.1f} GiB)", ""]  # fmt: skip
    for title, parts in (
        ("always", plan.always),
        ("while responses are drawn", plan.sampling),
        ("while they are learnt from", plan.learning),
    ):
        lines.append(f"{title:<58}{_gib(sum(parts.values()))}")
        lines += [f"  {name:<58}{_gib(size)}" for name, size in parts.items()]
    lines += ["", f"{'most at once':<58}{_gib(plan.peak)}", "", _times(plan), ""]
    if plan.fits:
        lines.append("It fits.")
    else:
        lines.append(f"It does not fit into {USABLE:.0%} of the device's memory. To mend it:")
        lines += [f"  {remedy}" for remedy in plan.remedies]
    return "\n".join(lines)


def _gib(size: int) -> str:
    return f"{size / GIB:9.2f} GiB"


def _times(plan: Plan) -> str:
    total = plan.sample_seconds + plan.learn_seconds
    return (
        f"A step takes about {_duration(total)} ({_duration(plan.sample_seconds)} to draw responses, "
        f"{_duration(plan.learn_seconds)} to learn) where a response has {plan.mean_tokens} tokens on average; "
        f"{plan.steps:,} steps about {_duration(plan.steps * total)}, evaluation apart (within a factor of two or "
        "three)."
    )


def _duration(seconds: float) -> str:
    for size, name in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.2g} s"
