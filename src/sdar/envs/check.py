"""The conformance battery: what every environment must keep, checked on a registered spec by playing it.

    check_env(AlfworldSpec())      # raises EnvCheckError with everything that is wrong

`find_problems` returns the same as a list of sentences. A new environment gets all of it for a line of test.
"""

import pickle
from collections.abc import Iterator, Sequence

from sdar.envs.base import Env, EnvSpec
from sdar.errors import SdarError
from sdar.types import Message, Observation, Step, Task, is_number

HOSTILE = (
    "",
    " ",
    "\n\n\t",
    "\x00\x07\x1b[31m\x7f",
    "x" * 100_000,
    "<action>" * 5_000,
    "<action>",
    "</action>",
    "</action><action>",
    "<action></action>",
    "<think></think><action>go to",
    "<think>a</think><action>" + "look " * 20_000 + "</action>",
    "<search></search><answer>",
    "去抽屉 1",
    "اذهب إلى الدرج",
    "\U0001f600\u202e\ufeff\ud800",
    "İ" * 50,
    "{0} %s %d {x!r}",
    "go to (((",
    "click[]",
    "search[" + "[" * 500,
)
"""Texts that no environment may stumble over."""


TAKEN = {
    "success", "reward", "turns", "tokens", "invalid", "truncated", "episodes", "entropy", "mixed_groups",
    "overlong",
}  # fmt: skip
"""Names of what is known of every episode, which an environment's own metrics cannot have."""


class EnvCheckError(SdarError, AssertionError):
    """An environment breaks the contract."""


def check_env(spec: EnvSpec, tasks_per_split: int = 6) -> None:
    """Raise `EnvCheckError` that lists every broken rule; return quietly when there is none."""
    problems = find_problems(spec, tasks_per_split)
    if problems:
        name = type(spec).__name__
        raise EnvCheckError("\n- ".join([f"{name} breaks the environment contract:", *problems]))


def find_problems(spec: EnvSpec, tasks_per_split: int = 6) -> list[str]:
    """Every broken rule, a sentence each."""
    found = [*_splits(spec), *_panels(spec)]
    for split in spec.splits():
        tasks = spec.tasks(split)
        count = min(len(tasks), tasks_per_split)
        for i in range(count):
            found += _play(spec, tasks[(i * (len(tasks) // count) + i) % len(tasks)])
    return list(dict.fromkeys(found))


def _splits(spec: EnvSpec) -> Iterator[str]:
    """Splits are non-empty and disjoint, their ids unique and the same when asked again."""
    home: dict[str, str] = {}
    if not spec.splits():
        yield "there is no split"
    for split in spec.splits():
        tasks = spec.tasks(split)
        if not len(tasks):
            yield f"split {split} is empty"
            continue
        ids = [task.id for task in tasks]
        if len(set(ids)) < len(ids):
            yield f"split {split} has a task id twice"
        if shared := next((name for name in ids if home.get(name, split) != split), None):
            yield f"task {shared} is in split {home[shared]} and in split {split}"
        home.update(dict.fromkeys(ids, split))
        if [task.id for task in spec.tasks(split)[:50]] != ids[:50]:
            yield f"split {split} changes when it is asked for again"
        if pickle.loads(pickle.dumps(tasks[0])) != tasks[0]:
            yield f"the tasks of split {split} do not survive pickling"


def _panels(spec: EnvSpec) -> Iterator[str]:
    """Panels are non-empty, name no task twice or of the training split, and do not change."""
    train = {task.id for task in spec.tasks(spec.splits()[0])} if spec.splits() else set()
    for name in spec.panels():
        panel = spec.panel(name)
        ids = [task.id for task in panel.tasks]
        if not ids:
            yield f"panel {name} is empty"
        if len(set(ids)) < len(ids):
            yield f"panel {name} has a task twice"
        if train & set(ids):
            yield f"panel {name} holds training tasks"
        if spec.panel(name).fingerprint != panel.fingerprint:
            yield f"panel {name} has another fingerprint when it is asked for again"
        if panel.name != name:
            yield f"panel {name} calls itself {panel.name}"


def _play(spec: EnvSpec, task: Task) -> Iterator[str]:
    """Hostile texts and experts on one task, each played twice, in two environments."""
    for start in range(0, len(HOSTILE), spec.max_turns):
        hostile = [*HOSTILE[start : start + spec.max_turns], *HOSTILE[: spec.max_turns], ""]
        yield from _twice(spec, task, "hostile texts", hostile)
    for name in spec.experts():
        env = spec.make()
        observation = env.reset(task)
        expert = spec.expert(name, env, task, seed=0)
        texts: list[str] = []
        while len(texts) < spec.max_turns:
            texts.append(spec.prompts().answer(expert.act(observation)))
            step = env.step(texts[-1])
            observation = step.observation
            if not step.valid:
                yield f"task {task.id}, expert {name}: its text {texts[-1][:80]!r} is invalid"
            if step.done or step.truncated:
                break
        yield from _twice(spec, task, f"expert {name}", texts)


def _twice(spec: EnvSpec, task: Task, who: str, texts: Sequence[str]) -> Iterator[str]:
    """Play texts in two fresh environments, and again in the first; all must agree, and keep the rules."""
    where = f"task {task.id}, {who}"
    one, two = spec.make(), spec.make()
    records = []
    for env in (one, two, one):
        record, broken = _record(spec, env, task, texts)
        yield from (f"{where}: {problem}" for problem in broken)
        records.append(record)
    if records[0] != records[1]:
        yield f"{where}: two environments play it differently"
    if records[0] != records[2]:
        yield f"{where}: an environment plays it differently the second time"


def _record(
    spec: EnvSpec, env: Env, task: Task, texts: Sequence[str]
) -> tuple[list[Observation | Step | tuple[Message, ...]], list[str]]:
    """Everything an episode shows, and the rules it broke."""
    broken: list[str] = []
    first = env.reset(task)
    record: list[Observation | Step | tuple[Message, ...]] = [first, spec.prompts().opening(first)]
    if not first.goal:
        broken.append("the first observation has no goal")
    last: Step | None = None
    for turn, text in enumerate(texts, start=1):
        try:
            step = env.step(text)
        except Exception as error:  # noqa: BLE001 - the rule under test is that nothing is raised, whatever it is
            broken.append(f"text {text[:40]!r} raises {type(error).__name__}: {error}")
            break
        if not is_number(step.reward):
            broken.append(f"reward {step.reward!r} is not a finite number")
            break
        if last and (last.done or last.truncated) and step != last:
            broken.append("something changes after the end")
        if step.success and not step.done:
            broken.append("success without done")
        if wrong := [name for name, value in step.metrics.items() if not _is_metric(name, value)]:
            broken.append(f"metric {wrong[0]} is not finite, or has the name of something else")
        if turn == spec.max_turns and not (step.done or step.truncated):
            broken.append(f"it is neither done nor truncated after max_turns = {spec.max_turns}")
        record += [step, spec.prompts().following(step.observation)]
        history = [(first, step.action)]
        record.append(spec.prompts().window(first, history, step.observation, turn))
        last = step
    return record, broken


def _is_metric(name: str, value: float) -> bool:
    return name not in TAKEN and "/" not in name and is_number(value)
