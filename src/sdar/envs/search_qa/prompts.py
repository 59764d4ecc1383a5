"""How Search-QA speaks to a model, and how an action is read out of what the model writes.

An action is a line: `search QUERY`, `answer TEXT`, or nothing. `FullPrompts` is for pretrained models: the
structure of the published prompts (question, steps so far, `<think>`, then `<search>` or `<answer>`; passages
come in `<information>`) in words of our own; `FilePrompts` has the words of a prompt file. `CompactPrompts`
is for the embedded model: as few tokens as possible, and what it writes is the action.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence

from sdar.envs.prompting import FileFrame, FullFrame
from sdar.envs.search_qa.retrieval import Passage
from sdar.types import Message, Observation

Parser = Callable[[str], tuple[str, bool]]
"""The policy's text -> (the action, whether the text has the right form)."""
Shower = Callable[[Sequence[Passage]], str]
"""The passages found -> what the policy reads."""

SEARCH, ANSWER = "search", "answer"

_ROLE = "You answer questions with the help of a search engine, one step at a time."
_ASK = (
    "Think first: reason inside <think> </think> about what you know and what is missing. "
    "Then do one of two things. If something is missing, write a query inside <search> </search>. "
    "If you know the answer, write it inside <answer> </answer>, as short as possible and without comment. "
    "Example: <answer>Lima</answer>"
)
_NEITHER = "There was neither <search> </search> nor <answer> </answer> in what you wrote."
_OPENS = {verb: re.compile(rf"<{verb}>", re.I) for verb in (SEARCH, ANSWER)}
_CLOSES = {verb: re.compile(rf"</{verb}>", re.I) for verb in (SEARCH, ANSWER)}
_FILLER = re.compile(r"\b(?:an?|the|is|was|are|were|what|who|which|do|have)\b|[\"'.,?]", re.I)


class FullPrompts(FullFrame):
    """Prompts for pretrained chat models."""

    def opening(self, first: Observation) -> tuple[Message, ...]:
        """The role, the question, and the form of an answer."""
        return (Message("user", f"{_ROLE}\n\nQuestion: {first.goal}\n\n{_ASK}"),)

    def following(self, observation: Observation) -> tuple[Message, ...]:
        """What was found."""
        return (Message("user", observation.text or f"{_NEITHER} {_ASK}"),)

    def parts(self, first: Observation, past: str, observation: Observation, number: int) -> Sequence[str]:
        """The question, and the last actions with what each brought."""
        return (f"{_ROLE}\n\nQuestion: {first.goal}", past, _ASK)

    def line(self, number: int, before: Observation, action: str, after: Observation) -> str:
        """An action with what it brought."""
        return f"Step {number}: {_tagged(action)} {after.text}".rstrip()

    def answer(self, action: str) -> str:
        """A text of the required form, with the shortest of reasons."""
        verb, _, rest = action.partition(" ")
        why = f"I look for: {rest}." if verb == SEARCH else "I know the answer."
        return f"<think>{why}</think>\n{_tagged(action)}"


class FilePrompts(FileFrame, FullPrompts):
    """Prompts in the words of a prompt file."""

    def values(self, first: Observation, observation: Observation) -> Mapping[str, str]:
        """The question."""
        return {"task_description": first.goal}

    def line(self, number: int, before: Observation, action: str, after: Observation) -> str:
        """An action with what it brought, and an empty line, as published."""
        return f"Step {number}:{_tagged(action) if action else ''} {after.text}\n"


class CompactPrompts:
    """Prompts for the embedded model: no instructions, lower case, no words without content."""

    def opening(self, first: Observation) -> tuple[Message, ...]:
        """The question."""
        return (Message("user", f"question {squeeze(first.goal)}"),)

    def following(self, observation: Observation) -> tuple[Message, ...]:
        """What was found."""
        return (Message("user", observation.text or "search or answer"),)

    def window(
        self,
        first: Observation,
        history: Sequence[tuple[Observation, str]],
        observation: Observation,
        num_done: int,
    ) -> tuple[Message, ...]:
        """The question, then the last actions and what each brought, a line each."""
        lines = [opening.content for opening in self.opening(first)]
        afters = [*(before for before, _ in history[1:]), observation]
        for (_, action), after in zip(history, afters, strict=False):
            lines += [action, after.text]
        return (Message("user", "\n".join(lines)),)

    def answer(self, action: str) -> str:
        """The action itself."""
        return action


