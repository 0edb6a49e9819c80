"""The floor: what every other part stands on. It imports nothing of ours."""
