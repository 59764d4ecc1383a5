"""What one of two ranks does with an engine that they share; `test_sharing.py` starts both.

    python -m tests.unit.rollout.engines.two_ranks RANK DIRECTORY

Their vLLM is a double that works only while both ranks work, and checks that they were told the same.
"""

import json
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist
from tests.tiny import tiny_model, tiny_tokenizer
from tests.unit.rollout.engines.test_vllm import FakeLLM

from sdar.envs.base import Env
from sdar.envs.toy import ToyEnv, ToySpec
from sdar.errors import ConfigError
from sdar.model.chat import Chat
from sdar.rollout.collector import Collector
from sdar.rollout.engine import Request, Sampling
from sdar.rollout.engines.settings import VLLM, EngineParts
from sdar.rollout.settings import RolloutConfig
from sdar.types import Step, Task, Trajectory

TASKS = ToySpec().tasks("train")
SHARES = ([(TASKS[0], 0), (TASKS[1], 0), (TASKS[1], 1), (TASKS[0], 2), (TASKS[2], 0)], [(TASKS[2], 1)])


class SharedLLM(FakeLLM):
    """Two tokens out of each prompt and seed, three at a time go on; each step is a meeting of all ranks."""

    def step(self) -> list[Any]:
        if self.options.get("tensor_parallel_size", 1) > 1:
            told = [
                (name, prompt, params.seed, params.temperature)
                for name, (prompt, params) in self.asked.items()
            ]
            others: list[Any] = [None] * dist.get_world_size()
            dist.all_gather_object(others, told)
            assert others[0] == others[1], "the ranks were told different things"
        done = []
        for name, (prompt, params) in list(self.asked.items())[:3]:
            del self.asked[name]
            rng = random.Random(f"{prompt} {params.seed}")
            tokens = [rng.randrange(5, 60), params.stop_token_ids[0]]
            logprobs = [{token: SimpleNamespace(logprob=-rng.random())} for token in tokens]
            output = SimpleNamespace(token_ids=tokens, logprobs=logprobs)
            done.append(SimpleNamespace(request_id=name, outputs=[output]))
        return done


@dataclass(frozen=True, kw_only=True)
class WaitingSpec(ToySpec):
    """Environments that answer late, each after another time, and one that breaks."""

    broken: str = ""

    @property
    def waits(self) -> bool:
        return True

    def make(self) -> Env:
        spec = self

        class Waiting(ToyEnv):
            def reset(self, task: Task) -> Any:
                self.task = task
                return super().reset(task)

            def step(self, text: str) -> Step:
                if self.task.id == spec.broken:
                    raise ConfigError("broken")
                time.sleep(random.random() / 20)
                return super().step(text)

        return Waiting(self.max_turns)


def told(played: list[Trajectory]) -> dict[str, Any]:
    return {
        f"{episode.task.id} {episode.index}": [
            [list(turn.completion.tokens), list(turn.completion.logps)] for turn in episode.turns
        ]
        for episode in played
    }


def main(rank: int, path: Path) -> None:
    """Play alone and together; what came of it goes into a file."""
    vllm, params = ModuleType("vllm"), ModuleType("vllm.sampling_params")
    vllm.LLM, vllm.SamplingParams = (lambda **o: SharedLLM(o)), (lambda **given: SimpleNamespace(**given))
    params.RequestOutputKind = SimpleNamespace(FINAL_ONLY="final")
    sys.modules |= {"vllm": vllm, "vllm.sampling_params": params}
    VLLM.require = lambda self: None
    chat, model = Chat(tiny_tokenizer()), path / "model"
    cpu = torch.device("cpu")
    parts = EngineParts(
        model=str(model), dtype="float32", device=cpu, stop_ids=chat.stop_ids, max_live=2, timeout=60
    )
    lone, shared = VLLM().make(parts), VLLM(tensor_parallel=2).make(parts)
    config, found = RolloutConfig(max_tokens=5, max_live=2), {"most": shared._llm.options["max_num_seqs"]}

    def play(engine: Any, attempts: Any, **settings: Any) -> dict[str, Any]:
        return told(Collector(WaitingSpec(max_turns=4, **settings), engine, chat, config).play(attempts, 7))

    found["alone"] = play(lone, SHARES[rank])
    found["together"] = play(shared, SHARES[rank])
    found["one has nothing"] = play(shared, SHARES[0] if rank else [])
    try:
        found["one fails"] = play(shared, SHARES[rank], broken=TASKS[2].id if rank else "")
    except ConfigError as error:
        found["one fails"] = str(error)
    tickets = shared.submit([Request([9, 9, rank + 1], 1)] * (3 if rank else 1), Sampling())
    if rank:
        shared.step()
        shared.abort()
    else:
        found["after an abort"] = [ticket in tickets for ticket, _ in shared.step()]
    shared.settle()
    weights = list(tiny_model(max_position_embeddings=512).named_parameters(remove_duplicate=False))
    shared.update_weights([weights])
    found["weights"] = len(shared._llm.calls[0][1])
    found["left"] = [len(shared._llm.asked), len(shared._running), len(shared._open)]
    (path / f"{rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    me, where = int(sys.argv[1]), Path(sys.argv[2])
    dist.init_process_group("gloo", init_method=f"file://{where}/store", rank=me, world_size=2)
    main(me, where)
    dist.destroy_process_group()
