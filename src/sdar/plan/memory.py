"""Bytes of a rank, item by item, in each phase of a step.

P parameters over N ranks: everything that is sharded has its N-th part. Parameters and gradients that are
trained are float32, AdamW keeps two numbers for each, frozen copies are in the dtype of the products. A layer
that computes is whole in that dtype, and what lies outside of the layers is whole from first use to last.
`benchmarks/memory.py` measures what is computed here, and tests compare both.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sdar.errors import ConfigError
from sdar.objectives.base import Stream
from sdar.plan.load import Lengths, Load
from sdar.plan.settings import GIB, Assumed
from sdar.plan.shapes import ModelShape, model_shape
from sdar.recipe import RunConfig
from sdar.rollout.engines.settings import HF, VLLM
from sdar.trainer.teachers import MovingAverage, SecondModel

MASTER = 4
"""Bytes of a parameter that is trained, of its gradient, and of each of AdamW's moments."""
BUCKET = 1 << 28
"""Bytes of a weight sync's bucket, see `sdar.trainer.weight_sync`."""
LOGITS = {"cpu": 1 << 21, "cuda": 1 << 27}
"""Logits of a chunk, see `sdar.model.logprobs.chunk_tokens`."""
FIRST_ROOM = 256
"""Least tokens that a row of the hf engine's cache has room for, see `sdar.rollout.engines.cache`."""

Items = Mapping[str, float]
"""Item -> bytes."""
_LOGIT = {
    (training, entropy, top): number
    for training, numbers in ((False, (8, 12, 16, 16)), (True, (12, 24, 20, 28)))
    for (entropy, top), number in zip(((0, 0), (0, 1), (1, 0), (1, 1)), numbers, strict=True)
}
"""Bytes at the peak for each logit of a chunk: while training, with entropy, with the likeliest tokens."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The model and the settings that memory depends on."""

    config: RunConfig
    shape: ModelShape
    ranks: int

    @property
    def width(self) -> int:
        """Bytes of a number in the products; `auto` counts as float32 on a CPU, where it may be either."""
        dtype = self.config.model.dtype
        return 2 if dtype == "bfloat16" or (dtype == "auto" and self.config.device == "cuda") else 4

    @property
    def trained(self) -> int:
        """Parameters that are trained."""
        model = self.config.model
        if not model.lora_rank:
            return self.shape.parameters
        return self.shape.adapters(model.lora_rank, model.lora_targets)

    @property
    def own(self) -> int:
        """Parameters that are trained and wait on the device, with their gradients and moments."""
        return 0 if self.config.ranks.offloads_policy else self.trained

    def built(self) -> dict[str, float]:
        """What a rank's device holds of models before the first update, and always; not what is offloaded."""
        shape, width, config = self.shape, self.width, self.config
        lora, needs = bool(config.model.lora_rank), config.objective.needs
        taught = Stream.TEACHER in needs
        held = {"weights": MASTER * self.own / self.ranks}
        if lora and not config.ranks.offloads_policy:
            held["weights"] += width * shape.parameters / self.ranks
        stays = not config.ranks.offloads_frozen
        if stays and not lora and (Stream.REF in needs or (taught and config.teacher.needs_reference)):
            held["reference"] = width * shape.parameters / self.ranks
        if taught and isinstance(config.teacher, MovingAverage):
            held["teacher"] = MASTER * self.own / self.ranks
        if stays and taught and isinstance(config.teacher, SecondModel):
            held["teacher"] = width * model_shape(config.teacher.path).parameters / self.ranks
        return held

    def learnt(self) -> dict[str, float]:
        """The same and AdamW's moments."""
        return self.built() | {"optimizer": 2 * MASTER * self.own / self.ranks}

    def engine(self) -> float:
        """The engine's own copy: whole on every rank, or a part on each of those that share it."""
        return self.width * self.shape.parameters / self.config.rollout.engine.sharers

    def certain(self) -> dict[str, Items]:
        """What is needed at least, whatever is played: the models and their optimizer, phase by phase."""
        engine = {"engine": self.engine()}
        update = {**self.learnt(), "gradients": MASTER * self.own / self.ranks}
        return {
            "build": {**self.built(), **engine},
            "rollout": {**self.learnt(), **engine},
            "update": update,
        }

    def gathered(self) -> float:
        """Whole parameters at one time: what is outside of the layers, a layer and the next one."""
        return self.width * (self.shape.root + 2 * self.shape.layer)

    def reduced(self, parameters: int) -> float:
        """Whole gradients of so many parameters, as computed and as they are added up over ranks."""
        return 0 if self.config.model.lora_rank else (self.width + MASTER) * parameters

    def bucket(self) -> float:
        """What travels to the engine at one time, in its dtype; vLLM lays the largest tensor together."""
        whole = self.width * self.shape.embedding if isinstance(self.config.rollout.engine, VLLM) else 0
        return min(BUCKET, self.width * self.shape.parameters) + whole

    def layer_activations(self) -> float:
        """Bytes that a layer keeps for its backward pass, for each token.

        Of transformers' Llama, Qwen2 and Qwen3 layers with fused attention: the norms raise their input to
        float32 and keep it, and every product keeps its inputs.
        """
        shape, c = self.shape, self.width
        kept = (8 + 4 * c) * shape.hidden + 4 * c * shape.intermediate + 8
        kept += 3 * c * shape.queries + 2 * c * shape.keys + 4 * shape.heads
        if shape.normed:
            kept += (4 + c) * (shape.queries + shape.keys) + 4 * (shape.heads + shape.kv_heads)
        return kept + self.config.model.lora_rank * c * len(shape.linears)

    def outer_activations(self) -> float:
        """What is kept outside of the layers, for each token: the last norm, positions, their angles."""
        angles = 0 if self.config.model.gradient_checkpointing else 2 * self.width * self.shape.head_dim
        return (4 + self.width) * self.shape.hidden + angles + 16

    def kept(self, tokens: int) -> float:
        """Bytes that a training pass over so many tokens keeps for its backward pass."""
        shape = self.shape
        layer = self.layer_activations()
        if self.config.model.gradient_checkpointing:
            layer = self.width * shape.hidden
        return tokens * (shape.layers * layer + self.outer_activations())

    def logits(self, scored: float, training: bool) -> float:
        """Bytes of a chunk of logits of `scored` tokens: float32 copies of them, and gradients."""
        needs, chunk = self.config.objective.needs, LOGITS[self.config.device] // self.shape.vocab
        entropy = (Stream.ENTROPY if training else Stream.TEACHER_ENTROPY) in needs
        bytes_each = _LOGIT[training, entropy, Stream.TEACHER_TOP in needs]
        return min(max(32, chunk), scored) * self.shape.vocab * bytes_each

    def update(self, tokens: int, scored: float) -> Items:
        """What an update adds to the models at its worst moment: at the logits, in a layer, at the end."""
        shape = self.shape
        gathered, kept = self.gathered(), self.kept(tokens)
        head = 0 if self.config.model.lora_rank else 2 * self.width * shape.embedding
        moments: list[Items] = [
            {
                "gathered": gathered,
                "activations": kept,
                "logits": self.logits(scored, training=True),
                "reduced": head,
            },
            {
                "gathered": gathered,
                "activations": kept + 2 * tokens * self.layer_activations(),
                "reduced": self.reduced(2 * shape.layer),
            },
            {"gathered": gathered, "reduced": self.reduced(shape.root)},
        ]
        return max(moments, key=lambda moment: sum(moment.values()))

    def likeliest(self, tokens: float) -> float:
        """Log-probs of the teacher's likeliest tokens, and their ids; of the vocabulary there are no ids."""
        objective = self.config.objective
        if Stream.TEACHER_TOP not in objective.needs:
            return 0
        count = objective.teacher_tokens
        return tokens * (12 * count + 4 if count else 4 * self.shape.vocab)

    def cache(self, load: Load, lengths: Lengths) -> float:
        """The hf engine's keys and values: rows whose room is doubled from the prompt's to the sample's."""
        rows = min(self.config.rollout.max_live, load.rank_episodes)
        room = FIRST_ROOM
        while room < lengths.prompt:
            room *= 2
        rooms = [room]
        while rooms[-1] < lengths.sample:
            rooms.append(2 * rooms[-1])
        return rows * sum(rooms) * 2 * self.shape.layers * self.shape.keys * self.width


