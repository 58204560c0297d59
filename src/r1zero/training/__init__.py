"""Training: `train` is THE loop, `setup` what it is made of, `workers` where that lives, `progress` what is shown."""
