#!/usr/bin/env bash
# The paper's experiments with tables: 4 data sets, 7 strategies, 10 seeds, 25 rounds, and the report on them.
#
#   scripts/reproduce_tables.sh --data-dir FOLDER [--output-dir DIR] [OPTION OF run_grid.py ...]
#
# FOLDER holds the files of the tables; DIR is runs/tables by default. What comes after is given to run_grid.py:
# --workers 2, or --seeds 0-4 for a part of it. The same command goes on where it was stopped.
set -euo pipefail

data='' output=runs/tables
while [ $# -gt 0 ]; do
    case "$1" in
        --data-dir) data=$2 ;;
        --output-dir) output=$2 ;;
        *) break ;;
    esac
    shift 2
done

scripts=$(dirname "$0")
status=0
python "$scripts/run_grid.py" --datasets telescope default employee news --data-dir "$data" --models mlp \
    --strategies random egl bald coreset badge dami margin --seeds 0-9 \
    --initial-size 0.02 --query-size 0.02 --budget 0.5 --no-save-models --output-dir "$output" "$@" || status=$?
python "$scripts/make_report.py" "$output" --metric roc_auc --save-records "$output/records.jsonl.gz"
exit "$status"
