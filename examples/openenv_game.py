"""Somebody's OpenEnv server, and how it is trained on: nothing of sdar in it.

python examples/openenv_game.py        # after pip install openenv
sdar check env openenv --plugins sdar.envs.openenv --env.url http://localhost:8000 --env.goal "Name the side."
"""

import random

import uvicorn
from openenv.core import Action, Environment, Observation, State, create_app


class Say(Action):
    """Which side it is."""

    text: str


class Seen(Observation):
    """What is told."""

    text: str


class Coin(Environment):
    """Say which side the coin shows."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def reset(self, seed=None, episode_id=None, **_):
        """Toss the coin."""
        self.side = random.Random(seed).choice(["heads", "tails"])
        return Seen(text=f"The coin shows {self.side}.")

    def step(self, action, timeout_s=None, **_):
        """One answer ends the game."""
        return Seen(text="That was all.", done=True, reward=float(action.text == self.side))

    @property
    def state(self):
        """Nothing that the agent does not see."""
        return State()


app = create_app(Coin, Say, Seen, max_concurrent_envs=64)

if __name__ == "__main__":
    uvicorn.run(app, port=8000)
