"""What a teacher knows and its student does not: skills in banks, chosen by rules, put into messages."""
