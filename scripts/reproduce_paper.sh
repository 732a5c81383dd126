#!/usr/bin/env bash
# The paper's text experiments: 2 data sets, 2 models, its 6 strategies and margin, 10 seeds, 25 rounds, and the report.
#
#   scripts/reproduce_paper.sh FOLDER [OPTION OF run_grid.py ...]
#
# The options: --datasets PATH_OF_SUBJ PATH_OF_MR for local copies, --workers 2, --seeds 0-4 or --strategies random dami
# for a part of it, --clustering park-jun for the paper's own K-medoids. The same command goes on where it was stopped.
set -euo pipefail

folder=${1:?the folder for the runs and the report}
shift
scripts=$(dirname "$0")
status=0
python "$scripts/run_grid.py" --datasets subj mr --models cnn bilstm \
    --strategies random egl-word bald coreset badge dami margin --seeds 0-9 \
    --initial-size 0.02 --query-size 0.02 --budget 0.5 --duplicates anywhere --min-document-frequency 1 --word-vectors word2vec --no-save-models --output-dir "$folder" "$@" || status=$?
python "$scripts/make_report.py" "$folder" --save-records "$folder/records.jsonl.gz"
exit "$status"
