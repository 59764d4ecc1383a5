"""Skill banks, which skills a task gets, and how they are put into messages. No torch, no environment."""
