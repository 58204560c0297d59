"""A plan to read."""

from __future__ import annotations

from r1zero.errors import plural
from r1zero.plan import FACTOR, GIB, USABLE, Device, Plan

_WIDTH = 62


def plan_text(plan: Plan) -> str:
    """Return the plan to read: memory of each kind of device by what it is for, times, and what to change."""
    shape, machine = plan.shape, plan.machine
    count = sum(device.count for device in plan.devices)
    together, every = (f"{count} × ", "every device's") if count > 1 else ("", "the device's")
    lines = [
        f"{shape.parameters / 1e6:,.1f} M parameters in {plural(shape.layers, 'layer')} on "
        f"{together}{machine.name} ({machine.memory / GIB:.1f} GiB)"
    ]
    for device in plan.devices:
        fits = "" if count == 1 else ": fits" if device.fits(machine) else ": does not fit"
        lines += ["", *_device(device, fits)]
    lines += ["", _times(plan), ""]
    if plan.fits:
        lines.append("It fits.")
    else:
        lines.append(f"It does not fit into {USABLE:.0%} of {every} memory. To mend it:")
        lines += [f"  {remedy}" for remedy in plan.remedies]
    return "\n".join(lines)


def _device(device: Device, fits: str) -> list[str]:
    """Return what one of a kind holds, and whether that fits; said of each kind where there are several devices."""
    heading = _heading(device)
    lines = [heading, ""] if heading else []
    for title, parts in (
        ("always", device.always),
        ("while responses are drawn", device.sampling),
        ("while they are learnt from", device.learning),
    ):
        if parts:
            lines.append(_line(title, sum(parts.values())))
            lines += [_line(f"  {name}", size) for name, size in parts.items()]
    if device.at_once and device.learning:
        lines.append("what drawing needs stays there while they are learnt from")
    lines += ["", _line("most at once", device.peak) + fits]
    if device.rows:
        lines.append(f"vLLM's cache holds at most {plural(device.rows, 'response')} of full length side by side.")
    elif device.rows is not None:
        lines.append("sampling.memory leaves vLLM's cache no room for one response of full length.")
    return lines


def _heading(device: Device) -> str:
    if device.count > 1:
        shared = "GPUs that a learner and a sampler share in turns"
        return f"each of {device.count} {shared if device.kind == 'both' else f'{device.kind} GPUs'}"
    alone = {"learner": "the learner's GPU", "sampler": "the sampler's GPU", "all": "all processes of the cluster"}
    return alone.get(device.kind, "")


def _line(name: str, size: int) -> str:
    return f"{name:<{_WIDTH}}{size / GIB:9.2f} GiB"


def _times(plan: Plan) -> str:
    pace = plan.pace
    drawn, learnt = _duration(pace.sampling), _duration(pace.learning)
    parts = (
        f"{drawn} to draw responses, and {learnt} to learn at the same time"
        if pace.overlaps
        else f"{drawn} to draw responses, {learnt} to learn"
    )
    return (
        f"A step takes about {_duration(pace.step)} ({parts}) where a response has {plural(pace.mean_tokens, 'token')} "
        f"on average (--mean-tokens); {plural(plan.steps, 'step')} about {_duration(plan.seconds)}, evaluation apart "
        f"(within a factor of {FACTOR})."
    )


def _duration(seconds: float) -> str:
    for size, name in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"
