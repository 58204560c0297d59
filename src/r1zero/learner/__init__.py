"""From a rollout batch to new weights: gradient, optimiser, critic, and the ranks that share the work."""
