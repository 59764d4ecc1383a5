"""Stages that have texts written about episodes.

Skills (SEED), how to use skills (BCSD), analyses (OPID), reflections (GRSD).
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sdar.rollout.stages import Ask, Tools, stages
from sdar.types import Group, Message, Trajectory

STEP_SKILLS = 5
"""Turns of an episode that may have a skill of their own, at most."""
_SKILL = re.compile(r"<skill>(.*?)</skill>", re.S)
_OBJECT = re.compile(r"\{.*\}", re.S)


def transcript(episode: Trajectory) -> str:
    """An episode in words: the task, what was seen and done in each turn, and how it ended."""
    turns = episode.turns
    seen = [*(turn.observation.text for turn in turns[1:]), episode.final.text]
    lines = [f"Task: {turns[0].observation.goal}", f"At first: {turns[0].observation.text}"]
    for number, (turn, after) in enumerate(zip(turns, seen, strict=True)):
        lines.append(f"Turn {number}: {turn.action}\nThen: {after}")
    return "\n".join([*lines, f"Outcome: {'success' if episode.success else 'failure'}"])


def ask(about: str, question: str, text: str) -> Ask:
    """A question about a text."""
    return Ask(about, (Message("user", f"{text}\n\n{question}"),))


def ask_all(groups: Sequence[Group], tools: Tools, about: str, question: str) -> dict[tuple[str, int], str]:
    """The answers to one question about each episode, by task and place in the group."""
    episodes = [episode for group in groups for episode in group.trajectories]
    answers = tools.write([ask(about, question, transcript(episode)) for episode in episodes])
    return {(e.task.id, e.index): answer for e, answer in zip(episodes, answers, strict=True)}


def with_facts(groups: Sequence[Group], facts: Mapping[tuple[str, int], Mapping[str, str]]) -> list[Group]:
    """The groups, with more facts about some of their episodes."""

    def more(episode: Trajectory) -> Trajectory:
        return replace(episode, facts={**episode.facts, **facts.get((episode.task.id, episode.index), {})})

    return [
        replace(group, trajectories=[more(episode) for episode in group.trajectories]) for group in groups
    ]


@stages.register("write-skill")
def write_skill(groups: Sequence[Group], tools: Tools) -> list[Group]:
    """Has a skill written about each episode, for view `own-skill`; none where the text has another form.

    Source: SEED, arXiv 2607.14777; the question is in words of our own.
    """
    question = (
        "What can be learned from this attempt for the next one? If it succeeded, say how; if it failed, say "
        "what to do instead. Write a few short sentences between <skill> and </skill>."
    )
    answers = ask_all(groups, tools, "skill", question)
    found = {place: _SKILL.search(answer) for place, answer in answers.items()}
    return with_facts(groups, {place: {"skill": skill[1].strip()} for place, skill in found.items() if skill})


@stages.register("write-meta-skill")
def write_meta_skill(groups: Sequence[Group], tools: Tools) -> list[Group]:
    """Has a text written for each kind of task on how to use its skills, for view `meta-skill`.

    It contrasts the first success of the kind with the first failure; a kind that lacks one has no text.
    Source: after BCSD, arXiv 2608.09555; the question is in words of our own.
    """
    question = (
        "These are the skills that two attempts at the same kind of task were given, and the attempts. "
        "Compare the success with the failure. Say in a few short sentences how to use the skills: which to "
        "follow, when, and which mistakes to avoid."
    )
    episodes = [episode for group in groups for episode in group.trajectories]
    seen: dict[str, dict[bool, Trajectory]] = {}
    for episode in episodes:
        seen.setdefault(episode.task.kind, {}).setdefault(episode.success, episode)
    pairs = {kind: (by[True], by[False]) for kind, by in seen.items() if len(by) == 2}
    asks = [
        ask("meta-skill", question, "\n\n".join([won.turns[0].shown, transcript(won), transcript(lost)]))
        for won, lost in pairs.values()
    ]
    texts = dict(zip(pairs, tools.write(asks), strict=True))
    told = [episode for episode in episodes if episode.task.kind in texts]
    return with_facts(
        groups, {(e.task.id, e.index): {"meta-skill": texts[e.task.kind].strip()} for e in told}
    )


@stages.register("analyse")
def analyse(groups: Sequence[Group], tools: Tools) -> list[Group]:
    """Has each episode analysed, for views `episode-skill` and `step-skill`; no skill where that fails.

    Source: OPID, arXiv 2606.26790, and its code; the question is in words of our own.
    """
    question = (
        "Analyse this attempt. If it succeeded, its skill is the way of working that did it; if it failed, "
        f"what to avoid. Up to {STEP_SKILLS} turns that decided it get a skill of their own. Answer with one "
        'JSON object: {"episode_summary": "...", "episode_skill": "...", '
        '"step_skills": [{"turn": 0, "skill": "..."}]}'
    )
    answers = ask_all(groups, tools, "analysis", question)
    return with_facts(groups, {place: analysis(answer) for place, answer in answers.items()})


def analysis(answer: str) -> dict[str, str]:
    """The facts in an analysis; none where it has not the form that was asked for.

    >>> analysis('{"episode_skill": "look first", "step_skills": [{"turn": 2, "skill": "open it"}]}')
    {'episode skill': 'look first', 'skill of turn 2': 'open it'}
    >>> analysis("I think that"), analysis('{"episode_skill": ["a"]}')
    ({}, {})
    """
    found = _OBJECT.search(answer)
    try:
        read = json.loads(found[0]) if found else {}
        skill, steps = read["episode_skill"], read.get("step_skills", [])
        facts = {f"skill of turn {int(step['turn'])}": step["skill"] for step in steps[:STEP_SKILLS]}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    facts = {"episode skill": skill, **facts}
    return facts if all(isinstance(text, str) for text in facts.values()) else {}


@stages.register("reflect")
def reflect(groups: Sequence[Group], tools: Tools) -> list[Group]:
    """Has every episode reflected on, and a list of DO and AVOID made of it, for view `guidance`.

    Only groups with a success and a failure get one. Source: GRSD, arXiv 2607.28076, and its code; the
    questions are in words of our own.
    """
    mixed = [group for group in groups if len({episode.success for episode in group.trajectories}) > 1]
    question = "Reflect on this attempt in a few sentences: which decisions led to its outcome, and why?"
    thoughts = ask_all(mixed, tools, "reflection", question)
    contrast = (
        "These are reflections on attempts at one task. Compare the successes with the failures. Write a "
        "short list, one point a line, each beginning with DO or with AVOID."
    )
    asks = [
        ask(
            "guidance",
            contrast,
            "\n\n".join(
                f"{'Success' if episode.success else 'Failure'}: {thoughts[episode.task.id, episode.index]}"
                for episode in group.trajectories
            ),
        )
        for group in mixed
    ]
    guided = dict(zip((group.task.id for group in mixed), tools.write(asks), strict=True))
    return with_facts(
        groups,
        {
            (task, index): {"reflection": thought, "guidance": guided[task].strip()}
            for (task, index), thought in thoughts.items()
        },
    )
