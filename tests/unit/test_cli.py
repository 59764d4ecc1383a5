"""The command line: help without torch, settings, one-line errors. Whole runs are in tests/e2e."""

import os
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import sdar
from sdar import cli
from sdar.cli import main
from sdar.commands import COMMANDS
from sdar.errors import ContextOverflow


def run_python(*args: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": str(Path(sdar.__file__).parents[1])}
    return subprocess.run([sys.executable, *args], capture_output=True, text=True, check=False, env=env)


def test_help_does_not_import_torch() -> None:
    code = (
        "import sys; from sdar.cli import main; status = main(['--help']); "
        "assert not {'torch', 'transformers', 'rich', 'matplotlib'} & set(sys.modules); sys.exit(status)"
    )
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr
    for name in COMMANDS:
        assert f"sdar {name}" in done.stdout


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("train --help", 0),
        ("train --dry-run", 0),
        ("eval --help", 0),
        ("compare --help", 0),
        ("study --help", 0),
        *((f"list {group}", 0) for group in ("", "objectives", "envs", "panels", "engines", "gates")),
        ("train --optim.lrr 1", 2),
        ("train nowhere.toml", 2),
        ("train --model.path nowhere", 2),
        ("train --rollout.group_size 1", 2),
        ("eval planner --optim.lrr 1", 2),
        ("eval planner --engine openia", 2),
        ("train --rollout.engine vllm", 2),
        ("train --rollout.engine vlm", 2),
        ("eval nothing", 2),
        ("study nowhere.toml", 2),
        ("compare nothing nowhere", 2),
    ],
)
def test_help_lists_and_refusals_come_at_once(words: str, status: int, tmp_path: Path) -> None:
    """They need no torch and do not wait for it; so with numpy, which only lists of results need."""
    code = (
        "import sys; from sdar.cli import main\n"
        f"try: status = main({words.split()!r})\n"
        "except SystemExit as left: status = left.code or 0\n"
        "loaded = {'torch', 'transformers', 'peft', 'matplotlib', 'bm25s', 'httpx'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
        "sys.exit(status)"
    )
    done = run_python("-c", code)
    assert done.returncode == status, done.stderr


def test_importing_the_package_is_light() -> None:
    done = run_python("-c", "import sys, sdar; sdar.Task, sdar.RunDir; assert 'torch' not in sys.modules")
    assert done.returncode == 0, done.stderr


