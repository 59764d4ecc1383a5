"""The machine and the episodes that a plan assumes."""

from dataclasses import dataclass

from sdar.settings.values import check_least

GIB = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Assumed:
    """What settings of a run do not say: the machine, by default an H100, and how episodes go."""

    gpus: int = 1
    """Ranks, one a GPU."""
    gpu_memory: float = 80.0
    """GiB of a GPU."""
    reserve: float = 4.0
    """GiB of it for CUDA, NCCL and what the allocator cannot use."""
    tflops: float = 989.0
    """Dense bfloat16 TFLOP/s of a GPU; float32 is taken to have a fifteenth of it."""
    mfu: float = 0.35
    """Share of that which score and update reach."""
    bandwidth: float = 3350.0
    """GB/s from a GPU's memory; it limits decoding."""
    link: float = 400.0
    """GB/s between GPUs, for sharded parameters and gradients."""
    launch: float = 8.0
    """Microseconds of one kernel of the hf engine, whose decoding is limited by them, and of one sum over
    ranks that share an engine."""
    turns: int = 0
    """Turns of an episode; 0: env.max_turns, as many as there can be."""
    answer: int = 0
    """Tokens of an answer, on average; 0: half of rollout.max_tokens."""
    prompt: int = 0
    """Tokens of a window prompt, or that a turn adds to a transcript, on average; 0: as measured with the
    environment's experts (benchmarks/prompts.py)."""

    def __post_init__(self) -> None:
        least = {"gpus": 1, "gpu_memory": 0, "reserve": 0, "turns": 0, "answer": 0, "prompt": 0}
        positive = dict.fromkeys(("tflops", "mfu", "bandwidth", "link", "launch"), 1e-9)
        check_least(self, "plan", **least, **positive)

    @property
    def memory(self) -> float:
        """Bytes of a GPU that tensors can have."""
        return (self.gpu_memory - self.reserve) * GIB
