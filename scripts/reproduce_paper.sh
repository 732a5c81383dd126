#!/usr/bin/env bash
# The paper's text experiments: 2 data sets, 2 models, 6 strategies, 10 seeds, 25 rounds, and the report on them.
#
#   scripts/reproduce_paper.sh [--subj DATASET] [--mr DATASET] [--output-dir DIR] [OPTION OF run_grid.py ...]
#
# DATASET is an alias, a Hub id or a path (default: subj and mr, from the Hub); DIR is runs/paper by default. What comes
# after is given to run_grid.py: --workers 2, --seeds 0-4 or --strategies random dami for a part of it, and
# --clustering park-jun for the paper's own K-medoids. The same command goes on where it was stopped.
set -euo pipefail

subj=subj mr=mr output=runs/paper
while [ $# -gt 0 ]; do
    case "$1" in
        --subj) subj=$2 ;;
        --mr) mr=$2 ;;
        --output-dir) output=$2 ;;
        *) break ;;
    esac
    shift 2
done

scripts=$(dirname "$0")
status=0
python "$scripts/run_grid.py" --datasets "$subj" "$mr" --models cnn bilstm \
    --strategies random egl-word bald coreset badge dami --seeds 0-9 \
    --initial-size 0.02 --query-size 0.02 --budget 0.5 --no-save-models --output-dir "$output" "$@" || status=$?
python "$scripts/make_report.py" "$output" --save-records "$output/records.jsonl.gz"
exit "$status"
