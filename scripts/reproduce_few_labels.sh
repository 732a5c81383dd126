#!/usr/bin/env bash
# What choosing brings with 20 to 320 labels in all: every strategy, on many data sets and on rare versions of four.
#
#   scripts/reproduce_few_labels.sh DATA [OUTPUT]
#
# DATA is the folder of the data sets (see few_label_sets.py); OUTPUT is for the runs and the reports, few-labels by
# default. The same command goes on where it was stopped. Environment variables run a part of it:
#
#   PARTS       of "encoder linear cnn" (default: all): frozen MiniLM, the linear model, and the CNN
#   SEEDS       how many seeds (default: 20; the CNN has 5 at most)
#   WORKERS     processes of one thread each, among which the seeds are divided (default: 2)
#   SETS        the files' names without .csv (default: all); the rare versions are of those that are among them
#   STRATEGIES  their names (default: all that the model allows)
set -euo pipefail

data=${1:?the folder of the data sets}
output=${2:-few-labels}
parts=${PARTS:-encoder linear cnn}
n_seeds=${SEEDS:-20}
workers=${WORKERS:-2}
sets=${SETS:-subj mr sst5 banking77 sms goemotions logs chnsenticorp waimai gnad}
declare -A rare=([subj]=subjective [mr]=pos [chnsenticorp]=1 [waimai]=1)
scripts=$(dirname "$0")
status=0

# Strategies that differentiate a frozen encoder come first: its models have a network more for them. egl is left out of
# its list: the gradient by all of an encoder's weights takes a pass through it for every text in every round.
gradients="dami dami-margin"
others="random margin entropy least-confidence coreset kmeans-features cluster-margin expected-errors"
others="$others typiclust probcover cal"
of_encoder="$gradients $others badge dropquery bald"
of_linear="$others"
of_cnn="$gradients random margin badge cluster-margin egl-word"

wanted() { # STRATEGY ...: those of them that are asked for
    local name
    for name; do
        [[ -z ${STRATEGIES:-} || " $STRATEGIES " == *" $name "* ]] && printf '%s ' "$name"
    done
    return 0
}

grid() { # NAME OF THE OUTPUT'S FOLDER, NUMBER OF SEEDS, OPTION OF run_grid.py ...
    local folder=$output/$1 n=$2 worker failed=0 running=()
    shift 2
    for ((worker = 0; worker < workers && worker < n; worker++)); do
        # Each process has seeds of its own, so that what their runs share is prepared once.
        OMP_NUM_THREADS=1 python "$scripts/run_grid.py" --seeds $(seq "$worker" "$workers" $((n - 1))) \
            --validation none --initial-size 20 --query-size 20 --budget 320 --no-save-models --stop-report true \
            --output-dir "$folder" "$@" &
        running+=($!)
    done
    for worker in "${running[@]}"; do
        wait "$worker" || failed=1
    done
    ((failed == 0)) || status=1
}

part() { # NAME, NUMBER OF SEEDS, STRATEGIES, SETS, OPTION OF run_grid.py ...
    local name=$1 n=$2 strategies=$3 set duplicates
    local -a files=()
    read -ra files <<<"$4"
    shift 4
    for set in "${files[@]%.csv}"; do
        # The lines of a log recur, tomorrow's too: copies are drawn apart there.
        if [[ $set == logs ]]; then duplicates=anywhere; else duplicates=auto; fi
        grid "$name" "$n" --strategies $(wanted $strategies) --datasets "$output/sets/$set.csv" \
            --duplicates "$duplicates" "$@"
    done
    for set in "${files[@]%.csv}"; do
        [[ -v rare[$set] ]] || continue
        grid "$name-rare" "$n" --strategies $(wanted $strategies positives) --datasets "$output/sets/rare/$set.csv" \
            --rarefy "${rare[$set]}=0.03" --metric average_precision --positive-class "${rare[$set]}" "$@"
    done
}

# 5,000 texts to choose from and 1,250 to test on; twice as many rows are read where a class is made rare.
python "$scripts/few_label_sets.py" "$data" "$output/sets" --rows 6250 --sets $sets
for set in $sets; do
    [[ ! -v rare[$set] ]] || python "$scripts/few_label_sets.py" "$data" "$output/sets/rare" --rows 12000 --sets "$set"
done
files=$(printf '%s.csv ' $sets)
cnn_files=$(printf '%s\n' $files | grep -xE '(subj|mr)\.csv' | tr '\n' ' ' || true)
for name in $parts; do
    case $name in
        encoder)
            part encoder "$n_seeds" "$of_encoder" "$files" \
                --model sentence-transformers/all-MiniLM-L6-v2 --freeze-encoder
            ;;
        linear) part linear "$n_seeds" "$of_linear" "$files" --model linear ;;
        cnn) [[ -z $cnn_files ]] || part cnn $((n_seeds < 5 ? n_seeds : 5)) "$of_cnn" "$cnn_files" --model cnn ;;
        *)
            echo "PARTS has $name; it must be of: encoder linear cnn" >&2
            exit 2
            ;;
    esac
done
for folder in "$output"/{encoder,linear,cnn}{,-rare}; do
    [[ -d $folder ]] || continue
    metric=$([[ $folder == *-rare ]] && echo average_precision || echo accuracy)
    python "$scripts/make_report.py" "$folder" --metric "$metric" --save-records "$folder/records.jsonl.gz"
done
exit "$status"
