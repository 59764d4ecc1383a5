"""SDAR: GRPO plus distillation from the skill-conditioned self, gated token by token. The paper's method."""

import math
from dataclasses import dataclass

from sdar.objectives.base import (
    LossInputs,
    LossOutput,
    PolicyGradient,
    Stream,
    check_name,
    check_range,
    objectives,
)
from sdar.objectives.distillation import Distillation
from sdar.ops.gates import gate, gates, reads
from sdar.ops.reduce import masked, weighted
from sdar.settings.schedules import Coef


@objectives.register("sdar")
@dataclass(frozen=True, kw_only=True)
class SDAR(PolicyGradient, Distillation):
    """Self-Distilled Agentic Reinforcement Learning.

        L = L_GRPO + coef * sum_t [ g (teacher - logp) ] / tokens
        g = sg( sigmoid(beta * (teacher - logp)) )

    `gate` and `divergence` put another weight in the place of g and another term in that of teacher - logp.
    The teacher has the student's weights and the skills in its context. Minimising the second term raises
    logp by g: a gated likelihood of the student's own tokens, in expectation REINFORCE with reward coef * g.
    The teacher enters the gradient through the gate alone. The term can be negative and is not a divergence.

    Source: arXiv 2605.15155, equation of L_SDAR with the gap gate; coef and beta as in all its runs.

    Differences from the paper: the entropy bonus, which only its code has. Differences from the published
    code: batch-global denominators instead of a mean of micro-batch means (`reduction="micro-batch-mean"`
    restores it). The code runs its OPSD rows as this objective with pg_coef=0 and its GRPO+OPSD rows as this
    one with beta=0.
    """

    divergence: str = "likelihood"
    """What is minimised between student and teacher; `sdar list divergences` says what there is."""
    coef: Coef = 0.01
    """Weight of the gated distillation term."""
    beta: Coef = 5.0
    """Slope of the gate; 0 makes it the constant 0.5."""
    gate: str = "gap"
    """What weighs the tokens; `sdar list gates` says what there is."""
    top_share: float = 0.2
    """Share of a sequence's tokens that gate `top-q` keeps."""
    memory: float = 0.9
    """Weight of a token beside that of the next one in the mean of gate `persistence`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, 0.0, math.inf, "coef", "beta")
        check_range(self, 0.0, 1.0, "top_share", "memory")
        check_name(gates, self.gate)

    @property
    def needs(self) -> frozenset[Stream]:
        """What GRPO needs, the teacher, and what the gate reads."""
        return super().needs | self.teacher_streams | Stream.among(reads(self.gate))

    def loss(self, x: LossInputs) -> LossOutput:
        """GRPO plus the gated divergence."""
        policy_BT, metrics = self.policy_term(x, x.adv_BT)

        gap_BT = (x.stream(Stream.TEACHER) - x.logp_BT).detach()
        settings = {"beta": self.at(self.beta, x), "top_share": self.top_share, "memory": self.memory}
        gate_BT = gate(self.gate, gap_BT, x.read, **settings)
        sdar_BT = masked(gate_BT * self.distance(x), x.taught_BT)

        metrics |= {
            "teacher/gap_mean": weighted(gap_BT, x.taught_BT),
            "sdar/gap_mean": weighted(gap_BT, x.taught_BT),
            "sdar/gate_mean": weighted(gate_BT, x.taught_BT),
            "sdar/gate_active": weighted((gate_BT > 0.5).float(), x.taught_BT),
            "sdar/loss": weighted(sdar_BT, x.taught_BT),
        }
        loss = self.reduce(policy_BT + self.at(self.coef, x) * sdar_BT, x)
        return LossOutput(loss, metrics, {"gate": masked(gate_BT, x.taught_BT)})
