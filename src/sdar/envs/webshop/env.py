"""One WebShop episode at a time, from the policy's text to the next page."""

from collections.abc import Callable, Mapping

from sdar.envs.webshop.pages import NEXT, SEARCH
from sdar.envs.webshop.prompts import ANY_SEARCH, Parser
from sdar.envs.webshop.session import Place, Session
from sdar.types import Observation, Step, Task


class WebshopEnv:
    """Plays tasks; an episode ends with a purchase, and succeeds if that scores 1.

    The metric `score` is that of the purchase, from 0 to 1.
    `begin` opens a session for a task. With `numbered`, the products of a results page are called by their
    numbers on it: `click[3]`.
    """

    def __init__(
        self, begin: Callable[[Task], Session], parse: Parser, numbered: bool, max_turns: int, reward: float
    ) -> None:
        self._begin, self._parse, self._numbered = begin, parse, numbered
        self._max_turns, self._reward = max_turns, reward

    def reset(self, task: Task) -> Observation:
        """Open the shop for a task."""
        self._session = self._begin(task)
        self._num_turns = 0
        self._last: Step | None = None
        return self._observe()

    def step(self, text: str) -> Step:
        """Do the action in `text`; after the end the last step is returned unchanged."""
        if self._last and (self._last.done or self._last.truncated):
            return self._last
        action, valid = self._parse(text, self._admissible)
        self._session.act(self._meant.get(action, action))
        self._num_turns += 1
        observation = self._observe()
        done = self._session.place is Place.DONE
        score = self._session.score.total if self._session.score else 0.0
        success = score == 1.0
        self._last = Step(
            observation,
            action,
            reward=self._reward if success else 0.0,
            done=done,
            success=success,
            valid=valid,
            truncated=not done and self._num_turns >= self._max_turns,
            metrics={"score": score},
        )
        return self._last

    def _observe(self) -> Observation:
        page, place = self._session.page, self._session.place
        self._meant: Mapping[str, str] = {}
        actions = [f"click[{name}]" for name in page.buttons]
        if place is Place.SEARCH:
            actions = [ANY_SEARCH, f"click[{SEARCH}]"]
        elif place is Place.RESULTS and self._numbered:
            first = page.buttons.index(NEXT) + 1
            self._meant = {f"click[{i}]": name for i, name in enumerate(actions[first:], 1)}
            actions[first:] = self._meant
        self._admissible = tuple(actions)
        return Observation(page.text, self._session.goal.text, self._admissible)
