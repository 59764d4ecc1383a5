"""One Search-QA episode at a time, from the policy's text to the next observation."""

from collections.abc import Callable

from sdar.envs.search_qa.prompts import ANSWER, SEARCH, Parser, Shower
from sdar.envs.search_qa.questions import Question
from sdar.envs.search_qa.retrieval import Passage, RetrievalError, Retriever
from sdar.envs.search_qa.scoring import exact_match, f1, normalize
from sdar.text.unicode import well_formed
from sdar.types import Observation, Step, Task

FAILED = "<information>The search failed. Try again, or answer with what you know.</information>"
"""What the policy reads after a search that failed."""


class SearchQAEnv:
    """Asks questions. `begin` turns a task into its question and the engine that searches for it.

    Metrics: `f1` of the answer, `searches`, how many of them failed (`failed_searches`), and `answer_shown`,
    1 if a golden answer stood in any passage that was found.
    """

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
        self._answer_shown = False
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
            self._last = Step(
                self._observe(""), action, valid=valid, truncated=last_turn, metrics=_measured()
            )
        return self._last

    def _judge(self, action: str, answer: str, valid: bool) -> Step:
        right = exact_match(answer, self._question.answers)
        return Step(
            self._observe(""),
            action,
            reward=self._reward if right else 0.0,
            done=True,
            success=right,
            valid=valid,
            metrics=_measured(f1=f1(answer, self._question.answers)),
        )

    def _search(self, action: str, query: str, valid: bool) -> Step:
        try:
            (found,) = self._retriever.search([well_formed(query)], self._top_k) if query else [()]
        except RetrievalError:
            failed = _measured(searches=1.0, failed_searches=1.0)
            return Step(self._observe(FAILED), action, valid=valid, metrics=failed)
        first_shown = not self._answer_shown and self._shown(found)
        self._answer_shown |= first_shown
        measured = _measured(searches=1.0, answer_shown=float(first_shown))
        return Step(self._observe(self._show(found)), action, valid=valid, metrics=measured)

    def _shown(self, found: tuple[Passage, ...]) -> bool:
        text = f" {normalize(' '.join(passage.contents for passage in found))} "
        return any(f" {normalize(answer)} " in text for answer in self._question.answers)

    def _observe(self, text: str) -> Observation:
        return Observation(text, self._question.text)


def _measured(**metrics: float) -> dict[str, float]:
    """These metrics of a step, and 0 for the others."""
    return {"f1": 0.0, "searches": 0.0, "failed_searches": 0.0, "answer_shown": 0.0} | metrics
