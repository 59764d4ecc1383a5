"""How the shop speaks to a model, and how an action is read out of what the model writes.

Two prompt sets. `FullPrompts` is for pretrained models: the structure of the published prompts (task, step
count, last k observation/action pairs, possible actions; reasoning in `<think>`, action in `<action>`) in
words of our own; `FilePrompts` has the words of a prompt file. `CompactPrompts` is for the embedded model: as
few tokens as possible. It writes actions without brackets (`search red shoes`, `click buy now`) and calls the
products of a results page by their numbers on it.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

from sdar.envs.prompting import CompactFrame, FileFrame, FullFrame, parse_tagged
from sdar.envs.webshop.pages import SEPARATOR
from sdar.envs.webshop.reading import View, Wish, visible
from sdar.envs.webshop.session import read_action, read_click
from sdar.types import Message, Observation

Parser = Callable[[str, Collection[str]], tuple[str, bool]]
"""(the policy's text, what is possible) -> (the action, whether the text has the right form)."""

MOST_CHARACTERS = 13_000
"""Window prompts that would be longer leave the history out, as the published ones do."""
ANY_SEARCH = "search[<your query>]"
"""How a search stands among the possible actions."""
_ROLE = "You are an online shopper. You act in a text version of a shop, one action at a time."
_ASK = (
    "Think first: reason about what to do next inside <think> </think>. "
    "Then choose one of the possible actions and write it inside <action> </action>."
)
_LAST = 20


class FullPrompts(FullFrame):
    """Prompts for pretrained chat models."""

    def opening(self, first: Observation) -> tuple[Message, ...]:
        """The role, the task, the page and what is possible."""
        return (
            Message(
                "user", "\n\n".join([_task(first), f"You see: {_quoted(first)}", _possible(first), _ASK])
            ),
        )

    def following(self, observation: Observation) -> tuple[Message, ...]:
        """The page and what is possible now."""
        return (Message("user", f"You see: {_quoted(observation)}\n\n{_possible(observation)}"),)

    def seen(self, observation: Observation) -> str:
        """A page without the goal."""
        return _quoted(observation)

    def parts(self, first: Observation, past: str, observation: Observation, number: int) -> Sequence[str]:
        """The task, the last turns unless that is too long, the present one, and what is possible."""
        now = f"This is step {number}. You see: {_quoted(observation)}"
        parts = (_task(first), past, now, _possible(observation), _ASK)
        too_long = len("\n\n".join(parts)) > MOST_CHARACTERS
        return (parts[0], *parts[2:]) if too_long else parts


class FilePrompts(FileFrame, FullPrompts):
    """Prompts in the words of a prompt file."""

    most_characters = MOST_CHARACTERS

    def values(self, first: Observation, observation: Observation) -> Mapping[str, str]:
        """The task, the page without it, and what is possible."""
        return {
            "task_description": first.goal,
            "current_observation": _quoted(observation),
            "available_actions": _listed(observation),
        }


class CompactPrompts(CompactFrame):
    """Prompts for the embedded model: the wish, then what is new on each page."""

    def opening(self, first: Observation) -> tuple[Message, ...]:
        """The wish."""
        return (Message("user", squeeze_goal(first.goal)),)

    def following(self, observation: Observation) -> tuple[Message, ...]:
        """The page."""
        return (Message("user", squeeze(observation)),)

    def answer(self, action: str) -> str:
        """The action without its brackets."""
        name = read_click(action)
        verb, argument = ("click", name) if name else read_action(action)
        return f"{verb} {argument}" if argument else action


def squeeze_goal(goal: str) -> str:
    """A goal sentence in few words.

    >>> squeeze_goal("Find me slim fit shirts with color: red, and price lower than 40.00 dollars")
    'find slim fit shirts, color red, under $40'
    """
    wish = Wish.read(goal)
    parts = [f"find {wish.what}", *(f"{name} {value}" for name, value in wish.options)]
    return ", ".join([*parts, *([f"under ${wish.limit:g}"] if wish.limit < float("inf") else [])])


def squeeze(observation: Observation) -> str:
    """A page in few words: its rows, or a product's title, price and options, or its text."""
    view = View.read(observation)
    if view.title:
        options = (f"{name}: {', '.join(values)}" for name, values in view.options)
        return "\n".join([f"{view.title} {_short(view.price)}", *options])
    if view.rows:
        return "\n".join(f"{row.name} {row.title} {_short(row.price)}" for row in view.rows)
    return view.text or ("search" if ANY_SEARCH in observation.admissible else "nothing")


def parse_published(text: str, possible: Collection[str] = ()) -> tuple[str, bool]:
    """The published rule, see `parse_tagged`; the action need not be possible.

    >>> parse_published("<think>which?</think><action> Click[Buy Now] </action>")
    ('click[buy now]', True)
    """
    return parse_tagged(text, _LAST)


def parse_strict(text: str, possible: Collection[str]) -> tuple[str, bool]:
    """As `parse_published`, and the action must be possible."""
    action, formed = parse_published(text)
    return action, formed and _is_possible(action, possible)


def parse_bare(text: str, possible: Collection[str]) -> tuple[str, bool]:
    """The whole text is the action, without brackets; it must be possible.

    >>> parse_bare("click buy now", ["click[buy now]"]), parse_bare("buy now", ["click[buy now]"])
    (('click[buy now]', True), ('buy now', False))
    """
    verb, _, argument = text.strip().partition(" ")
    if verb not in ("search", "click") or not argument.strip():
        return text.strip(), False
    action = f"{verb}[{argument.strip()}]"
    return action, _is_possible(action, possible)


def _is_possible(action: str, possible: Collection[str]) -> bool:
    """Whether an action would do something; a search works on every page."""
    verb, argument = read_action(action)
    return action in possible or (verb == "search" and bool(argument))


def _task(first: Observation) -> str:
    return f"{_ROLE} Your task is to: {first.goal}"


def _quoted(observation: Observation) -> str:
    """What follows the goal on a page, each piece in quotes, as published."""
    return SEPARATOR.join(f"'{piece}'" for piece in visible(observation).split(SEPARATOR))


def _possible(observation: Observation) -> str:
    return f"Possible actions now: [\n{_listed(observation)}\n]"


def _listed(observation: Observation) -> str:
    return "\n".join(f"'{action}'," for action in observation.admissible)


def _short(price: str) -> str:
    """A price without cents that are none: `$24.0` is `$24`."""
    return price.replace(".0 ", " ").removesuffix(".0")
