"""Scripted players find what they look for, and err when they are told to."""

import pytest

from sdar.envs.search_qa.spec import SearchQASpec


def play(spec, name, noise=0.0, count=80):
    """Success by kind, and the actions of all episodes."""
    wins, tries, actions = {}, {}, []
    for seed, task in enumerate(spec.tasks("held_out")[:count]):
        env = spec.make()
        observation = env.reset(task)
        expert = spec.expert(name, env, task, seed, noise)
        actions.append([])
        while True:
            actions[-1].append(expert.act(observation))
            step = env.step(spec.prompts().answer(actions[-1][-1]))
            assert step.valid
            observation = step.observation
            if step.done or step.truncated:
                break
        assert step.done, "experts always answer in time"
        wins[task.kind] = wins.get(task.kind, 0) + step.success
        tries[task.kind] = tries.get(task.kind, 0) + 1
    return {kind: wins[kind] / tries[kind] for kind in tries}, actions


@pytest.mark.parametrize(
    "settings", [{}, {"prompt": "full"}, {"prompt": "full", "information": "json", "size": "full"}]
)
def test_the_explorer_answers_everything_in_the_fewest_turns(settings):
    success, actions = play(SearchQASpec(**settings), "explorer", count=40)
    assert set(success.values()) == {1.0}
    lengths = [len(episode) for episode in actions]
    assert all(length <= most for length, most in zip(lengths, [2, 3, 4, 3] * 10, strict=True))
    assert sum(lengths) > 100, "a fact is hardly ever found by chance"


def test_the_hasty_one_is_worse_where_more_facts_are_needed():
    success, actions = play(SearchQASpec(), "wanderer")
    assert success["lookup"] > success["bridge"] > success["chain"]
    vague = sum(
        len(action.split()) == 2 for episode in actions for action in episode if action.startswith("search")
    )
    assert vague > 20


def test_noise_costs_success_and_is_repeatable():
    spec = SearchQASpec()
    success, actions = play(spec, "explorer", noise=0.4)
    assert 0.2 < sum(success.values()) / 4 < 0.9
    assert play(spec, "explorer", noise=0.4) == (success, actions)


def test_chance_hardly_ever_wins():
    success, _ = play(SearchQASpec(), "random")
    assert sum(success.values()) / 4 < 0.15
