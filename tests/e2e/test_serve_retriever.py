"""The search server as a user starts it: its own process, real requests on loopback, Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

import sdar
from sdar.cli import main
from sdar.envs.search_qa import server
from sdar.envs.search_qa.http import HttpConfig

pytest.importorskip("starlette", reason="pip install 'sdar[retrieval]'")
pytest.importorskip("uvicorn", reason="pip install 'sdar[retrieval]'")

TOWNS = ("Velm", "Tarn", "Orso")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    lines = [
        json.dumps({"id": str(i), "contents": f'"{town}"\n{town} is a town.'}) for i, town in enumerate(TOWNS)
    ]
    (tmp_path / "corpus.jsonl").write_text("\n".join(lines))
    return tmp_path


def test_the_command_serves_both_dialects_until_it_is_stopped(corpus: Path) -> None:
    env = os.environ | {"PYTHONPATH": str(Path(sdar.__file__).parents[1]), "SDAR_DATA": str(corpus / "cache")}
    command = [sys.executable, "-m", "sdar", "serve-retriever", "--port", "0", "--env.data", str(corpus)]
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs ignore Ctrl-C
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True, preexec_fn=heed) as running:
        try:
            assert running.stdout is not None
            url = running.stdout.readline().strip()
            for dialect in ("query", "queries"):
                client = HttpConfig(urls=(url,), dialect=dialect).open(None)
                found = client.search([f"{town} town" for town in TOWNS], 1)
                assert [passages[0].title for passages in found] == [f'"{town}"' for town in TOWNS]
        finally:
            running.send_signal(signal.SIGINT)
    assert running.returncode == 130


def test_what_is_not_installed_is_said_before_an_index_is_built(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SDAR_DATA", str(corpus / "cache"))
    monkeypatch.setattr(server, "find_spec", lambda name: None)
    assert main(["serve-retriever", "--env.data", str(corpus)]) == 2
    assert "needs starlette and uvicorn: pip install 'sdar[retrieval]'" in capsys.readouterr().err
    assert not (corpus / "cache").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--env toy", "searches for the environment search_qa only"),
        ("", "there is no corpus"),
        ("--env.retriever bm26", "unknown retriever 'bm26': did you mean 'bm25'?"),
        ("--env.data {corpus} --host 192.0.2.1", "cannot listen on 192.0.2.1, port 8000"),
        ("--port 65536", "--port must be between 0 and 65535, not 65536"),
        ("--max-batch 0", "max_batch must be at least 1, not 0"),
        ("--prot 80", "--prot: unknown setting: did you mean --port?"),
    ],
)
def test_what_cannot_be_served_is_said_at_once(
    flags: str,
    message: str,
    corpus: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SDAR_DATA", str(corpus / "cache"))
    assert main(["serve-retriever", *flags.format(corpus=corpus).split()]) == 2
    assert message in capsys.readouterr().err
