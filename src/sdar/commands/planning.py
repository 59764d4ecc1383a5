"""`sdar plan`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sdar.commands.base import TableOptions, configure, on_terminal, say, show
from sdar.model.settings import EMBEDDED
from sdar.plan.settings import GIB, Assumed
from sdar.settings.config import Layer
from sdar.settings.shipped import read_recipes
from sdar.text.sheets import Column, Format, Sheet

if TYPE_CHECKING:
    from sdar.plan.report import Plan


@dataclass(frozen=True, kw_only=True)
class PlanOptions(Assumed, TableOptions):
    """Options of `sdar plan`."""


def plan(words: list[str], options: PlanOptions, flags: Layer) -> int:
    """Say what a run needs, from its settings alone: memory of a rank, tokens, FLOPs, time, what to change.

    Nothing is loaded and no data is needed. RECIPE is as for sdar train; the model's config.json is read from
    its directory or the hub's cache, and those of the shipped recipes are known. Exit status 1: no fit.
    """
    from sdar.plan.report import Plan

    config = configure(read_recipes(words), flags, PlanOptions)
    made = Plan.of(config, options)
    sheets = [_memory(made), _work(made)]
    head, *below = ["\n".join(lines) for lines in (_head(made), _assumptions(made), _verdict(made))]
    if options.format is Format.TABLE:
        say("\n\n".join([head, on_terminal(sheets), *below]))
    else:
        show(sheets, options.format, [head, *below])
    return 0 if made.fits else 1


def _head(plan: "Plan") -> list[str]:
    config, load = plan.config, plan.load
    return [
        f"{config.pretrained or EMBEDDED}: {plan.shape.parameters / 1e9:.3f} billion parameters on "
        f"{load.ranks} x {plan.assumed.gpu_memory:g} GiB; a step has {load.episodes} episodes and "
        f"{load.samples:,} samples"
    ]


def _memory(plan: "Plan") -> Sheet:
    """Items by phases."""
    longest = plan.memory()
    typical = plan.memory(longest=False)
    names = list(dict.fromkeys(name for items in longest.values() for name in items))
    rows = [[name, *(_in_gib(items.get(name)) for items in longest.values())] for name in names]
    for what, phases in (("longest", longest), ("typical", typical)):
        rows.append([f"all, {what} samples", *(_in_gib(sum(items.values())) for items in phases.values())])
    return Sheet("memory", "", [Column("GiB of a rank"), *(Column(phase, _short) for phase in longest)], rows)


def _work(plan: "Plan") -> Sheet:
    """Tokens, FLOPs and seconds by phases."""
    done = plan.work()
    columns = [
        Column("a step"),
        Column("tokens", "{:,}".format),
        Column("PFLOP", "{:,.1f}".format),
        Column("seconds", "{:,.0f}".format),
    ]
    rows = [[name, part.tokens, part.flops / 1e15, part.seconds] for name, part in done.items()]
    totals = [sum(part.flops for part in done.values()) / 1e15, sum(part.seconds for part in done.values())]
    return Sheet("work", "", columns, [*rows, ["all", None, *totals]])


def _assumptions(plan: "Plan") -> list[str]:
    """What the figures rest on, with the flags that change it."""
    assumed, load = plan.assumed, plan.load
    typical, longest = load.typical, load.longest
    notes = [f"{taught - typical.sample:,}" for taught in typical.teachers]
    return [
        f"Assumed: {load.turns} turns (--turns); tokens of a prompt {typical.prompt:,}, at most "
        f"{longest.prompt:,} (--prompt);",
        f"of an answer {typical.answer}, at most {longest.answer} (--answer); of what a teacher is told "
        f"{' and '.join(notes) or 'none'}.",
        f"{assumed.tflops:g} TFLOP/s (--tflops) at {assumed.mfu:.0%} (--mfu), {assumed.bandwidth:g} GB/s of "
        "memory (--bandwidth),",
        f"{assumed.link:g} GB/s between GPUs (--link), {assumed.launch:g} microseconds a kernel (--launch), "
        f"{assumed.reserve:g} GiB kept back (--reserve).",
        "Environments take no time.",
    ]


def _verdict(plan: "Plan") -> list[str]:
    """Whether it fits, and what to change."""
    peaks, room = plan.peaks, plan.assumed.memory
    phase = max(peaks, key=lambda name: peaks[name])
    most = f"{phase} takes up to {_short(peaks[phase] / GIB)} of {_short(room / GIB)} GiB"
    if plan.fits:
        return [f"It fits: {most}."]
    ways = plan.advice() or ["nothing that is known here: take a smaller model"]
    return [f"It does not fit: {most}.", *(f"It fits with {way}" for way in ways)]


def _in_gib(size: float | None) -> float | None:
    return None if size is None else size / GIB


def _short(gib: float) -> str:
    return f"{gib:.1f}" if gib < 100 else f"{gib:,.0f}"
