"""SDAR in one file: multi-turn RL with gated self-distillation, read from top to bottom.

    python examples/single_file_sdar.py --steps 20

It trains the embedded model on generated ALFWorld games. From the package it takes only what is not the
method: the games, the skill texts and the warm-started model. Everything else is here, in its plainest form:
padded batches, no cache kept between turns, one process. `sdar train` is the same algorithm made fast, and
tests/parity/test_single_file.py holds the two together.

Paper: "Self-Distilled Agentic Reinforcement Learning", arXiv 2605.15155.

Shapes: B episodes, T tokens of the longest of them.
"""

import argparse
import random
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from sdar.build.skills import skill_context
from sdar.build.warm_start import warm_start
from sdar.model.chat import Chat
from sdar.model.load import load_model, load_tokenizer
from sdar.recipe import RunConfig


@dataclass
class Config:
    """The hyper-parameters; from `coef` to `entropy_coef` they are the paper's."""

    steps: int = 20
    tasks: int = 8
    group: int = 8
    lr: float = 3e-4
    max_answer_tokens: int = 16
    seed: int = 0
    coef: float = 0.01
    beta: float = 5.0
    clip: float = 0.2
    dual_clip: float = 3.0
    kl_coef: float = 0.01
    entropy_coef: float = 0.001
    invalid_penalty: float = 0.0


@dataclass
class Episode:
    """One attempt. `body` follows the opening prompt; `chosen` marks the tokens that the policy sampled."""

    task: object
    goal: str
    prompt: list[int]
    teacher_prompt: list[int]
    body: list[int] = field(default_factory=list)
    chosen: list[bool] = field(default_factory=list)
    old: list[float] = field(default_factory=list)
    reward: float = 0.0
    success: bool = False
    done: bool = False

    @property
    def tokens(self) -> list[int]:
        """What the student has seen and written so far."""
        return self.prompt + self.body


# 1. Rollout. The student plays; its tokens and their log-probs are kept exactly as they were sampled.


def rollout(model, chat, spec, skills, tasks, config: Config) -> list[Episode]:
    """`config.group` episodes of each task, all played side by side."""
    prompts, episodes, games = spec.prompts(), [], []
    for task in tasks:
        for _ in range(config.group):
            game = spec.make()
            first = game.reset(task)
            messages = prompts.opening(first)
            # The teacher is the same model; its opening message also shows the skills for this kind of task.
            shown = skills.apply(messages, skills.select(task, first.goal))
            episodes.append(Episode(task, first.goal, chat.render(messages), chat.render(shown)))
            games.append(game)
    while live := [i for i, episode in enumerate(episodes) if not episode.done]:
        answers = sample(model, chat, [episodes[i].tokens for i in live], config)
        for i, (tokens, logps) in zip(live, answers, strict=True):
            episode, step = episodes[i], games[i].step(chat.decode(tokens))
            episode.body += tokens
            episode.chosen += [True] * len(tokens)
            episode.old += logps
            episode.reward += step.reward - (0.0 if step.valid else config.invalid_penalty)
            episode.success, episode.done = step.success, step.done or step.truncated
            if not episode.done:
                closed = tokens[-1] in chat.stop_ids
                seen = chat.continuation(prompts.following(step.observation), closed)
                episode.body += seen
                episode.chosen += [False] * len(seen)
    return episodes


@torch.no_grad()
def sample(model, chat, sequences: list[list[int]], config: Config) -> list[tuple[list[int], list[float]]]:
    """One answer for each sequence: its tokens and the log-prob of each, at temperature 1."""
    width = max(map(len, sequences))
    ids_BT = torch.tensor([[chat.pad_id] * (width - len(s)) + s for s in sequences])
    mask_BT = torch.tensor([[0] * (width - len(s)) + [1] * len(s) for s in sequences])
    answers: list[tuple[list[int], list[float]]] = [([], []) for _ in sequences]
    open_rows, cache, new_BT = set(range(len(sequences))), None, ids_BT
    for _ in range(config.max_answer_tokens):
        positions_BT = (mask_BT.cumsum(-1) - 1).clamp(min=0)[:, -new_BT.shape[1] :]
        out = model(
            input_ids=new_BT,
            attention_mask=mask_BT,
            position_ids=positions_BT,
            past_key_values=cache,
            use_cache=True,
        )
        logp_BV = out.logits[:, -1].float().log_softmax(-1)
        new_BT = torch.multinomial(logp_BV.exp(), 1)
        cache, mask_BT = out.past_key_values, F.pad(mask_BT, (0, 1), value=1)
        for row in list(open_rows):
            token = int(new_BT[row])
            answers[row][0].append(token)
            answers[row][1].append(float(logp_BV[row, token]))
            if token in chat.stop_ids:
                open_rows.remove(row)
        if not open_rows:
            break
    return answers


# 2. Scores. One forward pass gives the log-prob of every token that the policy chose.


def score(model, chat, episodes: list[Episode], *, teacher: bool = False) -> tuple[Tensor, Tensor]:
    """Log-probs and entropies (B, T) of all tokens but the first, behind the student's or teacher's prompt.

    Rows are padded on the left, so that the bodies of student and teacher lie in the same columns.
    """
    rows = [(e.teacher_prompt if teacher else e.prompt) + e.body for e in episodes]
    width = max(map(len, rows))
    ids_BT = torch.tensor([[chat.pad_id] * (width - len(r)) + r for r in rows])
    mask_BT = torch.tensor([[0] * (width - len(r)) + [1] * len(r) for r in rows])
    positions_BT = (mask_BT.cumsum(-1) - 1).clamp(min=0)
    logits = model(
        input_ids=ids_BT, attention_mask=mask_BT, position_ids=positions_BT, use_cache=False
    ).logits
    logp_BTV = logits[:, :-1].float().log_softmax(-1)
    logp_BT = logp_BTV.gather(-1, ids_BT[:, 1:, None]).squeeze(-1)
    return logp_BT, -(logp_BTV.exp() * logp_BTV).sum(-1)


