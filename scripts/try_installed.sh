#!/usr/bin/env bash
# Uses an installed r1zero as somebody would who has nothing but its wheel: in two empty folders, by command and Python.
#
#   scripts/try_installed.sh FOLDER_OF_PROGRAMS      # such as .venv/bin
set -euo pipefail
export PATH="$1:$PATH" PYTHONNOUSERSITE=1
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/demo" "$folder/alone"

cd "$folder/demo"
r1zero --version
python -c 'import sys, r1zero; assert "torch" not in sys.modules; print(r1zero.__file__)' | grep site-packages
r1zero recipe list
r1zero demo
test -s runs/demo/report.html
r1zero train demo --train.steps 3 --out runs/three
r1zero train runs/three --resume --train.steps 4
r1zero report runs/three

cd "$folder/alone"
r1zero recipe prepare demo
r1zero train demo --train.steps 2
r1zero recipe init mine.toml
r1zero settings group
r1zero verify '\frac{1}{2}' 0.5
r1zero audit dr_grpo grpo --group-sizes 2
r1zero paper list
