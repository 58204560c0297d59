"""Make the base model that comes with r1zero and that `r1zero demo` starts from, in a few minutes on one core.

    python scripts/make_demo_base.py                 # → models/demo-base, and says whether it is the shipped one
    python scripts/make_demo_base.py --out src/r1zero/paper/base --force

Texts, recipe, seed and SHA-256 stand in src/r1zero/paper/base_model.py. Another processor, torch or thread count may
round otherwise, and then the bits are others. Pretraining goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

import datasets

from r1zero.errors import UserError
from r1zero.paper.base_model import SHIPPED, pretraining, round_base, sha256
from r1zero.policy.device import set_threads
from r1zero.runs.exclusive import exclusive

DEFAULT_OUT, DEFAULT_WORK = Path("models/demo-base"), Path("runs/demo-base")


def main(argv: list[str] | None = None) -> int:
    """Pretrain, round, save, print; 0 on success, 1 with one sentence on stderr otherwise."""
    parser = argparse.ArgumentParser(description="Make the base model of `r1zero demo`.")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="the folder to make (default: %(default)s)")
    parser.add_argument("--work", type=Path, default=DEFAULT_WORK, help="texts and run (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=SHIPPED.seed, help="of the weights (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=SHIPPED.steps, help="of pretraining (default: %(default)s)")
    parser.add_argument("--force", action="store_true", help="replace --out if it exists")
    options = parser.parse_args(argv)
    try:
        made = make(options.out, options.work, options.seed, options.steps, force=options.force)
    except UserError as error:
        print(f"make_demo_base: {error}", file=sys.stderr)
        return 1
    same = "the one that comes with r1zero" if made == SHIPPED.sha256 else f"not the shipped one, {SHIPPED.sha256}"
    print(f"{options.out}: SHA-256 {made}, {same}")
    return 0


def make(out: Path, work: Path, seed: int, steps: int, *, force: bool) -> str:
    """Make the model folder; return the SHA-256 of its weights. Raises UserError."""
    if out.exists() and not force:
        raise UserError(f"{out} exists already; add --force to replace it, or give another --out.")
    datasets.disable_progress_bars()
    set_threads(1)
    with exclusive(work):
        job = pretraining(work, seed, steps)
        if not job.done(work):
            job.carry_out(work)
        made = out.with_name(f".{out.name}.new")
        shutil.rmtree(made, ignore_errors=True)
        round_base(work / job.name, made)
    if out.exists():
        shutil.rmtree(out)
    made.rename(out)
    return sha256(out)


if __name__ == "__main__":
    sys.exit(main())
