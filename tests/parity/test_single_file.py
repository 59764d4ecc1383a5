"""examples/single_file_sdar.py and the package are the same algorithm: same loss, same gradient."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from tests.tiny import tiny_model, tiny_tokenizer

from sdar.envs.alfworld.spec import AlfworldSpec
from sdar.model.chat import Chat
from sdar.model.policy import Policy
from sdar.objectives.advantages import AdvantageConfig, advantages
from sdar.objectives.sdar import SDAR
from sdar.rollout.samples import Sample
from sdar.skills.context import Detail, SkillContext, SkillsConfig
from sdar.trainer.batch import Batch
from sdar.trainer.distributed import join
from sdar.trainer.settings import OptimConfig
from sdar.trainer.step import Learner, Stream, make_optimizer
from sdar.trainer.teachers import Weights
from sdar.types import Completion, ContextMode, EndReason, Group, Observation, StopReason, Trajectory, Turn

FILE = Path(__file__).parents[2] / "examples" / "single_file_sdar.py"


@pytest.fixture(scope="module")
def single() -> ModuleType:
    spec = importlib.util.spec_from_file_location("single_file_sdar", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def episodes_of(single, model, chat, config):
    torch.manual_seed(0)
    spec = AlfworldSpec(max_turns=3)
    tasks = [spec.tasks("train")[i] for i in range(config.tasks)]
    kinds = {task.kind for task in tasks}
    skills = SkillContext.from_config(SkillsConfig(detail=Detail.SUMMARY), kinds)
    episodes = single.rollout(model, chat, spec, skills, tasks, config)
    for number, episode in enumerate(episodes):
        episode.reward = float(number % 3)
    return episodes


def package_samples(episodes) -> list[Sample]:
    return [
        Sample(
            prompt=tuple(e.prompt),
            body=tuple(e.body),
            policy=tuple(e.chosen),
            logps=tuple(e.old),
            turns=(0,) * len(e.old),
            trajectory=i,
            teacher_prompt=tuple(e.teacher_prompt),
        )
        for i, e in enumerate(episodes)
    ]


def package_advantages(episodes, group: int) -> list[tuple[float, ...]]:
    def trajectory(episode, index):
        turn = Turn(
            Observation(""), (), (), Completion((), (), StopReason.STOP), "", "", episode.reward, True
        )
        end = EndReason.MAX_TURNS
        return Trajectory(episode.task, index, ContextMode.TRANSCRIPT, (turn,), False, end)

    groups = [
        Group(episodes[i].task, [trajectory(e, j) for j, e in enumerate(episodes[i : i + group])])
        for i in range(0, len(episodes), group)
    ]
    return advantages(groups, AdvantageConfig())


def gradients(model) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_loss_and_gradient_agree(single):
    config = single.Config(tasks=2, group=4, max_answer_tokens=5, coef=0.5)
    chat = Chat(tiny_tokenizer())
    model, reference = tiny_model(seed=1), tiny_model(seed=2)
    episodes = episodes_of(single, model, chat, config)
    for episode in episodes:  # a behaviour policy that is not the present one, so that the clips matter
        episode.old = [logp + 0.3 * (i % 3 - 1) for i, logp in enumerate(episode.old)]

    loss, metrics = single.episode_loss(model, reference, chat, episodes, config)
    loss.backward()
    expected = gradients(model)
    model.zero_grad()

    policy = Policy(model)
    with join("cpu") as world:
        learner = Learner(
            policy=policy,
            optimizer=make_optimizer(policy, OptimConfig(lr=0.0)),
            objective=SDAR(coef=config.coef),
            config=OptimConfig(lr=0.0, max_grad_norm=0.0, micro_tokens=300),
            world=world,
            reference=Weights(Policy(reference)),
        )
        samples = package_samples(episodes)
        batch = Batch.build(samples, package_advantages(episodes, config.group), world.device)
        batch.streams[Stream.OLD] = batch.rollout_M
        for stream in (Stream.REF, Stream.TEACHER):
            batch.put(stream, learner.score(batch, stream))
        seen: dict[str, torch.Tensor] = {}
        learner.optimizer.register_step_pre_hook(lambda *_: seen.update(gradients(policy.model)))
        learned = learner.learn(batch, step=1, steps=1)

    assert learned.metrics["objective/loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert learned.metrics["sdar/gap_mean"] == pytest.approx(metrics["gap"], rel=1e-4, abs=1e-6)
    assert learned.metrics["sdar/gate_mean"] == pytest.approx(metrics["gate"], rel=1e-4)
    assert seen.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(seen[name], value, rtol=1e-4, atol=1e-6)


def test_rollout_records_the_log_probs_of_what_it_sampled(single):
    config = single.Config(tasks=1, group=3, max_answer_tokens=4)
    chat, model = Chat(tiny_tokenizer()), tiny_model(seed=1)
    episodes = episodes_of(single, model, chat, config)
    logp_BT, _ = single.align(episodes, *single.score(model, chat, episodes))
    for episode, logp_T in zip(episodes, logp_BT, strict=True):
        mine = logp_T[-len(episode.body) :][torch.tensor(episode.chosen)]
        torch.testing.assert_close(mine, torch.tensor(episode.old), rtol=1e-4, atol=1e-4)


def test_it_is_short():
    assert len(FILE.read_text().splitlines()) <= 350
