"""One run: the time loop, its result, checkpoints, signals, ranks, and what tells one run from another."""
