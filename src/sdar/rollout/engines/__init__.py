"""Whatever draws completions for token prompts, one a file; the contract is in `sdar.rollout.engine`."""
