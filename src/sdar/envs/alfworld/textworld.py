"""The official engine, `alfworld` with `textworld[pddl]`, behind the interface of `Episode`.

It is the oracle of the parity tests, and can be chosen with `engine = "textworld"`, over 1,000 times slower.
The packages are imported when the first episode is made.
"""

import json
import re
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sdar.envs.alfworld.game import GameText
from sdar.envs.alfworld.official import DOMAINS, GRAMMARS, digest_domain, digest_grammar
from sdar.envs.alfworld.text import Rules
from sdar.errors import ConfigError

_GOAL = "UNKNOWN GOAL"
_MISSING = "engine 'textworld' needs the official packages ({}): pip install 'sdar[textworld]'"
_idle: list[Any] = []
"""Engines whose episode is gone. Each holds a copy of a large library, so they are used again."""


class TextWorldEpisode:
    """One play of a game in the official engine."""

    def __init__(self, text: GameText, rules: Rules | None = None) -> None:
        """Load the game; takes about a second.

        Raises:
            ConfigError: The packages are missing, or have other rules than those that sdar knows.
        """
        self.text, self.rules = text, Rules(rules or text.rules)
        domain, grammar = _release(self.rules)
        goal = json.dumps(text.task)[1:-1]
        self._env = _idle.pop() if _idle else _engine()
        weakref.finalize(self, _idle.append, self._env)
        with _own_arguments():
            self._env.load(
                {"pddl_domain": domain, "grammar": grammar.replace(_GOAL, goal), "pddl_problem": text.problem}
            )
            self._start()

    def reset(self) -> str:
        """Go back to the start and return the introduction."""
        if self._commands:
            with _own_arguments():
                self._start()
        return str(self._state.feedback)

    def _start(self) -> None:
        self._commands: list[str] = []
        self._state = self._env.reset()

    def step(self, command: str) -> str:
        """Apply `command` and return the feedback."""
        self._commands.append(command)
        self._state, _, _ = self._env.step(command)
        return str(self._state.feedback)

    @property
    def admissible(self) -> tuple[str, ...]:
        """The admissible commands, sorted."""
        return tuple(self._state["admissible_commands"])

    @property
    def won(self) -> bool:
        """Whether the goal holds now."""
        return bool(self._state["won"])

    def copy(self) -> "TextWorldEpisode":
        """An independent episode in the same state, reached by playing the same commands."""
        other = TextWorldEpisode(self.text, self.rules)
        for command in self._commands:
            other.step(command)
        return other


def _engine() -> Any:
    try:
        import textworld
        from alfworld.agents.environment.alfred_tw_env import AlfredDemangler
        from textworld.envs.pddl import PddlEnv, textgen
    except ImportError as error:
        raise ConfigError(_MISSING.format(error)) from None
    if sys.version_info >= (3, 13):
        textgen.EvalSymbol.derive = _derive(textgen.TerminalSymbol)
    return AlfredDemangler(PddlEnv(textworld.EnvInfos(won=True, admissible_commands=True)))


def _derive(terminal: Any) -> Any:
    """TextWorld 1.7 evaluates names that it puts into `locals()`, which Python 3.13 no longer allows."""

    def derive(self: Any, context: Any = None) -> list[Any]:
        return [terminal(eval(self.expression, {}, dict((context or self.context)["variables"])))]

    return derive


@contextmanager
def _own_arguments() -> Iterator[None]:
    """TextWorld's planner overwrites the arguments of the process."""
    arguments = sys.argv
    try:
        yield
    finally:
        sys.argv = arguments


@lru_cache
def _release(rules: Rules) -> tuple[str, str]:
    """Domain and grammar of a release: those of the `alfworld` package, or what they were before.

    Raises:
        ConfigError: The package is missing or is another release.
    """
    package = find_spec("alfworld")
    if package is None or package.origin is None:
        raise ConfigError(_MISSING.format("no module named 'alfworld'"))
    data = Path(package.origin).parent / "data"
    domain, grammar = (data / "alfred.pddl").read_text(), (data / "alfred.twl2").read_text()
    if rules is Rules.V2_1_1:
        domain, grammar = _as_before(domain, grammar)
    if DOMAINS.get(digest_domain(domain)) is not rules or GRAMMARS.get(digest_grammar(grammar)) is not rules:
        raise ConfigError(f"the installed alfworld package does not have the rules of release {rules}")
    return domain, grammar


def _as_before(domain: str, grammar: str) -> tuple[str, str]:
    """Undo the changes of release 2.1.2."""
    sink = "(receptacleType ?r SinkBasinType)"
    domain = re.sub(r"\(:action help\b.*?\n\)\n", "", domain, flags=re.DOTALL)
    domain = domain.replace(sink, "(receptacleType ?r SinkType)\n" + sink)
    grammar = re.sub(r"action help \{.*?\n\}\n", "", grammar, flags=re.DOTALL)
    for new, old in (
        ("You arrive at {r.name}.", "You arrive at {lend.name}."),
        ("You move the {o.name} to the {r.name}.", "You put the {o.name} in/on the {r.name}."),
        ("move {o} to {r}", "put {o} in/on {r}"),
    ):
        grammar = grammar.replace(new, old)
    return domain, grammar
