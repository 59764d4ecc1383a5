"""Texts that have nothing to do with any task: what is shown as "skills" to see whether content matters."""

SHOWN = (
    "the garden behind the old mill has roses and lavender. in spring the bridge is under water.",
    "bring a coat, because evenings in the valley are cold even in june. the last bus leaves at nine.",
    "the museum shows ships of three centuries. children under twelve pay half, and sundays are free.",
    "my uncle plays the violin on fridays. he says that wood from slow trees sounds best.",
    "bees dance to tell others where flowers are. the angle of the dance follows the sun.",
    "the train crosses four tunnels before it reaches the coast. sit on the left side for the view.",
    "knead the dough for ten minutes and let it rest. a warm corner makes it rise faster.",
    "the team lost twice this month and won the third game with a goal in the last minute.",
    "clouds like feathers mean that the weather turns. sailors have known this for a long time.",
    "the library moves to a new building next year. until then half of the books are in boxes.",
    "paint the fence before the rain comes. two thin coats last longer than one thick coat.",
    "a fox crossed the snow last night. its prints go around the barn and back into the woods.",
)
"""What demonstrations show."""
HELD_OUT = (
    "the choir meets in the town hall on tuesdays. new singers are welcome and need no experience.",
    "glass is made of sand, soda and lime. in the north it was green, because the sand held iron.",
    "the path to the lighthouse is steep and wet after storms. at low tide you can walk on the beach.",
    "in autumn the market sells pumpkins, nuts and cider. parking is behind the church.",
)
"""What an evaluation shows; no demonstration has it."""
