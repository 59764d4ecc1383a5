"""TextWorld's own engine with repeated work remembered, so that long parity runs end the same day.

The planner library that holds the state and the rules is untouched. What is remembered: parsed templates and
queries, and the translation of a problem. What is left out: deep copies of what nobody changes, conditions of
grammar rules after the first that holds, and the second translation, which only plans are made from.
"""

import copy
import functools
from typing import Any

import fast_downward
from textworld.envs.pddl import textgen
from textworld.logic import Rule


def _fresh(symbol: Any) -> Any:
    """A symbol whose context can be set without touching the remembered one."""
    twin = copy.copy(symbol)
    if isinstance(twin, textgen.ListSymbol):
        twin.symbol = _fresh(twin.symbol)
    elif isinstance(twin, textgen.ConditionalSymbol):
        twin.expression = _fresh(twin.expression)
    return twin


def _copy_context(context: dict[str, Any]) -> dict[str, Any]:
    return {**context, "variables": dict(context["variables"]), "mapping": dict(context["mapping"])}


def _copy_symbol(self: Any, context: dict[str, Any]) -> Any:
    twin = _fresh(self)
    twin.context = _copy_context(context)
    return twin


def _replace(self: Any, start: Any) -> list[Any]:
    context = start.context
    for rule in self._rules[str(start)]:
        if rule.condition:
            query = Rule.parse_conjunctive_query(rule.condition)
            if next(iter(context["state"].all_assignments(query, context["mapping"])), None) is None:
                continue
        return [_copy_symbol(symbol, context) for symbol in rule.rhs]
    raise textgen.CSGUnknownSymbolError(start)


def speed_up() -> None:
    """Patch TextWorld; call once, before the first game is loaded."""
    parse = functools.lru_cache(maxsize=None)(textgen._parse_and_convert)

    def parse_again(start: str, rule_name: str = "symbols", trace: bool = False) -> list[Any]:
        return [_fresh(symbol) for symbol in parse(start, rule_name=rule_name)]

    textgen._parse_and_convert = parse_again
    textgen.copy_context = _copy_context
    textgen.Symbol.copy = _copy_symbol
    textgen.ContextSensitiveGrammar.replace = _replace
    query = functools.lru_cache(maxsize=None)(Rule.parse_conjunctive_query)
    Rule.parse_conjunctive_query = staticmethod(query)
    translate = functools.lru_cache(maxsize=8)(fast_downward.pddl2sas)
    fast_downward.pddl2sas = lambda domain, problem, verbose=False, optimize=False: translate(domain, problem)
