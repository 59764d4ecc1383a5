"""Advantages of every built-in objective that sets them itself, by loops in NumPy: for the battery."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from sdar.objectives.base import StepInputs, Stream
from sdar.objectives.oracles import between, credit_oracles


def turns(x: StepInputs) -> Iterator[tuple[int, int, np.ndarray]]:
    """Episode, turn and token places of every turn that has tokens, in order."""
    episode_M, turn_M = x.episode_M.numpy(), x.turn_M.numpy()
    for episode in range(len(x.group_E)):
        for turn in sorted(set(turn_M[episode_M == episode].tolist())):
            yield episode, turn, np.flatnonzero((episode_M == episode) & (turn_M == turn))


@credit_oracles.register("agent-opsd")
def agent_opsd(objective: Any, x: StepInputs) -> np.ndarray:
    """Episode by episode and turn by turn, as the equations say it."""
    gap_M = (x.streams[Stream.TEACHER] - x.streams[Stream.OLD]).numpy() * x.taught_M.numpy()
    episode_M, turn_M, group_E = x.episode_M.numpy(), x.turn_M.numpy(), x.group_E.numpy()
    adv_M = x.adv_M.numpy().copy()
    for episode, group in enumerate(group_E):
        belief = np.clip(x.success_E.numpy()[group_E == group].mean(), objective.margin, 1 - objective.margin)
        odds, carried = np.log(belief / (1 - belief)), 0.0
        turns = sorted(set(turn_M[episode_M == episode]))
        places = [np.flatnonzero((episode_M == episode) & (turn_M == turn)) for turn in turns]
        gains = []
        for place in places:
            carried = objective.decay * carried + gap_M[place].sum()
            after = 1 / (1 + np.exp(-(odds + carried)))
            gains.append(np.sign(adv_M[place[0]]) * (after - belief))
            belief = after
        for place, gain in zip(places, gains, strict=True):
            score = (gain - np.mean(gains)) / (np.std(gains) + 1e-6)
            adv_M[place] *= 1 + objective.lam * objective.alpha * np.clip(score, -1, 1)
    return adv_M


@credit_oracles.register("ocsd")
def ocsd(objective: Any, x: StepInputs) -> np.ndarray:
    """Episode by episode: the steps in order of their mean surprise."""
    (future_M, has_future_M), (ablated_M, has_ablated_M) = (
        (logp.numpy(), has.numpy()) for logp, has in (x.teacher(0), x.teacher(1))
    )
    both_M, adv_M = has_future_M & has_ablated_M, x.adv_M.numpy().copy()
    surprise_M = -x.streams[Stream.OLD].numpy()
    for episode in range(len(x.group_E)):
        mine = [place for number, _, place in turns(x) if number == episode and both_M[place].any()]
        mine.sort(key=lambda place: -surprise_M[place].mean())
        for place in mine[: int(np.ceil(round(objective.top_share * len(mine), 9)))]:
            chosen = place[both_M[place]]
            contrast = np.tanh((future_M[chosen] - ablated_M[chosen]) / 2)
            adv_M[chosen] += objective.strength * np.abs(adv_M[chosen]) * contrast
    return adv_M


@credit_oracles.register("grsd")
def grsd(objective: Any, x: StepInputs) -> np.ndarray:
    """Group by group, over its turns that have a teacher."""
    gap_M = (x.streams[Stream.TEACHER] - x.streams[Stream.OLD]).numpy()
    adv_M, taught_M = x.adv_M.numpy().copy(), x.taught_M.numpy()
    group_E, success_E = x.group_E.numpy(), x.success_E.numpy()
    for group in set(group_E.tolist()):
        if len(set(success_E[group_E == group].tolist())) < 2:
            continue
        places = [place for episode, _, place in turns(x) if group_E[episode] == group]
        places = [place for place in places if taught_M[place].any()]
        moved = [
            np.expm1(np.sign(adv_M[place[0]]) * gap_M[place[taught_M[place]]].mean()) for place in places
        ]
        for place, value in zip(places, moved, strict=True):
            normal = value / (np.mean(np.abs(moved)) + 1e-6)
            normal = np.clip(normal, -objective.bound, objective.bound) * (abs(normal) > objective.threshold)
            adv_M[place] *= max(0.1, 1 + objective.lam * normal)
    return adv_M


@credit_oracles.register("adrs")
def adrs(objective: Any, x: StepInputs) -> np.ndarray:
    """Turn by turn the reward, with the trust that loops over the turns compared; then group by group."""
    eta = between(objective.eta, x.step)
    teacher_M, taught_M = x.streams[Stream.TEACHER].numpy(), x.taught_M.numpy()
    group_E, return_E = x.group_E.numpy(), x.reward_EK.numpy().sum(1)
    mine = [(e, k, place[taught_M[place]]) for e, k, place in turns(x) if taught_M[place].any()]
    liked = np.array([teacher_M[place].mean() for _, _, place in mine])
    liked = 1 / (1 + np.exp(liked.mean() - liked))
    keys = [int(x.anchor_EK[e, k]) if objective.trust == "anchor" else int(group_E[e]) for e, k, _ in mine]
    reward_M, adv_M = np.zeros(len(teacher_M)), x.adv_M.numpy().copy()
    for (_, _, place), key in zip(mine, keys, strict=True):
        std = teacher_M[place].std() + 1e-6
        evidence: Any = 0.0
        if objective.trust == "reference":
            evidence = (teacher_M[place] - x.streams[Stream.REF].numpy()[place]) / std
        elif keys.count(key) > 1:
            alike = [i for i, other in enumerate(keys) if other == key]
            returns = [return_E[mine[i][0]] for i in alike]
            evidence = np.average(returns, weights=liked[alike])
            evidence -= np.average(returns, weights=1 - liked[alike])
        trust = (1 + np.tanh(objective.sharpness * evidence / 2)) / 2
        reward_M[place] = eta * trust * (teacher_M[place] - teacher_M[place].mean()) / std
    group_M = group_E[x.episode_M.numpy()]
    columns = {group: np.flatnonzero(taught_M & (group_M == group)) for group in set(group_E.tolist())}
    spread = {group: reward_M[at].std() for group, at in columns.items() if len(at)}
    spread = {group: std for group, std in spread.items() if std >= 1e-6}
    for group, std in spread.items():
        at = columns[group]
        cap = objective.cap * min(1.0, std / np.median(list(spread.values())))
        adv_M[at] += np.clip(eta * (reward_M[at] - reward_M[at].mean()) / std, -cap, cap)
    return adv_M


@credit_oracles.register("opid")
def opid(objective: Any, x: StepInputs) -> np.ndarray:
    """Token by token and teacher by teacher."""
    adv_M, old_M = x.adv_M.numpy().copy(), x.streams[Stream.OLD].numpy()
    for view, coef in enumerate((objective.episode_coef, objective.step_coef)):
        teacher_M, taught_M = (part.numpy() for part in x.teacher(view))
        for place in np.flatnonzero(taught_M):
            adv_M[place] += coef * (teacher_M[place] - old_M[place])
    return adv_M


@credit_oracles.register("bcsd")
def bcsd(objective: Any, x: StepInputs) -> np.ndarray:
    """Token by token: the gaps of the teachers that it has, then what they are worth."""
    adv_M, old_M = x.adv_M.numpy().copy(), x.streams[Stream.OLD].numpy()
    signed = -(1 - objective.alpha) if objective.pruned == "loss" else 1 - objective.alpha
    lam = objective.lam
    if isinstance(lam, str):
        start, end = map(float, lam.removeprefix("linear:").split(":"))
        lam = start + (end - start) * x.step / x.steps
    for place, advantage in enumerate(adv_M):
        gap = 0.0
        for view, weight in enumerate((objective.alpha, signed)):
            teacher_M, taught_M = x.teacher(view)
            if taught_M[place]:
                gap += weight * (float(teacher_M[place]) - old_M[place])
        gap = np.clip(gap, -1, 1) if objective.form == "clip" else 2 / (1 + np.exp(-gap)) - 1
        # f is odd, so A * sign(A) * f is |A| * f.
        adv_M[place] += lam * abs(advantage) * gap
    return adv_M
