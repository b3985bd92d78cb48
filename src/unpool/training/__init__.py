"""The training loop and what surrounds it: optimisers, schedules, averaging, checkpoints, callbacks, speed."""
