#!/usr/bin/env bash
# DAMI's choices, one changed at a time, with a CNN on the paper's texts: runs, and the report on the validation split.
#
#   scripts/ablate_dami.sh [--subj DATASET] [--mr DATASET] [--output-dir DIR] [OPTION OF run_grid.py ...]
#
# DATASET is an alias, a Hub id or a path (default: subj and mr, from the Hub); DIR is runs/ablations by default. What
# comes after is given to run_grid.py: --workers 2, or --seeds 0-9 for more than three. The same command goes on where it
# was stopped.
set -euo pipefail

subj=subj mr=mr output=runs/ablations
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
run() { # the folder below DIR, then options
    local folder=$1
    shift
    python "$scripts/run_grid.py" --datasets "$subj" "$mr" --models cnn --seeds 0-2 \
        --initial-size 0.04 --query-size 0.04 --budget 0.4 --no-save-models --output-dir "$output/$folder" "$@" || status=$?
}

run default --strategies dami dami-kcenter "$@"
run logit --strategies dami --interpretation-target logit "$@"
run cosine --strategies dami --distance cosine "$@"
run park-jun --strategies dami --clustering park-jun "$@"
run norm --strategies dami --informative-word norm "$@"
run random-word --strategies dami --informative-word random "$@"
python "$scripts/make_report.py" "$output" --on validation --baseline dami --save-records "$output/records.jsonl.gz"
exit "$status"
