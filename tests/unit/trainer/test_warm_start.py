"""The embedded model: demonstrations, training, cache."""

from dataclasses import replace

import pytest
import torch

from sdar.envs.alfworld.spec import AlfworldSpec
from sdar.envs.toy import ToySpec
from sdar.errors import ConfigError
from sdar.model.chat import Chat
from sdar.model.embedded import build_model, build_tokenizer
from sdar.model.load import load_model, load_tokenizer
from sdar.model.settings import EmbeddedConfig, ModelConfig
from sdar.rollout.collector import Collector
from sdar.rollout.engine import Sampling
from sdar.rollout.engines.hf import HFEngine
from sdar.rollout.settings import RolloutConfig
from sdar.skills.context import Detail, SkillContext, SkillsConfig
from sdar.skills.retrieval import ByKind, Nothing, RandomKind
from sdar.trainer.settings import WarmStartConfig
from sdar.trainer.warm_start import WarmStart, _pack

SMALL = EmbeddedConfig(hidden_size=32, intermediate_size=64, num_layers=2, num_heads=1, num_kv_heads=1)
CPU = torch.device("cpu")


@pytest.fixture
def make(tmp_path, monkeypatch):
    monkeypatch.setenv("SDAR_DATA", str(tmp_path))

    def build(spec=None, **settings) -> WarmStart:
        spec = spec or AlfworldSpec(max_turns=8)
        retrieval = Nothing() if isinstance(spec, ToySpec) else ByKind()
        skills = SkillContext.from_config(SkillsConfig(detail=Detail.SUMMARY, retrieval=retrieval))
        config = WarmStartConfig(model=SMALL, **({"steps": 2, "demonstrations": 4} | settings))
        return WarmStart(spec=spec, skills=skills, rollout=RolloutConfig(max_tokens=12), config=config)

    return build


def test_the_loss_falls_and_the_model_is_kept(make):
    warm_start, losses = make(steps=12, lr=1e-2), []
    directory = warm_start.ensure(CPU, lambda done, total, loss: losses.append((done, total, loss)))
    assert [done for done, _, _ in losses] == list(range(1, 13))
    assert losses[-1][2] < 0.9 * losses[0][2]
    losses.clear()
    assert warm_start.ensure(CPU, lambda *seen: losses.append(seen)) == directory
    assert losses == []


def test_what_is_loaded_is_what_was_trained(make):
    warm_start = make()
    policy, tokenizer = warm_start.build(CPU)
    directory = warm_start.ensure(CPU)
    loaded = load_model(ModelConfig(), directory, CPU).state_dict()
    for name, value in policy.model.state_dict().items():
        torch.testing.assert_close(loaded[name], value, rtol=0, atol=0)
    assert load_tokenizer(directory).get_vocab() == tokenizer.get_vocab()


def test_the_fingerprint_sees_what_the_demonstrations_show(make):
    first = make()
    others = [
        make(plain_noise=0.1),
        make(spec=AlfworldSpec(max_turns=9)),
        replace(first, skills=replace(first.skills, rule=RandomKind())),
        replace(first, rollout=RolloutConfig(context="window")),
    ]
    prints = [warm_start.fingerprint for warm_start in [first, *others]]
    assert len(set(prints)) == len(prints)
    assert make().fingerprint == first.fingerprint


def test_what_no_demonstration_shows_makes_no_other_model(make, monkeypatch):
    """An edit of the contract of environments, for one, or other held-out games."""
    kept = make().fingerprint
    assert make(spec=AlfworldSpec(max_turns=8, num_held_out=1000)).fingerprint == kept
    monkeypatch.setattr(AlfworldSpec, "fingerprint", "another state of the code")
    looked = []
    monkeypatch.setattr(WarmStart, "_shown", lambda self, old=WarmStart._shown: looked.append(1) or old(self))
    assert [make().fingerprint for _ in range(2)] == [kept, kept]
    assert len(looked) == 1, "what demonstrations show is looked at once for a state of the code"


def test_frequent_names_are_one_token(make):
    tokenizer = build_tokenizer(make()._texts(), SMALL)
    assert len(tokenizer.encode(" fridge 1")) == 1
    text = "Ünknown wörds 漢字 and\x00 bytes"
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_weights_of_the_supervised_loss(make):
    warm_start = make()
    tokenizer = build_tokenizer(warm_start._texts(), SMALL)
    demonstrations = warm_start.demonstrations.samples(Chat(tokenizer), tokenizer)
    samples = [next(demonstrations) for _ in range(3)]
    packed, weights = _pack(samples, 0.25, CPU)
    chosen = torch.tensor([mark for s in samples for mark in (*[False] * len(s.prompt), *s.policy)[1:]])
    assert weights[chosen].sum() == pytest.approx(1.0, rel=1e-5)
    assert weights[~chosen].sum() == pytest.approx(0.25, rel=1e-5)
    expected = [token for s in samples for token in (*s.prompt, *s.body)[1:]]
    assert packed.targets.tolist() == expected


def test_the_same_seed_gives_the_same_weights():
    tokenizer = build_tokenizer(["go to desk 1"], SMALL)
    one, two, other = (build_model(tokenizer, SMALL, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_it_learns_the_toy_game(make):
    spec = ToySpec()
    experts = {"skilled_expert": "walker", "plain_expert": "walker"}
    warm_start = make(spec=spec, steps=40, demonstrations=8, lr=1e-2, **experts)
    policy, tokenizer = warm_start.build(CPU)
    chat = Chat(tokenizer)
    policy.model.set_attn_implementation("sdpa")
    engine = HFEngine(policy.model, stop_ids=chat.stop_ids)
    tasks = spec.panel(spec.panels()[0]).tasks
    groups = Collector(spec, engine, chat, warm_start.rollout).collect(
        tasks, 1, 0, Sampling(temperature=0.0, max_tokens=6)
    )
    assert sum(group.trajectories[0].success for group in groups) / len(groups) > 0.6


def test_impossible_settings_are_refused():
    with pytest.raises(ConfigError, match="demonstrations"):
        WarmStartConfig(demonstrations=1)
