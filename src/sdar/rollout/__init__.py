"""Playing episodes: engines that generate, episodes, groups, and the samples made of them."""
