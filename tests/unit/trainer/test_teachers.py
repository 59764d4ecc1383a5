"""Each teacher by name scores what its description says, whole or with adapters, and is saved exactly."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tests.runs import timeless, tiny_trainer
from tests.tiny import tiny_model, tiny_tokenizer
from tests.unit.trainer.test_step import make, weights

from sdar.build.learner import check_teacher
from sdar.errors import ConfigError
from sdar.model.load import save_model
from sdar.model.policy import Policy
from sdar.objectives.base import LossInputs, LossOutput, Stream
from sdar.objectives.sdar import SDAR
from sdar.runs.rundir import read_metrics
from sdar.trainer.average import Average
from sdar.trainer.batch import Batch, mini_batches
from sdar.trainer.distributed import World, full
from sdar.trainer.step import Learner
from sdar.trainer.teachers import MovingAverage, Parts, SecondModel, TeacherConfig, teachers

DECAY = 0.8


def taught(world: World, config: TeacherConfig, lora: bool = False, **optim: int) -> tuple[Learner, Batch]:
    model = get_peft_model(tiny_model(), LoraConfig(r=2)) if lora else tiny_model()
    learner, batch = make(world, SDAR(), model=model, **optim)
    parts = Parts(
        policy=learner.policy,
        reference=learner.reference,
        average=lambda decay: Average(learner.policy, decay),
        load=lambda path: Policy(tiny_model(seed=int(path))),
    )
    return replace(learner, teacher=config.make(parts)), batch


def by_hand(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """The teacher's log-probs by a plain forward pass of each sample."""
    out = []
    for sample in batch.samples:
        tokens = torch.tensor([*sample.teacher_prompt, *sample.body])
        logp = model(tokens[None]).logits[0, :-1].log_softmax(-1).gather(1, tokens[1:, None])[:, 0]
        out.append(logp[-len(sample.body) :][torch.tensor(sample.policy)].detach())
    return torch.cat(out)


def plain(state: dict[str, torch.Tensor]) -> torch.nn.Module:
    model = tiny_model()
    model.load_state_dict(
        {name.removeprefix("model."): tensor for name, tensor in state.items()}, strict=False
    )
    return model


def assert_close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-4)


def test_the_default_and_the_reference_are_the_policy_now_and_at_first(world: World) -> None:
    for name in ("start-of-step", "live", "reference"):
        learner, batch = taught(world, teachers[name]())
        assert_close(learner.score(batch, Stream.TEACHER).logp, by_hand(tiny_model(), batch))
        learner.learn(batch, 1, 10)
        now = tiny_model() if name == "reference" else plain(weights(learner))
        assert_close(learner.score(batch, Stream.TEACHER).logp, by_hand(now, batch))


def test_a_second_model_scores_with_its_own_weights(world: World) -> None:
    learner, batch = taught(world, SecondModel(path="3"))
    learner.learn(batch, 1, 10)
    assert_close(learner.score(batch, Stream.TEACHER).logp, by_hand(tiny_model(seed=3), batch))


@pytest.mark.parametrize("lora", [False, True])
def test_the_average_follows_every_update(world: World, lora: bool) -> None:
    learner, batch = taught(world, MovingAverage(decay=DECAY), lora, mini_batch=3)
    mean, seen = weights(learner), []
    learner.optimizer.register_step_post_hook(lambda *_: seen.append(weights(learner)))
    for step in (1, 2):
        learner.learn(batch, step, 10)
    assert len(seen) == 4
    for state in seen:
        mean = {name: DECAY * tensor + (1 - DECAY) * state[name] for name, tensor in mean.items()}
    before = weights(learner)
    scored = learner.score(batch, Stream.TEACHER).logp
    if lora:
        whole = get_peft_model(tiny_model(), LoraConfig(r=2))
        whole.load_state_dict({name.removeprefix("model."): t for name, t in mean.items()}, strict=False)
        assert_close(scored, by_hand(whole, batch))
    else:
        assert_close(scored, by_hand(plain(mean), batch))
    assert (scored - learner.score(batch, Stream.OLD).logp).abs().max() > 1e-3
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(learner).items()), "swapped back"


