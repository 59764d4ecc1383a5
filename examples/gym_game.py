"""Somebody's Gymnasium text environment, and how it is trained on: nothing of sdar in it.

sdar check env gymnasium --plugins sdar.envs.gymnasium_text examples/gym_game.py --env.id game/Coin-v0
"""

import gymnasium


class Coin(gymnasium.Env):
    """Say which side the coin shows."""

    observation_space = gymnasium.spaces.Text(40, charset="abcdefghijklmnopqrstuvwxyz .")
    action_space = gymnasium.spaces.Text(5)

    def reset(self, *, seed=None, options=None):
        """Toss the coin."""
        super().reset(seed=seed)
        self.side = str(self.np_random.choice(["heads", "tails"]))
        return f"the coin shows {self.side}.", {"goal": "Say what the coin shows."}

    def step(self, action):
        """One answer ends the game."""
        return "that was all.", float(action == self.side), True, False, {}


gymnasium.register("game/Coin-v0", entry_point=Coin)
