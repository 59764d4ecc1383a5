"""The textbook references of a panel: what the environment's experts reach, random play among them."""

import hashlib
import json

from sdar.envs.base import EnvSpec, Panel
from sdar.evaluation.evaluate import EvalConfig, evaluate
from sdar.evaluation.results import FORMAT, EvalResult
from sdar.rollout.experts import ExpertCollector
from sdar.runs.files import write_atomic
from sdar.runs.paths import data_dir


def references(spec: EnvSpec, panel: Panel) -> dict[str, EvalResult]:
    """Expert -> its result, one episode a task.

    Played once for a panel and an environment as it is, then kept in the data directory.
    """
    key = hashlib.sha256(f"{FORMAT} {panel.fingerprint} {spec.fingerprint}".encode()).hexdigest()
    file = data_dir() / "references" / f"{panel.name}-{key[:16]}.json"
    if not file.is_file():
        found = {name: evaluate(panel, ExpertCollector(spec, name), EvalConfig()) for name in spec.experts()}
        write_atomic(file, json.dumps({name: result.to_json() for name, result in found.items()}) + "\n")
    kept = json.loads(file.read_text(encoding="utf-8"))
    return {name: EvalResult.from_json(data) for name, data in kept.items()}
