"""Training: the loop, its objective, its optimiser, its checkpoints."""
