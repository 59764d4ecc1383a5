"""`benchmarks/gpu.py` without a GPU: every part but the default job, which other tests run."""

import importlib.util
import json
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "gpu.py"


def test_the_script_measures_every_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = importlib.util.spec_from_file_location("gpu_benchmark", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)

    def job(bench: object) -> None:
        bench.found["default_job"] = {"seconds": 1.0, "steps": 1, "loss": 0.5}  # type: ignore[attr-defined]

    monkeypatch.setattr(script, "default_job", job)
    file = tmp_path / "gpu.json"
    script.main(["--device", "cpu", "--shape", "tiny", "--result", str(file), "--tflops", "0.001"])
    found = json.loads(file.read_text())
    shown = capsys.readouterr().out
    for name in ("score", "update"):
        assert found[name]["tokens_per_second"] > 0
        assert found[name]["utilisation"] > 0
        assert f"{name}, memory" in shown
    # Of 131,456 parameters: weights, gradients and two moments of 4 bytes at least.
    assert found["planned_bytes"]["update"] > 16 * 131_000
    assert 0 <= found["mismatch"]["mean"] <= found["mismatch"]["most"] < 0.05
    assert found["attention"]["flash"]
