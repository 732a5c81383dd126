#!/usr/bin/env bash
# The paper's experiments with tables: 4 data sets, 7 strategies, 10 seeds, 25 rounds, and the report on them. BALD's
# models are trained with dropout, of which its samples are, so that there is a random choice with dropout to see it by.
#
#   scripts/reproduce_tables.sh FOLDER --data-dir TABLES [OPTION OF run_grid.py ...]
#
# TABLES holds the files of the four tables. More options: --workers 2, or --seeds 0-4 for a part of it. The same command
# goes on where it was stopped.
set -euo pipefail

folder=${1:?the folder for the runs and the report}
shift
scripts=$(dirname "$0")
status=0
grid() {
    python "$scripts/run_grid.py" --datasets telescope default employee news --models mlp --seeds 0-9 \
        --initial-size 0.02 --query-size 0.02 --budget 0.5 --no-save-models "$@" || status=$?
}
grid --strategies random egl bald coreset badge dami margin --output-dir "$folder" "$@"
grid --strategies random --dropout 0.05 --output-dir "$folder/with-dropout" "$@"
python "$scripts/make_report.py" "$folder" --metric roc_auc --save-records "$folder/records.jsonl.gz"
exit "$status"