def test_a_skipped_update_leaves_the_average_alone(world: World) -> None:
    learner, batch = taught(world, MovingAverage(decay=DECAY))
    assert learner.teacher.average is not None
    before = {name: tensor.clone() for name, tensor in learner.teacher.average.tensors.items()}
    batch.adv_M.fill_(torch.nan)
    assert learner.learn(batch, 1, 10).metrics["optim/skipped"] == 1
    assert all(torch.equal(t, before[name]) for name, t in learner.teacher.average.tensors.items())


def test_adapters_are_off_for_a_reference_teacher(world: World) -> None:
    learner, batch = taught(world, teachers["reference"](), lora=True)
    learner.learn(batch, 1, 10)
    assert_close(learner.score(batch, Stream.TEACHER).logp, by_hand(tiny_model(), batch))


@dataclass(frozen=True, kw_only=True)
class Watch(SDAR):
    """Remembers the teacher's log-probs of every update."""

    def loss(self, x: LossInputs) -> LossOutput:
        SEEN.append(x.stream(Stream.TEACHER)[x.mask_BT])
        return super().loss(x)


SEEN: list[torch.Tensor] = []


@pytest.mark.parametrize("name", ["start-of-step", "live"])
def test_a_live_teacher_is_scored_again_before_each_update(world: World, name: str) -> None:
    SEEN.clear()
    learner, batch = taught(world, teachers[name](), mini_batch=3)
    start = batch.streams[Stream.TEACHER].clone()
    states: list[dict[str, torch.Tensor]] = []
    learner.optimizer.register_step_post_hook(lambda *_: states.append(weights(learner)))
    replace(learner, objective=Watch()).learn(batch, 1, 10)
    first, second = (batch.columns(rows) for rows in mini_batches(6, 3, [0, 1]))
    after = batch.streams[Stream.TEACHER]
    assert_close(after[first], start[first])
    assert_close(
        after[second], (start if name == "start-of-step" else by_hand(plain(states[0]), batch))[second]
    )
    assert torch.equal(SEEN[1].sort().values, after[second].sort().values)


@pytest.mark.parametrize("name", ["ema", "live"])
def test_a_stopped_run_goes_on_exactly(world: World, tmp_path: Path, name: str) -> None:
    whole = tiny_trainer(tmp_path / "whole", world, steps=4, teacher=teachers[name]())
    whole.train()
    for steps in (2, 4):
        parts = tiny_trainer(tmp_path / "parts", world, steps=steps, teacher=teachers[name]())
        parts.train()
    assert timeless(read_metrics(parts.run)) == timeless(read_metrics(whole.run))
    default = tiny_trainer(tmp_path / "default", world, steps=4)
    default.train()
    gap = [metrics[-1]["teacher/gap_start"] for metrics in map(read_metrics, (default.run, whole.run))]
    assert gap[0] != gap[1]
    if name == "ema":
        one, two = whole.learner.teacher.average, parts.learner.teacher.average
        assert one is not None
        assert two is not None
        assert all(torch.equal(full(t), full(two.tensors[name])) for name, t in one.tensors.items())


def test_a_second_model_with_other_tokens_or_a_shorter_context_is_refused(tmp_path: Path) -> None:
    save_model(tiny_model(), tiny_tokenizer(), tmp_path / "policy")
    save_model(tiny_model(), tiny_tokenizer(merges=90), tmp_path / "other")
    save_model(tiny_model(max_position_embeddings=64), tiny_tokenizer(), tmp_path / "short")
    check_teacher(tmp_path / "policy", tmp_path / "policy")
    with pytest.raises(
        ConfigError, match=r"must share the policy's tokenizer.*there '.+' is missing, here \d+"
    ):
        check_teacher(tmp_path / "other", tmp_path / "policy")
    with pytest.raises(ConfigError, match="context of 64 tokens, the policy one of 2048"):
        check_teacher(tmp_path / "short", tmp_path / "policy")


def test_a_decay_is_a_share() -> None:
    with pytest.raises(ConfigError, match=r"teacher\.decay must be at least 0 and below 1"):
        MovingAverage(decay=1.0)
