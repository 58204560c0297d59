"""The sampler in this process: any causal language model of transformers, with rows that come and go."""
