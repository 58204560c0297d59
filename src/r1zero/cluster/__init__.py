"""The same learner, sampler and verifier on a Ray cluster: actors do the work, the loop stays where it is."""
