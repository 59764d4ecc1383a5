"""A warm start from a pretrained model: a tiny random Llama that speaks ChatML."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.one_step import one_step
from tests.tiny import tiny_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from sdar.build.checks import check
from sdar.build.find import find_model as find_target
from sdar.build.skills import skill_context
from sdar.build.warm_start import PretrainedStart, warm_start
from sdar.cli import main
from sdar.errors import ConfigError
from sdar.model.chat import Chat
from sdar.model.load import load_model, load_tokenizer
from sdar.model.settings import ModelConfig, find_model
from sdar.recipe import load_config
from sdar.settings.config import Layer
from sdar.types import Message


@pytest.fixture
def base(tmp_path, monkeypatch):
    """A pretrained model in the data directory."""
    monkeypatch.setenv("SDAR_DATA", str(tmp_path))
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer("qwen2")
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path / "little")
    tokenizer.save_pretrained(tmp_path / "little")
    return tmp_path / "little"


def settings(start="little", **model):
    table = {
        "env": {"max_turns": 4},
        "model": {"lora_rank": 4, **model},
        "warm_start": {"from": start, "steps": 3, "demonstrations": 2, "lr": 1e-2},
    }
    return load_config([Layer("x", table)])


@pytest.mark.parametrize("model", [{}, {"dtype": "bfloat16"}, {"lora_rank": 0}])
def test_the_result_is_a_plain_model_that_learned(base, model):
    config = settings(**model)
    check(config)
    directory = warm_start(config)
    assert not (directory / "adapter").exists()
    before, after = (load_model(ModelConfig(), path, "cpu").state_dict() for path in (base, directory))
    name = "model.layers.0.mlp.up_proj.weight"
    assert after[name].dtype is torch.float32
    assert after.keys() == before.keys()
    assert not torch.equal(after[name], before[name])
    assert load_tokenizer(directory).get_vocab() == load_tokenizer(base).get_vocab()
    stamp = (directory / "config.json").stat().st_mtime_ns
    assert warm_start(config) == directory
    assert (directory / "config.json").stat().st_mtime_ns == stamp


@pytest.mark.parametrize("context", ["window", "transcript"])
@pytest.mark.parametrize("env", ["alfworld", "search_qa", "webshop"])
def test_it_takes_a_step_in_every_environment(base, env, context, tmp_path):
    run, step = one_step(str(base), env, context, tmp_path / "runs")
    assert step["mismatch/max"] < 1e-4, "engine and trainer agree"
    assert step["rollout/tokens"] >= 12
    assert step["teacher/gap_mean"] != 0, "the skills change what it would say"
    exported = run.checkpoints / "step-000001" / "model"
    assert load_tokenizer(exported).get_vocab() == load_tokenizer(base).get_vocab()


def test_the_fingerprint_sees_weights_settings_and_skills(base):
    def of(config):
        skills = skill_context(config)
        return PretrainedStart(config, skills, find_model(config.warm_start.from_)).fingerprint

    first = settings()
    others = [
        settings(lora_rank=0),
        replace(first, warm_start=replace(first.warm_start, steps=4)),
        replace(first, env=replace(first.env, max_turns=5)),
        replace(first, skills=replace(first.skills, detail="full")),
    ]
    prints = [of(config) for config in (first, *others)]
    model = load_model(ModelConfig(), base, "cpu")
    with torch.no_grad():
        model.model.norm.weight[0] += 1
    model.save_pretrained(base)
    prints.append(of(first))
    assert len(set(prints)) == len(prints)


def test_texts_of_a_run_are_learned_before_another(base, tmp_path, capsys):
    """The first stage of SEED: the model then finds the answer likelier than the same one letter off."""
    text, other = "<skill>look first</skill>", "<skill>lock first</skill>"
    question = [{"role": "user", "content": "What can be learned?"}]
    record = {"key": "k", "step": 1, "messages": question, "text": text, "end": "stop"}
    cut = {**record, "key": "c", "text": other, "end": "length"}
    (tmp_path / "texts.jsonl").write_text(json.dumps(record) + "\n" + json.dumps(cut) + "\n")
    words = ["--warm_start.steps", "12", "--warm_start.demonstrations", "2", "--warm_start.lr", "1e-2"]
    words += ["--env.max_turns", "1", "--eval.tasks", "1", "--rollout.max_tokens", "2"]
    words += ["--warm_start.from", str(base), "--texts", str(tmp_path / "texts.jsonl")]
    assert main(["warm-start", *words]) == 0
    out, err = capsys.readouterr()
    made = Path(out.splitlines()[-1])

    def nll(model, text):
        chat = Chat(load_tokenizer(model))
        prompt, answer = chat.render([Message("user", question[0]["content"])]), chat.encode(text)
        logits = load_model(ModelConfig(), model, "cpu")(torch.tensor([prompt + answer])).logits[0]
        log_probs = logits.log_softmax(-1)[len(prompt) - 1 : -1]
        return -log_probs[range(len(answer)), answer].mean().item()

    assert "warm start: 12/12" in err
    assert nll(made, text) < 0.5 * nll(base, text)
    assert nll(made, text) < nll(made, other)
    assert main(["warm-start", *words[:-1], str(tmp_path / "none.jsonl")]) == 2
    assert "--texts: there is no file" in capsys.readouterr().err


def test_it_starts_from_a_name_of_the_hub(base, tmp_path, monkeypatch):
    """From the hub's cache, without a network; other weights there make another model."""
    repo, commits = tmp_path / "hub" / "models--somebody--little", ("1" * 40, "2" * 40)
    for commit in commits:
        shutil.copytree(base, repo / "snapshots" / commit)
    changed = load_model(ModelConfig(), base, "cpu")
    with torch.no_grad():
        changed.model.norm.weight[0] += 1
    changed.save_pretrained(repo / "snapshots" / commits[1])
    (repo / "refs").mkdir()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    made = []
    for commit in commits:
        (repo / "refs" / "main").write_text(commit)
        made.append(warm_start(settings(start="somebody/little")))
    assert made[0] == warm_start(settings()) != made[1], "the same weights, wherever they are"
    with pytest.raises(ConfigError, match=r"\Acannot load a \w+ from somebody/none: [^\n]*\Z"):
        warm_start(settings(start="somebody/none"))


def test_a_name_in_the_data_directory_is_a_model(base):
    assert find_model("little") == str(base)
    settings, model, place = find_target("little", None, base.parent / "runs")
    assert (model, place.name) == (base, "little")
    assert settings.values == {"model": {"path": str(base)}}
    with pytest.raises(ConfigError, match="there is no model at smollm2: sdar data download smollm2"):
        find_model("smollm2")
    with pytest.raises(ConfigError, match="there is no model at litle: no such directory"):
        check(load_config([Layer("x", {"warm_start": {"from": "litle"}})]))
