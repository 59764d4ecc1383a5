import ast
import inspect
import json
import os
import signal
import threading
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from tests.runs import BANK, LongSpec, tiny_trainer

import sdar.trainer
from sdar.errors import ConfigError, ContextOverflow
from sdar.objectives.base import LossInputs, LossOutput, Objective, Stream
from sdar.objectives.sdar import SDAR
from sdar.rollout.settings import RolloutConfig
from sdar.runs.checkpoints import read_returns
from sdar.runs.rundir import read_episodes, read_metrics, read_trajectories
from sdar.skills.context import SkillContext
from sdar.skills.retrieval import UCB, Returns
from sdar.trainer.distributed import World, join
from sdar.trainer.interrupt import graceful
from sdar.trainer.loop import derive, step_tasks
from sdar.trainer.settings import OptimConfig, TrainConfig
from sdar.trainer.weight_sync import buckets


@dataclass(frozen=True, kw_only=True)
class Likelihood(Objective):
    """Needs what it is told to need, and checks that it gets that and no more."""

    wants: frozenset[Stream] = frozenset()

    @property
    def needs(self) -> frozenset[Stream]:
        return self.wants

    def loss(self, x: LossInputs) -> LossOutput:
        present = {stream for stream in Stream if stream.tensor in x.tensors()}
        assert present == self.wants
        return LossOutput(self.reduce(-x.logp_BT, x), {})


@pytest.mark.parametrize(
    "wants", [frozenset(), frozenset(Stream), frozenset({Stream.OLD}), frozenset({Stream.REF})]
)
def test_the_objective_gets_the_streams_that_it_needs(
    wants: frozenset[Stream], world: World, tmp_path: Path
) -> None:
    trainer = tiny_trainer(tmp_path / "run", world, steps=1, objective=Likelihood(wants=wants))
    trainer.train()
    metrics = read_metrics(trainer.run)[-1]
    assert ("teacher/gap_start" in metrics) == (Stream.TEACHER in wants)
    assert ("skills/walk" in metrics) == (Stream.TEACHER in wants)
    assert metrics["mismatch/max"] < 1e-4


def test_tasks_whose_first_prompt_does_not_fit_are_left_out_counted_and_said_once(
    world: World, tmp_path: Path
) -> None:
    rollout = RolloutConfig(tasks_per_step=3, group_size=2, max_tokens=6)
    trainer = tiny_trainer(tmp_path / "run", world, steps=2, spec=LongSpec(max_turns=4), rollout=rollout)
    assert trainer.train() == 2
    lines = read_metrics(trainer.run)[1:]
    assert sum(line["rollout/overlong"] for line in lines) == 2, "an epoch has two such tasks"
    assert all(line["rollout/episodes"] == 6 - 2 * line["rollout/overlong"] for line in lines)
    assert {episode["task"] for episode in read_episodes(trainer.run)} == {
        "train/-1", "train/+2", "train/-3", "train/+3",
    }  # fmt: skip
    [said] = [text for text in trainer.progress.messages if "overlong" in text]
    assert "leaves out a task, and rollout/overlong counts all such: the first prompt of task 'train/" in said


def test_where_no_task_of_a_step_fits_others_are_taken_and_where_none_fits_it_is_an_error(
    world: World, tmp_path: Path
) -> None:
    rollout = RolloutConfig(tasks_per_step=1, group_size=2, max_tokens=6)

    def trained(name: str, long: tuple[int, ...]) -> list[str]:
        spec = LongSpec(max_turns=4, long=long)
        trainer = tiny_trainer(tmp_path / name, world, steps=3, spec=spec, rollout=rollout)
        trainer.train()
        return [episode["task"] for episode in read_episodes(trainer.run)]

    only_one = trained("one", (1, -1, 2, -2, 3))
    assert only_one == ["train/-3"] * 6
    with pytest.raises(ContextOverflow, match=r"no training task fits the context, 6 were tried: the first"):
        trained("none", (1, -1, 2, -2, 3, -3))


