"""Runs, banks, results and models of strangers execute nothing and read nothing outside their directory."""

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.tiny import tiny_model, tiny_tokenizer

from sdar.cli import main
from sdar.errors import CheckpointError, ConfigError, DataError
from sdar.model.chat import Chat
from sdar.model.load import context_of, load_model, load_tokenizer, save_model
from sdar.model.settings import ModelConfig
from sdar.runs.files import find_damage
from sdar.runs.rundir import RunDir
from sdar.skills.bank import SkillBank
from sdar.skills.published import import_bank
from sdar.types import Message

RUN = Path(__file__).parents[1] / "data" / "run-format-1"


@pytest.fixture
def trap(tmp_path: Path) -> tuple[Path, Path]:
    """A plugin, and the file that is there once its code has run."""
    sprung = tmp_path / "sprung"
    plugin = tmp_path / f"trap_{abs(hash(str(tmp_path)))}.py"
    plugin.write_text(f"open({str(sprung)!r}, 'w').close()\n")
    return plugin, sprung


@pytest.fixture
def run(trap: tuple[Path, Path], tmp_path: Path) -> Path:
    """A run that names the plugin."""
    place = tmp_path / "run"
    shutil.copytree(RUN, place)
    config = place / "config.toml"
    text = config.read_text().replace("plugins = []", f"plugins = ['{trap[0]}']")
    assert str(trap[0]) in text
    config.write_text(text)
    return place


def lines(capsys: pytest.CaptureFixture[str]) -> str:
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err
    assert shown.err.count("\n") <= 1, "one line"
    return shown.out + shown.err


