"""Plays a game in the native and in the official engine side by side and reports every difference."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from sdar.envs.alfworld.engine import Episode
from sdar.envs.alfworld.experts import Seeker
from sdar.envs.alfworld.game import GameText
from sdar.envs.alfworld.text import NOTHING, Rules
from sdar.envs.alfworld.textworld import TextWorldEpisode
from sdar.types import Observation

_IDLE = ("go to", "look", "inventory", "help")


@dataclass
class Parity:
    """What was compared: commands given, how many changed nothing, and whether the goal was reached.

    `verbs` counts the commands that were admissible, by their first word.
    """

    steps: int = 0
    refused: int = 0
    won: bool = False
    verbs: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)


def walk(native: Episode, seed: str, steps: int, expert: bool = False) -> Iterator[str]:
    """Commands for `native`, each chosen after the last was played.

    An expert who errs a fifth of the time plays until the goal holds, if asked for; the rest is at random:
    mostly commands that change something, with impossible, malformed and repeated ones mixed in.
    """
    dice = random.Random(seed)
    game = native.game
    inside = {game.names[r]: [game.names[thing] for thing in game.contents[r]] for r in game.receptacles}
    seeker = Seeker(game.task, seed, noise=0.2, contents=inside) if expert else None
    text, last = native.reset(), "look"
    for _ in range(steps):
        admissible = native.admissible
        chance = dice.random()
        if seeker is not None and native.won:
            seeker = None
        if seeker is not None:
            command = seeker.act(Observation(text, game.task, admissible))
        elif chance < 0.1:
            command = _impossible(native, dice)
        elif chance < 0.2:
            command = _malformed(dice.choice(admissible), dice)
        elif chance < 0.25:
            command = last
        else:
            here = tuple(f"examine {game.names[r]}" for r in game.stops.get(native.location, ()))
            handling = [c for c in admissible if not c.startswith((*_IDLE, *here))]
            command = dice.choice(handling if handling and chance < 0.75 else admissible)
        yield command
        last, text = command, native.step(command)


def _impossible(native: Episode, dice: random.Random) -> str:
    """A well-formed command about two things of the game, rarely admissible."""
    first, second = dice.choices(native.game.names, k=2)
    forms = (
        "go to {}", "open {}", "close {}", "examine {}", "use {}", "take {} from {}", "put {} in/on {}",
        "move {} to {}", "clean {} with {}", "heat {} with {}", "cool {} with {}", "slice {} with {}",
    )  # fmt: skip
    return dice.choice(forms).format(first, second)


def _malformed(command: str, dice: random.Random) -> str:
    """A damaged command; some are still read as the command."""
    damaged = (
        f"  {command}\n", f"{command}.", command.upper(), command.replace(" ", "  "), command[:-1],
        f"{command} {command}", command.replace("1", "01"), command.replace("1", "99"),
        f"<action>{command}</action>", "", " ", "help me", "put", "take from", "go to nowhere 1", "\x00",
        "\u6253\u5f00 \u51b0\u7bb1", "x" * 5000,
    )  # fmt: skip
    return dice.choice(damaged)


def compare(text: GameText, rules: Rules, seed: str, steps: int, expert: bool = False) -> Parity:
    """Walk through a game in both engines. Stops at the first difference, which it describes."""
    game = text.parse(rules)
    native, official = Episode(game), TextWorldEpisode(text, rules)
    report = Parity()
    history: list[str] = []
    answers = (native.reset(), official.reset())
    for command in walk(Episode(game), seed, steps, expert):
        if difference := _difference(native, official, answers):
            break
        history.append(command)
        admissible = command.strip() in official.admissible
        answers = (native.step(command), official.step(command))
        report.steps += 1
        if admissible:
            report.verbs[command.split()[0]] += 1
        report.refused += answers[1] == NOTHING
        report.won |= official.won
    difference = _difference(native, official, answers)
    if difference:
        report.differences.append(f"{text.id} by {rules} after {history[-8:]}: {difference}")
    return report


def _difference(native: Episode, official: TextWorldEpisode, answers: tuple[str, str]) -> str:
    if answers[0] != answers[1]:
        return f"native says {answers[0]!r}, TextWorld {answers[1]!r}"
    if native.admissible != official.admissible:
        return f"admissible in one engine only: {sorted({*native.admissible} ^ {*official.admissible})}"
    if native.won != official.won:
        return f"won: native {native.won}, TextWorld {official.won}"
    return ""