def test_recomputed_old_log_probs_are_close_to_those_of_the_rollout(world: World, tmp_path: Path) -> None:
    objective = Likelihood(wants=frozenset({Stream.OLD}))
    trainer = tiny_trainer(
        tmp_path / "run", world, steps=1, objective=objective, old_logps="recompute", record=3
    )
    trainer.train()
    episodes = read_trajectories(trainer.run, 1)
    assert len(episodes) == 3, "as many as were asked for"
    for turn in (turn for episode in episodes for turn in episode["turns"]):
        assert turn["old"] == pytest.approx(turn["logp"], abs=1e-4)


def test_all_episodes_of_a_step_are_noted_and_some_recorded(world: World, tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path / "run", world, steps=2, record=3)
    trainer.train()
    noted = list(read_episodes(trainer.run))
    assert [episode["step"] for episode in noted] == [1] * 8 + [2] * 8
    assert all("walk" in episode["skills"] and episode["gap"] for episode in noted)
    lines = [episode["kept"] for episode in noted[:8]]
    assert lines == [0, None, 1, None, 2, None, None, None], "of as many tasks as there are"
    kept = [episode for episode in noted[:8] if episode["kept"] is not None]
    for whole, short in zip(read_trajectories(trainer.run, 1), kept, strict=True):
        assert (whole["task"], whole["index"]) == (short["task"], short["index"])
        gaps = [gap for turn in whole["turns"] for gap in turn["gap"]]
        assert short["gap"] == pytest.approx(sum(gaps) / len(gaps), abs=1e-4)


def test_returns_of_skills_that_the_player_sees_are_observed(world: World, tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path / "run", world, steps=2, objective=Likelihood())
    trainer.collector.skills = SkillContext(BANK, UCB())
    trainer.train()
    observed = trainer.collector.skills.returns
    noted = list(read_episodes(trainer.run))
    assert all(episode["skills"][0] == "walk" and len(episode["skills"]) == 2 for episode in noted)
    for kind in ("left", "right"):
        of_kind = [episode for episode in noted if episode["kind"] == kind]
        total = sum(episode["reward"] for episode in of_kind)
        assert observed.of_kind(kind)["walk"] == (len(of_kind), total)
    saved = Returns()
    saved.load(read_returns(trainer.run.checkpoints / "step-000002"))
    assert saved == observed
    assert read_returns(tmp_path) == {}


def test_a_run_raises_what_its_objective_asks_for(world: World, tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path / "run", world, steps=6, objective=Likelihood())
    trainer.train()
    entropy = [step["rollout/entropy"] for step in read_metrics(trainer.run) if "rollout/entropy" in step]
    assert entropy[-1] < entropy[0] - 0.2


def test_every_step_is_logged_and_evaluations_are_due(world: World, tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path / "run", world, steps=3)
    assert trainer.train() == 3
    steps = read_metrics(trainer.run)
    assert [step["step"] for step in steps] == [0, 1, 2, 3]
    assert ["eval/entropy" in step for step in steps] == [True, False, True, True]
    for name in ("rollout", "score", "train", "sync", "step"):
        assert steps[1][f"time/{name}_s"] > 0
    assert steps[1]["time/step_s"] > steps[1]["time/rollout_s"] + steps[1]["time/train_s"]
    assert json.loads((trainer.run.checkpoints / "step-000003" / "state.json").read_text())["step"] == 3


def test_the_run_starts_with_the_policy_in_the_engine(world: World, tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path / "run", world, steps=1)
    for parameter in trainer.engine.model.parameters():  # type: ignore[attr-defined]
        parameter.data.zero_()
    trainer.train()
    assert read_metrics(trainer.run)[1]["mismatch/max"] < 1e-4


def test_every_step_samples_anew(world: World, tmp_path: Path) -> None:
    trainer = tiny_trainer(
        tmp_path / "run",
        world,
        steps=2,
        optim=OptimConfig(lr=0.0),
        rollout=RolloutConfig(tasks_per_step=6, group_size=1, max_tokens=6),
        record=6,
    )
    trainer.train()
    played = [
        {episode["task"]: episode["turns"][0]["tokens"] for episode in read_trajectories(trainer.run, step)}
        for step in (1, 2)
    ]
    assert played[0].keys() == played[1].keys()
    assert all(played[0][task] != played[1][task] for task in played[0])