def parse_any_case(text: str) -> tuple[str, bool]:
    """The first `<search>` block, else the first `<answer>` block, else nothing; tags in any letters.

    The text is cut after the first `</search>`, or else after the first `</answer>`. It is invalid without a
    block, and also (though the block counts) with both tags or a tag twice. `<think>` is asked for and not
    required.

    >>> parse_any_case("<think>where?</think><SEARCH> capital of Peru </SEARCH>")
    ('search capital of Peru', True)
    """
    end = next((match.end() for close in _CLOSES.values() if (match := close.search(text))), len(text))
    return _read(text, end)


def parse_published(text: str) -> tuple[str, bool]:
    """The published rule: as `parse_any_case`, but only closing tags in small letters cut the text.

    And a query in which `<answer>` and `</answer>` stand, in small letters, is an answer: the last between
    such tags, or an empty one.

    >>> parse_published("</SEARCH><search> capital of Peru </search>")
    ('search capital of Peru', True)
    >>> parse_published("<search>Peru <answer>Lima</answer></search>")
    ('answer Lima', False)
    """
    ends = (text.find(tag) + len(tag) for tag in ("</search>", "</answer>") if tag in text)
    action, valid = _read(text, next(ends, len(text)))
    verb, _, query = action.partition(" ")
    if verb == SEARCH and "<answer>" in query and "</answer>" in query:
        return f"{ANSWER} {_last_answer(query)}".rstrip(), valid
    return action, valid


def _read(text: str, end: int) -> tuple[str, bool]:
    """The action in the first block up to `end`, of searches before answers, and whether `text` is valid."""
    num_opened = sum(len(tag.findall(text)) for tag in _OPENS.values())
    for verb in (SEARCH, ANSWER):
        # Not one pattern for a block: it would look for an end from every tag that opens.
        opened = _OPENS[verb].search(text, 0, end)
        closed = _CLOSES[verb].search(text, opened.end(), end) if opened else None
        if opened and closed:
            return f"{verb} {text[opened.end() : closed.start()].strip()}".rstrip(), num_opened == 1
    return "", False


def _last_answer(text: str) -> str:
    """What stands in the last `<answer>` block; empty without one."""
    found, _, rest = "", *text.partition("<answer>")[1:]
    while "</answer>" in rest:
        found, _, rest = rest.partition("</answer>")
        rest = rest.partition("<answer>")[2]
    return found.strip()


def parse_bare(text: str) -> tuple[str, bool]:
    """The whole text is the action.

    >>> parse_bare("answer lima"), parse_bare("answer"), parse_bare("lima")
    (('answer lima', True), ('', False), ('', False))
    """
    verb, _, rest = text.strip().partition(" ")
    formed = verb in (SEARCH, ANSWER) and bool(rest.strip())
    return (f"{verb} {rest.strip()}", True) if formed else ("", False)


def show_plain(passages: Sequence[Passage]) -> str:
    """Passages as Search-R1 shows them."""
    lines = [f"Doc {i}(Title: {found.title}) {found.text}" for i, found in enumerate(passages, 1)]
    return "<information>" + ("\n".join(lines) or "No passage matches the query.") + "</information>"


def show_json(passages: Sequence[Passage]) -> str:
    """Passages as SDAR and verl-agent show them: in a JSON string, its escapes included."""
    lines = [f"Doc {i}: {found.contents.strip()}\n" for i, found in enumerate(passages, 1)]
    result = json.dumps({"result": "".join(lines) or "No passage matches the query."})
    return f"<information>{result}</information>"


def show_compact(passages: Sequence[Passage]) -> str:
    """The texts of the passages without their titles, squeezed."""
    return "found " + (" ; ".join(squeeze(found.text) for found in passages) or "nothing")


def squeeze(text: str) -> str:
    """Lower case, without articles, punctuation and other words that carry nothing here.

    >>> squeeze("What is the birthplace of the author of Lantern?")
    'birthplace of author of lantern'
    """
    return " ".join(_FILLER.sub(" ", text.lower()).split())


def _tagged(action: str) -> str:
    """An action in its tags; nothing for an empty one."""
    verb, _, rest = action.partition(" ")
    return f"<{verb}>{rest}</{verb}>" if verb else "(no action)"
