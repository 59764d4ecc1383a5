"""Our environments for other people's agents: ALFWorld through Gymnasium, played by chance.

pip install 'sdar[gym]'
python examples/gym_agent.py
"""

import random

import gymnasium

env = gymnasium.make("sdar.envs.gym:sdar/ALFWorld-v0", max_turns=20)
observation, info = env.reset(seed=0)
print(info["goal"])
done = cut = False
while not (done or cut):
    action = random.choice(info["admissible"])
    observation, reward, done, cut, info = env.step(action)
    print(f"> {action}\n{observation}")
print("won" if info["success"] else "lost")