def align(episodes: list[Episode], *columns: Tensor) -> list[Tensor]:
    """Cut score matrices to the columns of the bodies (B, longest body)."""
    width = max(len(episode.body) for episode in episodes)
    return [column_BT[:, -width:] for column_BT in columns]


# 3. Advantages. An episode is compared with the other episodes of its task.


def group_advantages(rewards: Tensor, group: int) -> Tensor:
    """(return - mean of the group) / (standard deviation of the group + 1e-6), shape (B,)."""
    grouped = rewards.view(-1, group)
    return ((grouped - grouped.mean(1, keepdim=True)) / (grouped.std(1, keepdim=True) + 1e-6)).flatten()


# 4. The objective: L = L_GRPO + coef * sum(gate * (teacher - student)), gate = sg(sigmoid(beta * gap)).


def sdar_loss(
    logp_BT: Tensor,
    entropy_BT: Tensor,
    old_BT: Tensor,
    ref_BT: Tensor,
    teacher_BT: Tensor,
    adv_B: Tensor,
    mask_BT: Tensor,
    config: Config,
) -> tuple[Tensor, dict[str, float]]:
    """The loss as a mean over policy tokens, and what is worth watching."""
    # GRPO: clipped policy gradient; a second clip keeps negative advantages bounded.
    ratio_BT = (logp_BT - old_BT).exp()
    adv_B1 = adv_B[:, None]
    plain_BT = -adv_B1 * ratio_BT
    clipped_BT = -adv_B1 * ratio_BT.clamp(1 - config.clip, 1 + config.clip)
    policy_BT = torch.maximum(plain_BT, clipped_BT)
    policy_BT = torch.where(adv_B1 < 0, torch.minimum(policy_BT, -adv_B1 * config.dual_clip), policy_BT)
    # Staying near the reference: the k3 estimate of the KL divergence, non-negative for every token.
    log_ratio_BT = ref_BT - logp_BT
    kl_BT = (log_ratio_BT.exp() - log_ratio_BT - 1).clamp(-10, 10)
    # Self-distillation: where the skilled teacher likes the token more than the student does, the gate opens.
    gap_BT = (teacher_BT - logp_BT).detach()
    gate_BT = torch.sigmoid(config.beta * gap_BT)
    distil_BT = gate_BT * (teacher_BT - logp_BT)

    token_BT = policy_BT + config.kl_coef * kl_BT - config.entropy_coef * entropy_BT + config.coef * distil_BT
    count = mask_BT.sum()
    seen = {"gap": gap_BT, "gate": gate_BT, "kl": kl_BT.detach()}
    metrics = {name: float((value * mask_BT).sum() / count) for name, value in seen.items()}
    return (token_BT * mask_BT).sum() / count, metrics


def episode_loss(
    model, reference, chat, episodes: list[Episode], config: Config
) -> tuple[Tensor, dict[str, float]]:
    """Score whole groups in the eyes of student, teacher and reference, and compare."""
    logp_BT, entropy_BT = align(episodes, *score(model, chat, episodes))
    with torch.no_grad():
        (teacher_BT,) = align(episodes, score(model, chat, episodes, teacher=True)[0])
        (ref_BT,) = align(episodes, score(reference, chat, episodes)[0])
    width = logp_BT.shape[1]
    mask_BT = torch.tensor([[False] * (width - len(e.body)) + e.chosen for e in episodes])
    old_BT = torch.zeros(len(episodes), width)
    old_BT[mask_BT] = torch.tensor([logp for e in episodes for logp in e.old])
    # Padding holds arbitrary log-probs; zeros keep them from overflowing in the exponentials.
    streams = [x.masked_fill(~mask_BT, 0.0) for x in (logp_BT, entropy_BT, old_BT, ref_BT, teacher_BT)]
    adv_B = group_advantages(torch.tensor([e.reward for e in episodes]), config.group)
    return sdar_loss(*streams, adv_B, mask_BT.float(), config)


# 5. The loop.


def train(config: Config) -> list[float]:
    """Train, print a line a step, and return the success rate of every step."""
    run = RunConfig()
    directory = warm_start(run)
    model, reference = (load_model(run.model, directory, torch.device("cpu")) for _ in range(2))
    chat, skills, spec = Chat(load_tokenizer(directory)), skill_context(run), run.env
    tasks = spec.tasks("train")
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=0.0)
    draw = random.Random(config.seed)
    torch.manual_seed(config.seed)
    history = []
    for step in range(1, config.steps + 1):
        chosen = [tasks[i] for i in draw.sample(range(len(tasks)), config.tasks)]
        episodes = rollout(model, chat, spec, skills, chosen, config)
        loss, metrics = episode_loss(model, reference, chat, episodes, config)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        history.append(sum(episode.success for episode in episodes) / len(episodes))
        shown = "  ".join(f"{name} {value:+.3f}" for name, value in metrics.items())
        print(f"step {step:3d}  success {history[-1]:.3f}  loss {loss.item():+.4f}  {shown}", flush=True)
    return history


def main() -> None:
    """Every field of `Config` is a flag."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, default in vars(Config()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    train(Config(**vars(parser.parse_args())))


if __name__ == "__main__":
    main()
