"""Numbers that change during a run: the learning rate and the coefficients of objectives.

A coefficient is a number, or text `KIND:START:END`, for example `cosine:0.01:0`. It goes from START to END
over the whole run, or with `@FROM:TO` over a part of it, in training steps counted from 0
(`linear:0.5:0@0:100`) or in percent of the run (`linear:0.01:0@20%:80%`); before and after, it stays.
`VALUE@FROM:TO` is a number that is on only there: `0.02@20:70` is 0.02 in steps 20 to 69, and else 0.
"""

import math
import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from sdar.errors import ConfigError, suggest

Coef = float | str
"""A number or a schedule's text."""


class Shape(StrEnum):
    """How a number goes from its start to its end."""

    CONSTANT = "constant"
    """It stays at the start."""
    LINEAR = "linear"
    """In equal steps."""
    COSINE = "cosine"
    """Slowly, fast, slowly: half a period of the cosine. Source: arXiv 1608.03983."""
    WARM_DOWN = "warm-down"
    """At the start for four fifths of the way, then linear."""

    def left(self, way: float) -> float:
        """Share of start - end that is left when a share `way` of the way is left; both fall from 1 to 0.

        >>> [Shape(name).left(0.1) for name in ("constant", "linear", "warm-down")]
        [1.0, 0.1, 0.5]
        """
        match self:
            case Shape.LINEAR:
                return way
            case Shape.COSINE:
                return 0.5 * (1 - math.cos(math.pi * way))
            case Shape.WARM_DOWN:
                return min(1.0, 5 * way)
        return 1.0


@dataclass(frozen=True)
class Schedule:
    """A coefficient over a run. `begin` and `until` are steps, or shares of the run where `percent`."""

    shape: Shape
    start: float
    end: float
    begin: float = 0.0
    until: float = 1.0
    percent: bool = True
    only: bool = False
    """It is 0 before it begins and from its end on."""

    def at(self, step: int, steps: int) -> float:
        """Its value at training step `step`, counted from 0, of `steps`.

        >>> [parse("linear:0.5:0@0:100").at(step, 150) for step in (0, 50, 100, 149)]
        [0.5, 0.25, 0.0, 0.0]
        """
        scale = steps if self.percent else 1
        begin, until = self.begin * scale, self.until * scale
        if self.only and not begin <= step < until:
            return 0.0
        way = min(1.0, max(0.0, 1.0 - (step - begin) / (until - begin)))
        return self.end + (self.start - self.end) * self.shape.left(way)


_NUMBER = r"([-+.\deE]+)"
_SPAN = r"@([.\d]+)(%?):([.\d]+)(%?)"
_TEXT = re.compile(rf"([\w-]+):{_NUMBER}:{_NUMBER}(?:{_SPAN})?")
_ONLY = re.compile(rf"{_NUMBER}{_SPAN}")


@lru_cache
def parse(coef: Coef) -> Schedule:
    """The schedule of a coefficient. Raises `ConfigError` when the text is not one.

    >>> parse(0.01).at(3, 10), parse("linear:1:0@50%:100%").at(75, 100)
    (0.01, 0.5)
    >>> [parse("0.02@20:70").at(step, 150) for step in (19, 20, 69, 70)]
    [0.0, 0.02, 0.02, 0.0]
    """
    if not isinstance(coef, str):
        if not math.isfinite(coef):
            raise ConfigError(f"a coefficient must be a finite number or a schedule, not {coef}")
        return Schedule(Shape.CONSTANT, coef, coef)
    found, only = _TEXT.fullmatch(coef), _ONLY.fullmatch(coef)
    if found:
        kind, start, end, begin, by_share, until, also = found.groups()
    elif only:
        value, begin, by_share, until, also = only.groups()
        kind, start, end = Shape.CONSTANT, value, value
    else:
        raise ConfigError(
            f"'{coef}' is neither a number nor a schedule such as linear:0.01:0, linear:0.01:0@0:100 "
            "or 0.01@20:70"
        )
    if kind not in list(Shape):
        raise ConfigError(f"unknown schedule '{kind}' in '{coef}': {suggest(kind, list(Shape))}")
    try:
        ends = float(start), float(end)
        span = (float(begin), float(until)) if begin else (0.0, 100.0)
    except ValueError as error:
        raise ConfigError(f"schedule '{coef}': {error}") from None
    if not all(map(math.isfinite, (*ends, *span))):
        raise ConfigError(f"schedule '{coef}': its numbers must be finite")
    percent = not begin or bool(by_share)
    if bool(by_share) != bool(also) or not span[0] < span[1] or (percent and span[1] > 100):
        raise ConfigError(
            f"schedule '{coef}' must end after it begins, both in steps or both in percent of the run"
        )
    scale = 100 if percent else 1
    return Schedule(Shape(kind), *ends, span[0] / scale, span[1] / scale, percent, only=bool(only))
