"""The textbook references of a panel: what the environment's experts reach, random play among them."""

import hashlib
import json
from pathlib import Path

from sdar.envs.base import EnvSpec, Panel
from sdar.errors import DataError
from sdar.evaluation.evaluate import EvalConfig, evaluate
from sdar.evaluation.results import FORMAT, EvalResult
from sdar.rollout.experts import ExpertCollector
from sdar.runs.files import read_json, write_atomic
from sdar.runs.paths import data_dir


def references(spec: EnvSpec, panel: Panel) -> dict[str, EvalResult]:
    """Expert -> its result, one episode a task.

    Played once for a panel and an environment as it is, then kept in the data directory, where a damaged
    file is replaced.
    """
    key = hashlib.sha256(f"{FORMAT} {panel.fingerprint} {spec.fingerprint}".encode()).hexdigest()
    file = data_dir() / "references" / f"{panel.name}-{key[:16]}.json"
    kept = _read(file)
    if kept is None:
        kept = {
            name: evaluate(panel, ExpertCollector(spec, name), EvalConfig(record=0))
            for name in spec.experts()
        }
        write_atomic(file, json.dumps({name: result.to_json() for name, result in kept.items()}) + "\n")
    return kept


def _read(file: Path) -> dict[str, EvalResult] | None:
    """What was kept; None where there is nothing, or a damaged file, which is then made anew."""
    try:
        return {name: EvalResult.from_json(data) for name, data in read_json(file).items()}
    except (DataError, ValueError, KeyError, TypeError, AttributeError):
        return None
