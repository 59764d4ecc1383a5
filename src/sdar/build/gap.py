"""Does the teacher of a model have something to teach, before any training?"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from sdar.build.learner import make_learner
from sdar.build.skills import skill_context
from sdar.build.stage import stage
from sdar.evaluation.gap import Gaps
from sdar.model.chat import Chat
from sdar.model.load import context_of, load_tokenizer
from sdar.objectives.base import Stream
from sdar.recipe import RunConfig
from sdar.rollout.probes import Probe, Prober
from sdar.trainer.batch import Batch
from sdar.trainer.imitation import Imitation


def measure_gap(model: Path, config: RunConfig, turns: int, beta: float) -> dict[str, Gaps]:
    """Kind of skills -> the gaps of the panel's probes under them; `beta` is the slope of the gate."""
    with stage(config) as (world, shown):
        tokenizer = load_tokenizer(model)
        prober = Prober(
            spec=config.env,
            rollout=config.rollout,
            expert=config.warm_start.skilled_expert,
            chat=Chat(tokenizer),
            end=tokenizer.eos_token_id,
            context_length=context_of(model),
            turns=turns,
        )
        skills, tasks = skill_context(config), config.panel.tasks
        contents = skills.contents({task.kind for task in tasks})
        texts = [skills.showing(content) for content in contents]
        probes: list[Probe] = []
        for index, task in enumerate(tasks):
            probes += prober.probe(task, index, texts)
            shown.phase("experts", index + 1, len(tasks))
        samples = [probe.sample for probe in probes]
        learner = make_learner(replace(config, objective=Imitation()), model, world)
        batch = Batch.build(samples, [[0.0]], world.device)
        passes = [(Stream.OLD, 0), *((Stream.TEACHER, view) for view in range(len(contents)))]
        scores = []
        for done, (stream, view) in enumerate(passes, 1):
            scores.append(learner.score(batch, stream, view=view).logp.double().cpu().numpy())
            shown.phase("scoring", done, len(passes))
        student, *teachers = scores
    return {
        str(content): _gaps(probes, teacher - student, batch.starts, beta)
        for content, teacher in zip(contents, teachers, strict=True)
    }


def _gaps(probes: Sequence[Probe], gap_M: np.ndarray, starts: np.ndarray, beta: float) -> Gaps:
    """Means over the tokens of each answer."""
    gate_M, lengths = (1 + np.tanh(beta * gap_M / 2)) / 2, np.diff(starts)
    return Gaps(
        np.array([probe.task for probe in probes]),
        np.array([probe.answer for probe in probes]),
        np.add.reduceat(gap_M, starts[:-1]) / lengths,
        np.add.reduceat(gate_M, starts[:-1]) / lengths,
    )
