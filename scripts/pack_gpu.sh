#!/usr/bin/env bash
# Pack what a bare, offline machine with a GPU needs for benchmarks/gpu.py into .gpu/, and print the command to run
# there. The machine has Python 3.12 and the packages of scripts/gpu_machine.txt (another list: HAS=FILE; another
# Python: PYTHON=3.13). The working tree and .gpu/ are then carried there as they are.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
HAS=${HAS:-scripts/gpu_machine.txt}
PYTHON=${PYTHON:-3.12}
MOST_MIB=60

here=python3
[ -x .venv/bin/python ] && here=.venv/bin/python
rm -rf .gpu
mkdir .gpu
# r1zero itself: its modules are read from the tree, its version and its command from the wheel
"$here" -m pip wheel -qq --disable-pip-version-check --no-deps --wheel-dir .gpu .
"$here" scripts/missing_wheels.py --has "$HAS" --into .gpu --python "$PYTHON" .gpu/r1zero-*.whl 'trl==1.16.*'
tree=$(git ls-files -z --cached --others --exclude-standard | xargs -0 du -bc 2>/dev/null | awk '$2 == "total" { sum += $1 } END { print sum }')
packed=$(du -sb .gpu | cut -f1)
echo
echo "the working tree has $((tree / 1048576)) MiB, .gpu/ has $((packed / 1048576)) MiB"
echo "left out: vLLM and Ray (gigabytes, and no part needs them), and what $HAS names"
if [ $((tree + packed)) -gt $((MOST_MIB * 1048576)) ]; then
  echo "together more than $MOST_MIB MiB: remove files that need not travel" >&2
  exit 1
fi
commit=$(git describe --always --dirty --abbrev=12)
echo
echo "run there, in the root of the tree (OUT is a folder for the figures):"
echo
echo "  python3 -m pip install -q --no-index --no-deps --no-compile --target /tmp/r1zero/site-packages .gpu/*.whl &&"
echo "  PYTHONPATH=/tmp/r1zero/site-packages python3 benchmarks/gpu.py --commit $commit --out \${OUT:-benchmarks/results}"