def test_public_names() -> None:
    assert sorted(sdar._HOME) == sorted(sdar.__all__) == sorted(dir(sdar))
    for name in sdar.__all__:
        assert getattr(sdar, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        sdar.nothing  # noqa: B018
    assert sdar.__version__.count(".") == 2


def test_python_dash_m() -> None:
    done = run_python("-m", "sdar", "trian")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: unknown command 'trian': did you mean 'train'?\n"


def test_dry_run_prints_settings_that_give_the_same_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.toml").write_text("[optim]\nlr = 0.5\n[objective]\nname = 'grpo'\nkl_coef = 0.0\n")
    words = [
        "train",
        str(tmp_path / "a.toml"),
        "--optim.lr",
        "2e-6",
        "--env",
        "toy",
        "--rollout.tasks_per_step",
        "2",
    ]
    assert main([*words, "--model.path", "some/model", "--dry-run"]) == 0
    first = capsys.readouterr().out
    settings = tomllib.loads(first)
    assert settings["optim"]["lr"] == 2e-6
    assert settings["objective"]["name"] == "grpo"
    assert settings["objective"]["kl_coef"] == 0.0
    assert settings["env"] == {"name": "toy", "max_turns": 8}
    (tmp_path / "b.toml").write_text(first)
    assert main(["train", str(tmp_path / "b.toml"), "--dry-run"]) == 0
    assert capsys.readouterr().out == first


def test_the_default_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--dry-run"]) == 0
    printed = capsys.readouterr()
    settings = tomllib.loads(printed.out)
    assert (settings["env"]["name"], settings["objective"]["name"]) == ("alfworld", "sdar")
    assert (settings["model"]["path"], settings["rollout"]["context"]) == ("embedded", "transcript")
    assert (settings["teacher"]["name"], settings["train"]["steps"]) == ("reference", 30)
    assert printed.err == "this is: sdar train objectives/recommended\n"
    assert main(["train", "objectives/recommended", "--dry-run"]) == 0
    assert capsys.readouterr().out == printed.out


def test_any_setting_makes_it_another_run_than_the_default_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--train.seed", "1", "--dry-run"]) == 0
    printed = capsys.readouterr()
    settings = tomllib.loads(printed.out)
    assert (settings["objective"]["coef"], settings["teacher"]["name"]) == (0.01, "start-of-step")
    assert printed.err == ""


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("train --objective sadr", "unknown objective 'sadr': did you mean 'sdar'?"),
        (
            "train --objective.bta 1",
            "--objective.bta: unknown setting of objective 'sdar': did you mean --obj",
        ),
        (
            "train --objective grpo --objective.beta 1",
            "--objective.beta: unknown setting of objective 'grpo'",
        ),
        ("train --seed 1", "--seed: unknown setting: did you mean --train.seed?"),
        ("train --dryrun", "--dryrun: unknown setting: did you mean --dry-run?"),
        ("train --train.steps many", "--train.steps must be a whole number, got 'many'"),
        ("train --train.steps 0", "train.steps must be at least 1, not 0"),
        ("train nowhere.toml", "cannot read nowhere.toml: No such file or directory"),
        ("train --env.data /nowhere", "/nowhere"),
        ("train --out /proc/runs", "cannot write to /proc/runs"),
        ("train --env toy --skills.retrieval none --rollout.tasks-per-step 7", "split 'train' has 6 tasks"),
        ("train --rollout.group-size 1", "rollout.group_size is 1: use at least 2"),
        ("train --skills.bank nowhere", "unknown skill bank 'nowhere'"),
        ("train --skills.retrieval by-knd", "unknown retrieval rule 'by-knd': did you mean 'by-kind'?"),
        ("train --eval.panel valid", "unknown panel 'valid' of alfworld"),
        ("train --eval.samples 0", "eval.samples must be at least 1, not 0"),
        ("train --trackers tensorbord", "unknown tracker 'tensorbord': did you mean 'tensorboard'?"),
        ("train --plugins nowhere.py", "plugin nowhere.py: no such file"),
        ("train --plugins no_such_module", "plugin no_such_module: No module named 'no_such_module'"),
        ("train --resume nowhere", "nowhere is not a run directory"),
        ("train a.toml --resume nowhere", "give no recipe beside it"),
        ("eval", "sdar eval takes one model"),
        ("eval nowhere", "nowhere is not a run directory"),
        ("list objectivs", "nothing is listed under 'objectivs': did you mean 'objectives'?"),
        ("check env alfwrld", "unknown environment 'alfwrld': did you mean 'alfworld'?"),
        ("check sdar", "usage: sdar check env NAME"),
        ("doctor --seed 1", "--seed: unknown setting: choose from --format"),
        ("data download", "usage: sdar data download NAME"),
        ("data donwload alfworld", "unknown action 'donwload': did you mean 'download'?"),
        ("data import webshp .", "unknown data set 'webshp': did you mean 'webshop'?"),
        ("data import webshop", "usage: sdar data download NAME"),
        ("data import webshop /nowhere", "no items_shuffle*.json with its items_ins_v2*.json in /nowhere"),
        ("data import search_qa /nowhere", "no test questions in /nowhere"),
        ("data import webshop . --everything", "--everything means nothing to sdar data import webshop"),
        ("data download webshop --rules 2.1.1", "--rules means nothing to sdar data download webshop"),
        ("data download alfworld --rules 2", "--rules must be one of 2.1.1, 2.1.2"),
        ("data import alfworld /nowhere", "/nowhere"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    args: str,
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SDAR_DATA", str(tmp_path / "data"))
    assert main(args.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err
    assert not list(tmp_path.glob("runs/*"))


def test_group_size_1_is_fine_without_returns(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OPSD learns from the teacher alone; the run gets as far as the missing model."""
    monkeypatch.chdir(tmp_path)
    flags = ["--objective", "opsd", "--rollout.group-size", "1", "--model.path", "./nowhere"]
    assert main(["train", *flags]) == 2
    assert "nowhere: no such directory" in capsys.readouterr().err


def test_other_ranks_speak_of_their_own_errors_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "IS_MAIN", False)
    assert main(["trian"]) == 2
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(cli, "dispatch", lambda args: (_ for _ in ()).throw(ContextOverflow("too long")))
    assert main([]) == 2
    assert capsys.readouterr() == ("", "error: too long\n")


PLUGIN = '''
from dataclasses import dataclass

from sdar.objectives.base import objectives
from sdar.objectives.grpo import GRPO


@objectives.register("mine-{tag}")
@dataclass(frozen=True, kw_only=True)
class Mine(GRPO):
    """GRPO under another name."""

    power: float = 0.5
    """An exponent."""
'''


@pytest.fixture
def plugin(tmp_path: Path) -> tuple[str, str]:
    tag = tmp_path.name.replace("_", "-")
    file = tmp_path / f"plugin_{tmp_path.name}.py"
    file.write_text(PLUGIN.replace("{tag}", tag))
    return str(file), f"mine-{tag}"


def test_a_plugin_file_adds_an_objective(
    plugin: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, name = plugin
    recipe = tmp_path / "mine.toml"
    recipe.write_text(f"plugins = ['{file}']\n[objective]\nname = '{name}'\n")
    for _ in range(2):
        named = ["--objective.power", "0.75", "--plugins", file]
        assert main(["train", str(recipe), *named, "--dry-run"]) == 0
        settings = tomllib.loads(capsys.readouterr().out)
        assert (settings["objective"]["power"], settings["plugins"]) == (0.75, [file])
    assert main(["check", "objective", name, "--plugins", file]) == 0
    assert "WARN  oracle" in capsys.readouterr().out


def test_help_shows_the_chosen_objective_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--objective", "rlsd", "--help"]) == 0
    text = capsys.readouterr().out
    assert "--objective.lam" in text
    assert "--objective.beta" not in text
    assert "--dry-run" in text
    assert "--env.data" in text


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "-h"]) == 0
    assert f"usage: sdar {name}" in capsys.readouterr().out


def test_list_and_check_and_doctor(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["list", "objectives", "panels"]) == 0
    text = capsys.readouterr().out
    assert "grpo-opsd" in text
    assert "generated-128" in text
    assert "by-kind" not in text
    assert main(["check", "env", "toy"]) == 0
    assert "env toy keeps its contract" in capsys.readouterr().out
    assert main(["check", "objective", "sdar"]) == 0
    assert "PASS  oracle" in capsys.readouterr().out


def test_what_is_listed_says_where_it_is_from(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    groups = ["objectives", "gates", "divergences", "teachers", "retrievers", "envs", "statistics"]
    assert main(["list", *groups]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.strip() not in groups]
    listed = {name: text for name, *text in (line.split(maxsplit=1) for line in lines)}
    assert len(lines) == len(listed), "each thing is one line"
    sources = {
        "skill-sd": "arXiv 2604.10674",
        "gap": "arXiv 2605.15155",
        "top-q": "this package",
        "forward-kl": "arXiv 1503.02531",
        "ema": "arXiv 1703.01780",
        "ucb": "arXiv 2605.15155",
        "http": "arXiv 2503.09516",
        "alfworld": "arXiv 2010.03768",
        "gigpo": "arXiv 2505.10978",
    }
    for name, source in sources.items():
        assert source in listed[name][0], name


def test_doctor(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SDAR_DATA", str(tmp_path / "data"))
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert f"{tmp_path}/data, writable" in text
    assert "version of torch" in text
    (tmp_path / "file").touch()
    monkeypatch.setenv("SDAR_DATA", str(tmp_path / "file" / "data"))
    assert main(["doctor"]) == 1
    assert "cannot write to" in capsys.readouterr().out


def test_a_reader_that_has_enough_is_no_error(tmp_path: Path) -> None:
    """Like `sdar train --dry-run | head -1`."""
    dry = shlex.join([sys.executable, "-m", "sdar", "train", "--dry-run", "--out", str(tmp_path)])
    command = f"{dry} | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.splitlines()[0] == 'name = ""'
    assert done.stdout.splitlines()[1] in ("0", "141")


def test_quiet_may_stand_before_a_recipe(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["train", "--quiet", "webshop/embedded", "--limit", "8", "--dry-run", "--out", str(tmp_path)]
    assert main(words) == 0
    assert "tasks = 8\n" in capsys.readouterr().out
