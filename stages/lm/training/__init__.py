"""The trainer: examples, packing, step, optimizer, loop, checkpoints, validation."""
