"""`sdar prompts`."""

from pathlib import Path

import pytest

from sdar.cli import main
from sdar.envs.published_prompts import FOLDER, MODULES


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "code" / FOLDER).mkdir(parents=True)
    for module, first, later in MODULES.values():
        (tmp_path / "code" / FOLDER / module).write_text(
            f"{first} = 'one'\n{later} = 'step {{step_count}}'\n"
        )
    return Path("code")


def test_a_prompt_file_is_made_once_and_used(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prompts", "import", str(checkout)]) == 0
    *_, use, made = capsys.readouterr().out.splitlines()
    assert made == "published-prompts.toml"
    flags = use.removeprefix("use it with ").split()
    assert main(["train", "webshop/embedded", *flags, "--dry-run"]) == 0
    assert 'prompt = "published-prompts.toml#' in capsys.readouterr().out
    assert main(["train", "webshop/embedded", *flags[:2], "--dry-run"]) == 2
    assert "set rollout.context to window" in capsys.readouterr().err
    assert main(["prompts", "import", str(checkout)]) == 2
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "sdar prompts cannot '': choose from import"),
        (["import"], "usage: sdar prompts import DIRECTORY [FILE]"),
        (["import", "nowhere"], "nowhere is no directory"),
        (["import", "code", "mine"], "ends in .toml"),
    ],
)
def test_what_cannot_be_is_said(
    words: list[str], complaint: str, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prompts", *words]) == 2
    assert complaint in capsys.readouterr().err
    assert not list(Path().glob("*.toml"))
