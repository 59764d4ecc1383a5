"""What a step plays: episodes, turns, and the lengths of prompts, answers and samples, in tokens."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sdar.envs.base import PromptSet, envs
from sdar.errors import ConfigError
from sdar.plan.settings import Assumed
from sdar.recipe import RunConfig
from sdar.rollout.views import views
from sdar.types import ContextMode


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """Tokens of one case: typical, or the longest that can be."""

    prompt: int
    """Of a turn's whole prompt; in a transcript, of the last one."""
    read: int
    """That the engine reads anew in a turn, on average."""
    answer: int
    sample: int
    """What is trained on: a turn with its prompt, or in a transcript the episode."""
    teachers: tuple[int, ...]
    """The same behind each teacher's prompt."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """The episodes of a step."""

    ranks: int
    episodes: int
    turns: int
    samples: int
    typical: Lengths
    longest: Lengths

    @property
    def rank_episodes(self) -> int:
        """Episodes of the rank that plays most."""
        return math.ceil(self.episodes / self.ranks)

    @property
    def policy_tokens(self) -> int:
        """Tokens that the policy chooses in a step."""
        return self.episodes * self.turns * self.typical.answer


def load_of(config: RunConfig, assumed: Assumed, context: int) -> Load:
    """The load of a run's steps; `context` is what the model can read."""
    rollout, found = config.rollout, _measured(config, assumed)
    turns = assumed.turns or config.env.max_turns
    window = rollout.context is ContextMode.WINDOW
    answers = {"mean": assumed.answer or math.ceil(rollout.max_tokens / 2), "most": rollout.max_tokens}
    added = {"mean": 0, "most": 0} if not config.objective.student_skills else found["skills"]

    def lengths(case: str) -> Lengths:
        answer, own = answers[case], added[case]
        if window:
            prompt = read = min(found["window"][case] + own, rollout.max_prompt or context)
        else:
            # No episode has its longest observation in every turn.
            growth = found["turn"]["mean"]
            whole = found["opening"][case] + own + turns * (growth + answer)
            prompt = min(context, whole) - answer
            read = math.ceil(prompt / turns) - answer if turns > 1 else prompt
        sample = min(context, prompt + answer)
        notes = [found["skills"][case] * ("skills" in views[name].needs) for name in config.view_names]
        return Lengths(
            prompt=prompt,
            read=max(1, read),
            answer=answer,
            sample=sample,
            teachers=tuple(min(context, sample + note) for note in notes),
        )

    episodes = rollout.tasks_per_step * rollout.group_size
    return Load(
        ranks=assumed.gpus,
        episodes=episodes,
        turns=turns,
        samples=episodes * (turns if window else 1),
        typical=lengths("mean"),
        longest=lengths("most"),
    )


def _measured(config: RunConfig, assumed: Assumed) -> Mapping[str, Mapping[str, int]]:
    """Mean and largest length of a window prompt, an opening, what a turn adds, and skills."""
    name = envs.name_of(type(config.env))
    prompt = getattr(config.env, "prompt", PromptSet.FULL)
    tokens = json.loads((Path(__file__).parent / "prompts.json").read_text(encoding="utf-8"))["tokens"]
    found = tokens.get(f"{name}, {prompt}")
    if found is None and not assumed.prompt:
        raise ConfigError(f"no prompt of environment '{name}' was measured: say --prompt, in tokens")
    if not assumed.prompt:
        return dict(found)
    given = {"mean": assumed.prompt, "most": assumed.prompt}
    none = {"mean": 0, "most": 0}
    measured = found or {"window": none, "opening": given, "turn": none, "skills": none}
    most = {part: max(assumed.prompt, measured[part]["most"]) for part in ("window", "turn")}
    return measured | {part: {"mean": assumed.prompt, "most": most[part]} for part in most}
