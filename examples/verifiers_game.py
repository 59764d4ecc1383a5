"""Somebody's taskset and environment for verifiers, and how they are trained on: nothing of sdar in them.

PYTHONPATH=examples sdar check env verifiers --plugins sdar.envs.verifiers --env.taskset verifiers_game
"""

import verifiers.v1 as vf


class Number(vf.TaskData):
    """A row: the number to find."""

    number: int


class GuessTask(vf.Task[Number]):
    """Find it."""

    @vf.reward
    async def found(self, task, trace) -> float:
        """Whether the last guess is right."""
        return float(trace.last_reply == str(task.number))


class GuessTaskset(vf.Taskset[GuessTask]):
    """Eight rows."""

    def load(self):
        """A number each."""
        for number in range(1, 9):
            yield GuessTask(Number(prompt="Guess a number from 1 to 8.", number=number))


class GuessConfig(vf.EnvConfig):
    """One agent plays."""

    player: vf.AgentConfig = vf.AgentConfig()


class GuessEnv(vf.Env[GuessConfig]):
    """Says higher or lower until the number is found."""

    async def run(self, task, agents):
        """One game."""
        async with agents.player.interaction(task) as talk:
            said = await talk.turn()
            while not said.terminated and said.last_reply != str(task.data.number):
                low = said.last_reply.isdecimal() and int(said.last_reply) < task.data.number
                said = await talk.turn("Higher." if low else "Lower.")


__all__ = ["GuessEnv", "GuessTaskset"]
