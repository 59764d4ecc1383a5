"""Official data sets: download, import, and their files in our formats.

Environments read them; nothing else does.
"""
