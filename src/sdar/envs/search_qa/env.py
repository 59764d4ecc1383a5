"""One Search-QA episode at a time, from the policy's text to the next observation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sdar.envs.search_qa.prompts import ANSWER, SEARCH, Parser, Shower
from sdar.envs.search_qa.questions import Question
from sdar.envs.search_qa.retrieval import Passage, RetrievalError, Retriever
from sdar.envs.search_qa.scoring import exact_match, f1, normalize
from sdar.types import Observation, Step, Task

FAILED = "<information>The search failed. Try again, or answer with what you know.</information>"
"""What the policy reads after a search that failed."""


@dataclass(frozen=True, slots=True)
class SearchStep(Step):
    """A step with numbers to be averaged over the steps that have them.

    `f1` of an answer; of a search `retrieval/failed`, and `retrieval/answer_shown`: whether a golden answer
    stands in the passages.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)


class SearchQAEnv:
    """Asks questions. `begin` turns a task into its question and the engine that searches for it."""

    def __init__(
        self,
        begin: Callable[[Task], tuple[Question, Retriever]],
        parse: Parser,
        show: Shower,
        *,
        top_k: int,
        max_turns: int,
        reward: float,
    ) -> None:
        self._begin, self._parse, self._show = begin, parse, show
        self._top_k, self._max_turns, self._reward = top_k, max_turns, reward

    def reset(self, task: Task) -> Observation:
        """Start a task; the first observation is the question."""
        self._question, self._retriever = self._begin(task)
        self._num_turns = 0
        self._last: Step | None = None
        return self._observe(self._question.text)

    def step(self, text: str) -> Step:
        """Search or answer; after the end the last step is returned unchanged.

        An answer ends the episode. The last turn has to be an answer: what it searches for is not looked up.

        Raises:
            DataError: The search engine is gone for good.
        """
        if self._last and (self._last.done or self._last.truncated):
            return self._last
        action, valid = self._parse(text)
        verb, _, rest = action.partition(" ")
        self._num_turns += 1
        last_turn = self._num_turns >= self._max_turns
        if verb == ANSWER:
            self._last = self._judge(action, rest, valid)
        elif verb == SEARCH and not last_turn:
            self._last = self._search(action, rest, valid)
        else:
            self._last = SearchStep(self._observe(""), action, valid=valid, truncated=last_turn)
        return self._last

    def _judge(self, action: str, answer: str, valid: bool) -> Step:
        right = exact_match(answer, self._question.answers)
        return SearchStep(
            self._observe(""),
            action,
            reward=self._reward if right else 0.0,
            done=True,
            success=right,
            valid=valid,
            metrics={"f1": f1(answer, self._question.answers)},
        )

    def _search(self, action: str, query: str, valid: bool) -> Step:
        query = query.encode(errors="replace").decode()
        try:
            (found,) = self._retriever.search([query], self._top_k) if query else [()]
        except RetrievalError:
            return SearchStep(self._observe(FAILED), action, valid=valid, metrics={"retrieval/failed": 1.0})
        numbers = {"retrieval/failed": 0.0, "retrieval/answer_shown": float(self._shown(found))}
        return SearchStep(self._observe(self._show(found)), action, valid=valid, metrics=numbers)

    def _shown(self, found: tuple[Passage, ...]) -> bool:
        text = f" {normalize(' '.join(passage.contents for passage in found))} "
        return any(f" {normalize(answer)} " in text for answer in self._question.answers)

    def _observe(self, text: str) -> Observation:
        return Observation(text, self._question.text)