@pytest.mark.parametrize(
    "words",
    [
        ["train", "--dry-run", "--resume", "RUN"],
        ["train", "--dry-run", "RUN/config.toml"],
        ["train", "RUN/config.toml"],
        ["train", "--resume", "RUN"],
        ["eval", "RUN"],
        ["compare", "RUN", "RUN"],
        ["view", "RUN", "--export", "PAGE"],
        ["skills", "stats", "RUN"],
    ],
)
def test_no_command_runs_the_plugins_of_a_run(
    words: list[str],
    run: Path,
    trap: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    places = {"RUN": str(run), "PAGE": str(tmp_path / "page")}
    main([word.replace("RUN", places["RUN"]).replace("PAGE", places["PAGE"]) for word in words])
    said = lines(capsys)
    assert not trap[1].exists()
    if words[0] == "train":
        assert f"add: --plugins {trap[0]}" in said


def test_a_plugin_that_this_command_line_names_is_imported(
    run: Path, trap: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    main(["train", "--dry-run", str(run / "config.toml"), "--plugins", str(trap[0])])
    assert trap[1].exists()


def test_what_only_a_plugin_knows_says_how_to_name_it(
    trap: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text(f"plugins = ['{trap[0]}']\nenv = 'mine'\n")
    assert main(["train", "--dry-run", str(recipe)]) == 2
    said = lines(capsys)
    assert "unknown environment 'mine'" in said
    assert f"{recipe} names plugins, whose code runs only if you add: --plugins {trap[0]}" in said
    assert not trap[1].exists()


def test_a_study_names_its_plugins_on_the_command_line(
    trap: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    study = tmp_path / "s.toml"
    study.write_text(
        f"[settings]\nplugins = ['{trap[0]}']\n[axes.objective.grpo]\nobjective = 'grpo'\n"
        "[parts]\nall = {objective = '*'}\n[[order]]\nparts = ['all']\nseeds = [0]\n"
    )
    assert main(["study", str(study), "--dry-run"]) == 2
    assert f"--plugins {trap[0]}" in lines(capsys)
    assert not trap[1].exists()


# ---- directories


@pytest.mark.parametrize("name", ["../secret.md", "ABSOLUTE", "link.md"])
def test_a_published_bank_reads_nothing_outside_of_it(name: str, tmp_path: Path) -> None:
    secret, bank = tmp_path / "secret.md", tmp_path / "bank"
    secret.write_text("# Secret\n- **Key.** 1234\n")
    bank.mkdir()
    (bank / "link.md").symlink_to(secret)
    named = str(secret) if name == "ABSOLUTE" else name
    files = {"general_skills": named}
    (bank / "skill_mapping.json").write_text(json.dumps({"task_to_skill": {}, "skill_files": files}))
    with pytest.raises(DataError, match="which is outside of"):
        import_bank(bank)
    files["general_skills"] = "here.md"
    shutil.copy(secret, bank / "here.md")
    (bank / "skill_mapping.json").write_text(json.dumps({"task_to_skill": {}, "skill_files": files}))
    assert len(import_bank(bank).skills) == 1


def test_a_bank_reads_nothing_outside_of_it(tmp_path: Path) -> None:
    secret, bank = tmp_path / "secret.md", tmp_path / "bank"
    secret.write_text("---\nname: a\nsummary: b.\n---\nc\n")
    bank.mkdir()
    shutil.copy(secret, bank / "a.md")
    assert SkillBank.load(bank).skills[0].name == "a"
    (bank / "b.md").symlink_to(secret)
    with pytest.raises(DataError, match=r"b\.md is a link to a file outside of the bank"):
        SkillBank.load(bank)


@pytest.mark.parametrize("name", ["eval/step-000009.json", "checkpoints", "metrics-more.jsonl"])
def test_a_run_reads_nothing_outside_of_it(name: str, run: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    shutil.rmtree(run / name, ignore_errors=True)
    (run / name).symlink_to(secret)
    with pytest.raises(CheckpointError, match="is a link out of the run"):
        RunDir.open(run)


def test_checkpoints_of_another_disk_hold_no_link_out_of_them(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "run").write_text(f"{RunDir(run).id}\n")
    (run / "checkpoints").symlink_to(other)
    assert RunDir.open(run).checkpoints.is_dir()
    (other / "step-000001").mkdir(exist_ok=True)
    (other / "step-000001/more").symlink_to(tmp_path)
    with pytest.raises(CheckpointError, match=r"step-000001/more is a link out of the run"):
        RunDir.open(run)


def test_a_run_may_be_reached_by_a_link_and_have_links_in_itself(run: Path, tmp_path: Path) -> None:
    (run / "last.jsonl").symlink_to(run / "metrics.jsonl")
    (tmp_path / "latest").symlink_to(run)
    assert RunDir.open(tmp_path / "latest").meta


def test_a_seal_names_no_file_outside_of_its_directory(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("1234")
    (tmp_path / "in").mkdir()
    assert "outside" in find_damage(tmp_path / "in", {"../secret": ""})
    assert "outside" in find_damage(tmp_path / "in", {str(tmp_path / "secret"): ""})


# ---- models


class Bomb:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self) -> Any:
        return open, (str(self.sprung), "w")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_model(tiny_model(), tiny_tokenizer(), tmp_path / "model")
    return tmp_path / "model"


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_pickled_weights_are_not_read(model: Path, tmp_path: Path) -> None:
    for weights in (Bomb(tmp_path / "sprung"), None):
        if weights is None:
            torch.save(load_file(model / "model.safetensors"), model / "pytorch_model.bin")
        else:
            (model / "pytorch_model.bin").write_bytes(pickle.dumps(weights))
    (model / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match="cannot load a model") as caught:
        load_model(ModelConfig(), model, "cpu")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("known", [True, False])
def test_code_beside_a_model_is_not_run(known: bool, model: Path, tmp_path: Path) -> None:
    """Nor does anybody ask whether it should be."""
    sprung = tmp_path / "sprung"
    (model / "evil.py").write_text(f"open({str(sprung)!r}, 'w').close()\nclass Evil: pass\n")
    classes = ("AutoConfig", "AutoModelForCausalLM")
    change(model / "config.json", auto_map=dict.fromkeys(classes, "evil.Evil"))
    change(model / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Evil", "evil.Evil"]})
    if not known:
        change(model / "config.json", model_type="evil")
    for load in (lambda: load_model(ModelConfig(), model, "cpu"), lambda: context_of(model)):
        if known:
            load()
        else:
            with pytest.raises(ConfigError, match="cannot load a model") as caught:
                load()
            assert "\n" not in str(caught.value)
    assert not sprung.exists()


def test_attention_that_a_models_files_name_is_ignored(model: Path) -> None:
    for name in ("attn_implementation", "_attn_implementation"):
        change(model / "config.json", **{name: "stranger/kernel"})
    assert "stranger" not in str(load_model(ModelConfig(), model, "cpu").config._attn_implementation)


def test_adapters_do_not_lead_to_another_model(model: Path) -> None:
    (model / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "/etc"}))
    with pytest.raises(ConfigError, match="holds adapters for another model"):
        load_model(ModelConfig(), model, "cpu")


def test_a_chat_template_is_caged(model: Path) -> None:
    tokenizer = load_tokenizer(model)
    tokenizer.chat_template = (
        "{{ ''.__class__.__mro__[1].__subclasses__() }}{% for m in messages %}{{ m.content }}<|im_end|>"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>{% endif %}"
    )
    with pytest.raises(ConfigError, match="unsafe"):
        Chat(tokenizer).render([Message("user", "x")])
