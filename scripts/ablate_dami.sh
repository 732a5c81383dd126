#!/usr/bin/env bash
# DAMI's choices, one changed at a time, with a CNN on the paper's texts, and the report on the validation split.
#
#   scripts/ablate_dami.sh FOLDER [OPTION OF run_grid.py ...]
#
# The options: --datasets PATH_OF_SUBJ PATH_OF_MR for local copies, --workers 2, --seeds 0-2 for fewer than ten. The same
# command goes on where it was stopped.
set -euo pipefail

folder=${1:?the folder for the runs and the report}
shift
scripts=$(dirname "$0")
status=0
run() { # NAME [OPTION ...]
    local name=$1
    shift
    python "$scripts/run_grid.py" --datasets subj mr --models cnn --strategies dami --seeds 0-9 \
        --initial-size 0.02 --query-size 0.02 --budget 0.3 --duplicates anywhere --min-document-frequency 1 --word-vectors word2vec \
        --no-save-models --output-dir "$folder/$name" "$@" || status=$?
}

run default "$@"
run logit "$@" --interpretation-target logit
run cosine "$@" --distance cosine
run park-jun "$@" --clustering park-jun
run norm "$@" --informative-word norm
run random-word "$@" --informative-word random
run k-center "$@" --strategies dami-kcenter
python "$scripts/make_report.py" "$folder" --on validation --baseline dami --save-records "$folder/records.jsonl.gz"
exit "$status"
