"""Make the base model that `recipes/arithmetic.toml` starts from, in about a minute on one core.

    python scripts/make_arithmetic_base.py             # → models/arithmetic-base
    python scripts/make_arithmetic_base.py --seed 1 --out models/another

What it reads is told in src/r1zero/pretrain/sums.py. The folder appears whole or not at all.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from r1zero.errors import UserError
from r1zero.pretrain.sums import PRETRAIN_STEPS, make_base_model

DEFAULT_OUT = Path("models/arithmetic-base")


def main(argv: list[str] | None = None) -> int:
    """Pretrain, save, print; 0 on success, 1 with one sentence on stderr otherwise."""
    parser = argparse.ArgumentParser(description="Make the base model of recipes/arithmetic.toml.")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="the folder to make (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and the texts (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=PRETRAIN_STEPS, help="of pretraining (default: %(default)s)")
    options = parser.parse_args(argv)

    def watch(step: int, loss: float) -> None:
        if step % 100 == 0:
            print(f"step {step:>4}/{options.steps}  loss {loss:.3f} nats a token", flush=True)

    try:
        loss = make_base_model(options.out, options.seed, options.steps, watch)
    except UserError as error:
        print(f"make_arithmetic_base: {error}", file=sys.stderr)
        return 1
    print(f"base model: loss {loss:.3f} nats a token, in {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
