"""`sdar plan`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sdar.commands.base import configure, say
from sdar.plan.settings import GIB, Assumed
from sdar.settings.config import Layer
from sdar.settings.shipped import read_recipe

if TYPE_CHECKING:
    from sdar.plan.report import Plan


def plan(words: list[str], options: Assumed, flags: Layer) -> int:
    """Say what a run needs, from its settings alone: memory of a rank, tokens, FLOPs, time, what to change.

    Nothing is loaded and no data is needed. RECIPE is as for sdar train; the model's config.json is read from
    its directory or the hub's cache, and those of the shipped recipes are known. Exit status 1: no fit.
    """
    from sdar.plan.report import Plan

    config = configure([read_recipe(word) for word in words], flags, Assumed)
    made = Plan.of(config, options)
    parts = (_head(made), _memory(made), _work(made), _assumptions(made), _verdict(made))
    say("\n\n".join("\n".join(lines) for lines in parts))
    return 0 if made.fits else 1


def _head(plan: "Plan") -> list[str]:
    config, load = plan.config, plan.load
    return [
        f"{config.model.path}: {plan.shape.parameters / 1e9:.3f} billion parameters on {load.ranks} x "
        f"{plan.assumed.gpu_memory:g} GiB; a step has {load.episodes} episodes and {load.samples:,} samples"
    ]


def _memory(plan: "Plan") -> list[str]:
    """Items by phases."""
    longest = plan.memory()
    typical = plan.memory(longest=False)
    names = list(dict.fromkeys(name for items in longest.values() for name in items))
    rows = [["GiB of a rank", *longest]]
    for name in names:
        rows.append([name, *(_gib(items.get(name)) for items in longest.values())])
    rows.append(["all, longest samples", *(_gib(sum(items.values())) for items in longest.values())])
    rows.append(["all, typical samples", *(_gib(sum(items.values())) for items in typical.values())])
    return _aligned(rows)


def _work(plan: "Plan") -> list[str]:
    """Tokens, FLOPs and seconds by phases."""
    done = plan.work()
    rows = [["a step", "tokens", "PFLOP", "seconds"]]
    for name, part in done.items():
        rows.append([name, f"{part.tokens:,}", f"{part.flops / 1e15:,.1f}", f"{part.seconds:,.0f}"])
    total = sum(part.seconds for part in done.values())
    flops = sum(part.flops for part in done.values())
    rows.append(["all", "", f"{flops / 1e15:,.1f}", f"{total:,.0f}"])
    return _aligned(rows)


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
    most = f"{phase} takes up to {_gib(peaks[phase])} of {_gib(room)} GiB"
    if plan.fits:
        return [f"It fits: {most}."]
    ways = plan.advice() or ["nothing that is known here: take a smaller model"]
    return [f"It does not fit: {most}.", *(f"It fits with {way}" for way in ways)]


def _gib(size: float | None) -> str:
    return "" if size is None else f"{size / GIB:.1f}" if size < 100 * GIB else f"{size / GIB:,.0f}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *rest in rows:
        cells = [first.ljust(widths[0]), *map(str.rjust, rest, widths[1:])]
        lines.append("  ".join(cells).rstrip())
    return lines