def test_tasks_are_walked_epoch_by_epoch() -> None:
    epochs = [[step_tasks(10, 3, 0, step) for step in range(1 + 3 * e, 4 + 3 * e)] for e in range(40)]
    for epoch in epochs:
        assert len({task for tasks in epoch for task in tasks}) == 9
    seen = Counter(task for epoch in epochs for tasks in epoch for task in tasks)
    assert set(seen) == set(range(10))
    assert epochs[0] != epochs[1]
    assert step_tasks(10, 3, 0, 1) == epochs[0][0]
    assert step_tasks(10, 3, 1, 1) != epochs[0][0]


def test_seeds_are_the_same_on_every_machine() -> None:
    assert derive(0, 1) == 9221934688551543782
    assert len({derive(seed, step) for seed in range(30) for step in range(30)}) == 900


def test_parts_that_do_not_fit_are_refused(world: World, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="tasks_per_step is 7, but there are 6"):
        tiny_trainer(tmp_path / "a", world, rollout=RolloutConfig(tasks_per_step=7))
    with pytest.raises(ConfigError, match="teacher"):
        replace(tiny_trainer(tmp_path / "b", world), teacher=None)
    with pytest.raises(ConfigError, match=r"train\.steps"):
        TrainConfig(steps=0)


def test_a_signal_asks_and_a_second_one_stops() -> None:
    messages: list[str] = []
    before = signal.getsignal(signal.SIGTERM)
    with graceful(messages.append) as asked:
        assert not asked()
        os.kill(os.getpid(), signal.SIGTERM)
        assert asked()
        assert len(messages) == 1
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before


def test_in_a_thread_signals_are_left_alone() -> None:
    asked: list[bool] = []

    def run() -> None:
        with graceful(print) as flag:
            asked.append(flag())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert asked == [False]


def test_a_request_to_stop_ends_the_run_with_a_checkpoint(world: World, tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path / "run", world, steps=6)
    learn = trainer.learner.learn

    def interrupted(*args: object) -> object:
        os.kill(os.getpid(), signal.SIGINT)
        return learn(*args)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(trainer.learner), "learn", lambda self, *args: interrupted(*args))
        assert trainer.train() == 1
    assert (trainer.run.checkpoints / "step-000001").is_dir()
    assert trainer.progress.messages  # type: ignore[attr-defined]


def test_the_trainer_knows_no_objective() -> None:
    for path in Path(inspect.getfile(sdar.trainer)).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sdar.objectives"):
                assert node.module in ("sdar.objectives.base", "sdar.objectives.advantages"), path


def test_devices_that_do_not_exist() -> None:
    with pytest.raises(ConfigError, match="choose from cpu, cuda"), join("tpu"):
        pass


@pytest.mark.parametrize("kl", [0.0, 0.1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("lora", [0, 2])
def test_adapters_reference_and_halves_go_together(
    lora: int, dtype: torch.dtype, kl: float, world: World, tmp_path: Path
) -> None:
    """The order of a real run: teacher and reference are scored before anything was trained on."""
    trainer = tiny_trainer(
        tmp_path / "run", world, steps=2, lora=lora, dtype=dtype, objective=SDAR(coef=0.1, kl_coef=kl)
    )

    def weights() -> dict[str, torch.Tensor]:
        sent = buckets(trainer.learner.policy, torch.float32)
        return {name: tensor.clone() for bucket in sent for name, tensor in bucket}

    before = weights()
    trainer.train()
    lines = read_metrics(trainer.run)[1:]
    assert [line["optim/skipped"] for line in lines] == [0, 0]
    assert [("policy/kl_ref" in line) for line in lines] == [bool(kl)] * 2
    after = weights()
    assert all(p.dtype == torch.float32 for p in trainer.learner.policy.parameters() if p.requires_grad)
    moved = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert "model.layers.0.self_attn.q_proj.weight" in moved
    assert ("model.embed_tokens.weight" in moved) is (lora == 0)