def phases(budget: Budget, load: Load, assumed: Assumed, lengths: Lengths) -> dict[str, Items]:
    """The items of each phase of a step, with samples of these lengths."""
    config, learnt = budget.config, budget.learnt()
    certain = budget.certain()
    streams = load.episodes * load.turns * lengths.answer
    top = budget.likeliest(streams * (1 + 1 / load.ranks))
    more = {"likeliest tokens": top} if top else {}
    pack = max(config.optim.micro_tokens, lengths.sample, *lengths.teachers)
    update = config.optim.micro_samples * lengths.sample or max(config.optim.micro_tokens, lengths.sample)
    scored = update * lengths.answer / lengths.sample if config.rollout.context == "window" else update / 2
    return {
        "build": certain["build"],
        "rollout": {**learnt, **_engine(budget, load, assumed, lengths)},
        "score": {
            **learnt,
            "gathered": budget.gathered(),
            "activations": pack * budget.layer_activations(),
            "logits": budget.logits(pack, training=False),
            **more,
        },
        "update": {
            **certain["update"],
            **budget.update(update, scored),
            **({"likeliest tokens": top + 3 * budget.likeliest(scored)} if top else {}),
        },
        "sync": {**learnt, "engine": budget.engine(), "gathered": budget.bucket()},
    }


def _engine(budget: Budget, load: Load, assumed: Assumed, lengths: Lengths) -> Items:
    """What generating takes: weights, keys and values, a prompt on its way, logits."""
    config, engine = budget.config, budget.engine()
    settings = config.rollout.engine
    if isinstance(settings, VLLM):
        return {"engine": engine, "KV cache": max(0.0, settings.memory * assumed.gpu_memory * GIB - engine)}
    rows = min(config.rollout.max_live, load.rank_episodes)
    prefill = settings.prefill_tokens if isinstance(settings, HF) else 0
    return {
        "engine": engine,
        "KV cache": budget.cache(load, lengths),
        "activations": max(prefill, lengths.prompt) * budget.layer_activations(),
        "logits": rows * budget.shape.vocab * (budget.width + 28),
    }


def check_start(budget: Budget, memory: float, about: str) -> None:
    """Raise `ConfigError` where what is certain to be needed is more than `memory` bytes of a rank's GPU."""
    certain = budget.certain()
    phase = max(certain, key=lambda name: sum(certain[name].values()))
    needed = sum(certain[phase].values())
    if needed <= memory:
        return
    parts = ", ".join(f"{name} {size / GIB:.1f}" for name, size in certain[phase].items())
    raise ConfigError(
        f"{about} does not fit: {phase} takes {needed / GIB:.1f} GiB on each of {budget.ranks} ranks "
        f"({parts}) before a token is read, and a GPU has {memory / GIB:.1f}; sdar plan says what to change"
    )
