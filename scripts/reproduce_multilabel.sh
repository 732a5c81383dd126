#!/usr/bin/env bash
# What choosing brings where a text has any number of labels: GoEmotions with its 28 labels, and with six groups of them.
#
#   scripts/reproduce_multilabel.sh DATA [OUTPUT]
#
# DATA is the folder of the authors' files (train.tsv, goemotions_labels.txt); OUTPUT is for the runs and the reports,
# multilabel by default. The same command goes on where it was stopped. Environment variables run a part of it:
#
#   SETS        of "groups goemotions" (default: both)
#   PARTS       of "linear frozen cnn" (default: all)
#   SEEDS       a list (default: 0 1 2 3 4)
#   STRATEGIES  their names (default: those below)
#   QUERY_SIZE  texts labelled a round (default: 100 with six groups, 180 with 28 labels)
set -euo pipefail

data=${1:?the folder of GoEmotions}
output=${2:-multilabel}
scripts=$(dirname "$0")
read -ra seeds <<<"${SEEDS:-0 1 2 3 4}"
declare -A query_sizes=([groups]=100 [goemotions]=180)
declare -A models=(
    [linear]="--model linear --threshold f1"
    [frozen]="--model sentence-transformers/all-MiniLM-L6-v2 --freeze-encoder --threshold f1"
    [cnn]="--model cnn"
)
# DAMI needs gradients, of which the linear model has the same everywhere.
declare -A strategies=(
    [linear]="random margin cvirs lci badge typiclust"
    [frozen]="random margin cvirs lci badge typiclust dami"
    [cnn]="random margin cvirs badge dami"
)
python "$scripts/multilabel_sets.py" "$data" "$output/sets"
for set in ${SETS:-groups goemotions}; do
    for part in ${PARTS:-linear frozen cnn}; do
        for seed in "${seeds[@]}"; do
            OMP_NUM_THREADS=1 python "$scripts/run_grid.py" --datasets "$output/sets/$set.jsonl" --task multilabel \
                ${models[$part]} --strategies ${STRATEGIES:-${strategies[$part]}} --seeds "$seed" --validation none \
                --initial-size 100 --query-size "${QUERY_SIZE:-${query_sizes[$set]}}" --budget 1000 --no-save-models \
                --output-dir "$output/$part"
        done
    done
done
for metric in micro_f1 macro_f1 average_precision; do
    python "$scripts/make_report.py" $(ls -d "$output"/{linear,frozen,cnn} 2>/dev/null) --metric "$metric" \
        --save-records "$output/records.jsonl.gz" --output-dir "$output/$metric"
done
