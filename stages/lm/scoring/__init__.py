"""Log-probabilities of choices: batches, the forward pass, and a cache of results."""
