"""Files as other tools give them back: what is taken, what is left out, and what is said about it."""

import json
from collections import Counter

import numpy as np
import pytest
from labeling_cases import imported, make_session, table

from dami_text.cli.main import main
from dami_text.errors import DataError
from dami_text.labeling.exchange.formats import FORMATS

TEXTS = ["a good film ", "caf\u00e9 at night\r\nsecond line", "bad; very bad", "NA", "twice", "twice"]
LABELS = ["pos", "neg", "neg", "pos", "neg", "neg"]


@pytest.fixture
def session(tmp_path):
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    return make_session(tmp_path / "pool.jsonl", tmp_path / "pool.dami", ["neg", "pos"], duplicates="anywhere")


ALL = dict(enumerate(LABELS))


def test_an_id_of_another_tool_does_not_hide_a_text_that_matches(session, tmp_path):
    rows = [{"id": i, "text": text, "label": label} for i, (text, label) in enumerate(zip(TEXTS, LABELS, strict=True))]
    assert imported(session, tmp_path, "own.jsonl", "".join(json.dumps(row) + "\n" for row in rows)) == (0, ALL)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_tables_are_read_whatever_separates_their_columns_and_dami_id_goes_before_id(session, tmp_path, delimiter):
    rows = [
        {" ID ": 900 + i, "Text": text, "dami_id": session.id(i), "Label": label, "Comments": ""}
        for i, (text, label) in enumerate(zip(TEXTS, LABELS, strict=True))
    ]
    assert imported(session, tmp_path, "back.csv", table(rows, delimiter)) == (0, ALL)


def test_the_short_json_of_label_studio_and_the_json_of_doccano_are_read(session, tmp_path):
    texts = list(enumerate(zip(TEXTS, LABELS, strict=True)))
    short = [{"id": 7 + i, "text": t, "dami_id": session.id(i), "label": n, "annotator": 1} for i, (t, n) in texts]
    assert imported(session, tmp_path, "short.json", json.dumps(short)) == (0, ALL)
    assert {row["annotator"] for row in session.store.decisions()} == {"1"}
    doccano = [{"id": 7 + i, "text": t, "dami_id": session.id(i), "label": [n], "Comments": []} for i, (t, n) in texts]
    assert imported(session, tmp_path, "doccano.json", json.dumps(doccano), "--annotator", "1")[0] == 0
    assert len(session.store.events()) == len(TEXTS), "the same labels are known"


def test_with_its_id_a_text_may_come_back_trimmed_decomposed_or_with_other_line_ends(session, tmp_path):
    back = ["a good film", "cafe\u0301 at night\nsecond line", "bad; very  bad", ""]
    rows = [{"id": session.id(i), "text": text, "label": LABELS[i]} for i, text in enumerate(back)]
    assert imported(session, tmp_path, "back.csv", table(rows)) == (0, {i: LABELS[i] for i in range(4)})


def test_a_bad_row_is_left_out_and_counted_and_the_others_are_taken(session, tmp_path, capsys):
    rows = [{"id": session.id(i), "text": TEXTS[i], "label": LABELS[i]} for i in range(5)]
    rows[1]["text"] = "another text"
    rows[2]["label"] = "great"
    rows[3]["label"] = '{"choices": ["neg", "pos"]}'
    assert imported(session, tmp_path, "back.csv", table(rows)) == (0, {0: "pos", 4: "neg"})
    told = capsys.readouterr().out
    assert "2 labels and skips added" in told
    assert "3 cannot be taken: left out" in told
    assert "'another text'" in told
    assert "'great' is no class" in told


def test_ids_that_were_shifted_are_refused_and_nothing_is_taken(session, tmp_path, capsys):
    rows = [{"id": session.id(i), "text": TEXTS[i - 1], "label": "pos"} for i in range(1, 4)]
    assert imported(session, tmp_path, "back.csv", table(rows)) == (1, {})
    assert "3 of 3 ids are of other texts" in capsys.readouterr().err


def test_numbers_are_the_classes_that_they_name(tmp_path):
    (tmp_path / "pool.csv").write_text("text\na\nb\nc\n")
    session = make_session(tmp_path / "pool.csv", tmp_path / "pool.dami", ["0", "1"])
    content = "text,label\na,1.0\nb,0\nc,0.5\n"
    assert imported(session, tmp_path, "pandas.csv", content) == (0, {0: "1", 1: "0"})


def test_of_several_controls_of_label_studio_the_one_with_the_classes_counts(session, tmp_path):
    def part(name, *choices):
        return {"type": "choices", "from_name": name, "value": {"choices": list(choices)}}

    results = [[part("mood", "angry"), part("sentiment", "pos")], [part("mood", "calm")], [part("label", "neg", "pos")]]
    tasks = [
        {"data": {"text": TEXTS[i]}, "annotations": [{"completed_by": 3, "result": result}]}
        for i, result in enumerate(results)
    ]
    assert imported(session, tmp_path, "tasks.json", json.dumps(tasks)) == (0, {0: "pos"})


def test_prodigys_session_names_the_annotator(session, tmp_path):
    line = {"text": TEXTS[0], "label": "pos", "answer": "accept"}
    lines = [json.dumps(line | {"_session_id": f"reviews-{name}"}) + "\n" for name in ("ann", "bob")]
    assert imported(session, tmp_path, "answers.jsonl", "".join(lines)) == (0, {0: "pos"})
    assert [row["annotator"] for row in session.store.decisions()] == ["bob", "ann"]


@pytest.mark.parametrize(
    ("sessions", "names"),
    [
        (["ds-ann", "ds-bob"], ["ann", "bob"]),
        (["news-2024-ann"], ["ann"]),
        (["my-set-anna-lena", "my-set-anna-eva", "my-set-bob"], ["anna-lena", "anna-eva", "bob"]),
        (["ds-ann", "ds-anne"], ["ann", "anne"]),
        (["ann", "bob"], ["ann", "bob"]),
        (["one-ann", "two-bob"], ["ann", "bob"]),
        (["ds-2024-05-01_10-30-00"], ["import"]),  # a session without a name
        (["2024-05-01_10-30-00", "ds-ann"], ["import", "ann"]),
    ],
)
@pytest.mark.parametrize("has_id_of_annotator", [False, True])
def test_the_name_of_prodigys_data_set_is_no_part_of_the_annotators(
    session, tmp_path, sessions, names, has_id_of_annotator
):
    line = {"text": TEXTS[0], "label": "pos", "answer": "accept"}
    more = [{"_annotator_id": name} if has_id_of_annotator else {} for name in sessions]
    lines = [line | {"_session_id": name} | who for name, who in zip(sessions, more, strict=True)]
    assert imported(session, tmp_path, "answers.jsonl", "".join(json.dumps(line) + "\n" for line in lines))[0] == 0
    assert [row["annotator"] for row in reversed(session.store.decisions())] == names


@pytest.mark.parametrize("short", [False, True])
def test_corrections_in_label_studios_tables_are_of_who_sent_the_labels(session, tmp_path, short):
    """Its tables have the fields of a task and a number for who annotated it, a row an annotation."""
    session.store.add_labels([(0, 0, "ann"), (0, 1, "bob"), (1, 0, "ann")])
    both = ["ann", "bob"]
    one = {"text": TEXTS[0], "dami_id": session.id(0), "dami_annotator": "ann", "id": 5}
    two = {"text": TEXTS[1], "dami_id": session.id(1), "dami_annotator": "ann", "dami_annotators": "", "id": 6}
    one["dami_annotators"] = both if short else json.dumps(both)
    rows = [
        one | {"label": "pos", "annotator": 1, "annotation_id": 11},
        one | {"label": "neg", "annotator": 1, "annotation_id": 12},
        two | {"label": "pos", "annotator": 1, "annotation_id": 13},
        two | {"label": "neg", "annotator": 2, "annotation_id": 14},
    ]
    content = json.dumps(rows) if short else table(rows)
    assert imported(session, tmp_path, "back.json" if short else "back.csv", content)[0] == 0
    given = {(row["row"], row["annotator"]): row["label"] for row in session.store.decisions()}
    assert given == {(0, "ann"): 1, (0, "bob"): 0, (1, "ann"): 1, (1, "2"): 0}


def test_doccanos_table_keeps_the_annotators_that_were_sent(session, tmp_path):
    rows = [
        {"id": 900 + i, "text": TEXTS[0], "dami_id": session.id(0), "dami_annotator": name, "label": label}
        for i, (name, label) in enumerate([("ann", "pos"), ("bob", "neg")])
    ]
    assert imported(session, tmp_path, "back.csv", table(rows))[0] == 0
    assert {row["annotator"]: row["label"] for row in session.store.decisions()} == {"ann": 1, "bob": 0}


@pytest.mark.parametrize(
    ("classes", "labels"),
    [
        (["0", "1"], ["0.0", "1", "True", "false", " 1 "]),
        (["False", "True"], ["FALSE", "true", "1", "0.0", "1.0"]),
        (["0.0", "1.0"], ["0", "1", "True", "False", "1.0"]),
        (["-1", "1"], ["-1.0", "1.0", "1", "-1", "+1"]),
    ],
)
def test_numbers_and_truth_values_are_the_classes_of_the_same_value(tmp_path, classes, labels):
    (tmp_path / "pool.csv").write_text("text\na\nb\nc\nd\ne\n")
    session = make_session(tmp_path / "pool.csv", tmp_path / "pool.dami", classes)
    content = "text,label\n" + "".join(f"{text},{label}\n" for text, label in zip("abcde", labels, strict=True))
    low, high = classes
    wanted = {0: low, 1: high, 2: high, 3: low, 4: high}
    assert imported(session, tmp_path, "back.csv", content) == (0, wanted)


def test_a_value_that_two_classes_have_is_neither(tmp_path):
    (tmp_path / "pool.csv").write_text("text\na\nb\nc\n")
    session = make_session(tmp_path / "pool.csv", tmp_path / "pool.dami", ["1", "1.0", "True"])
    content = "text,label\na,1.0\nb,1.00\nc,True\n"
    assert imported(session, tmp_path, "back.csv", content) == (0, {0: "1.0", 2: "True"})


def test_a_record_of_other_types_or_several_choices_is_left_out_and_the_others_are_taken(session, tmp_path, capsys):
    rows = [
        {"text": TEXTS[0]},  # not labelled yet, without a field for it
        {"text": TEXTS[1], "label": {"choices": ["neg", "pos"]}},
        {"text": ["a"], "label": "neg"},
        {"text": TEXTS[2], "label": "neg", "annotator": "\x1b[31m"},
        {"text": TEXTS[3], "label": "pos"},
    ]
    assert imported(session, tmp_path, "back.json", json.dumps(rows)) == (0, {3: "pos"})
    told = capsys.readouterr().out
    assert "3 cannot be taken: left out" in told
    assert "\x1b" not in told


def test_a_table_that_names_no_text_says_which_columns_it_has(session, tmp_path, capsys):
    assert imported(session, tmp_path, "back.csv", "review,label\na,pos\n") == (1, {})
    assert "the columns are ['review', 'label']; wanted label, and text or id" in capsys.readouterr().err


def test_a_file_of_which_nothing_is_taken_is_an_error(session, tmp_path, capsys):
    assert imported(session, tmp_path, "back.csv", "text,label\nunknown,pos\n") == (1, {})
    told = capsys.readouterr()
    assert "1 are about texts that the session does not have" in told.out
    assert "nothing was taken from" in told.err


def test_events_keep_which_of_two_opinions_came_first(session, tmp_path):
    """Of two labels with as many votes the first counts; ann's is the later one after she has changed her mind."""
    session.store.add_labels([(0, 0, "ann"), (0, 1, "bob"), (0, None, "ann"), (0, 0, "ann")])
    assert [row["label"] for row in session.store.labels()] == [1]
    out = tmp_path / "events.jsonl"
    assert main(["export", str(session.folder), str(out), "--format", "events"]) == 0
    other = make_session(tmp_path / "pool.jsonl", tmp_path / "other.dami", ["neg", "pos"], duplicates="anywhere")
    assert main(["import", str(other.folder), str(out)]) == 0
    assert [row["label"] for row in other.store.labels()] == [1]


def test_flags_come_back_from_a_table_whose_truth_values_became_numbers(session, tmp_path):
    content = "id,text,label,annotator,flagged\n" + "".join(
        f"{session.id(row)},,pos,ann,{flag}\n" for row, flag in enumerate(["1.0", "True", "0.0", "False", ""])
    )
    assert imported(session, tmp_path, "back.csv", content)[0] == 0
    assert session.store.flags() == {0: ["ann"], 1: ["ann"]}


def test_events_of_which_one_was_undone_bring_what_stands(session, tmp_path):
    store = session.store
    for label in (0, 1):
        shown, _ = store.next("ann", 60)
        store.decide(shown, "ann", "label", label)
    store.undo("ann", store.last_act("ann"), 60)
    out = tmp_path / "events.jsonl"
    assert main(["export", str(session.folder), str(out), "--format", "events"]) == 0
    other = make_session(tmp_path / "pool.jsonl", tmp_path / "other.dami", ["neg", "pos"], duplicates="anywhere")
    assert main(["import", str(other.folder), str(out)]) == 0
    assert [row["label"] for row in other.store.labels()] == [0]
    with pytest.raises(DataError):
        main(["import", str(other.folder), str(tmp_path / "pool.jsonl"), "--format", "events", "--debug"])


# There and back ---------------------------------------------------------------------------------------------------


def what_many_did(session, rng):
    """Forty acts at random, as the store takes them, and what must stand at their end: the last of each counts."""
    decided, flags = {}, set()
    for _ in range(40):
        row, name = int(rng.integers(len(TEXTS))), str(rng.choice(["ann", "bob", "cy"]))
        if rng.random() < 0.2:
            session.store.add_flags([(row, name)])
            flags.add((row, name))
        else:
            label = [0, 1, None][rng.integers(3)]
            session.store.add_labels([(row, label, name)])
            if decided.get((row, name), "nothing") != label:
                decided.pop((row, name), None)  # a new decision is later than all others
                decided[row, name] = label
    labels = {}
    for row in range(len(TEXTS)):
        votes = Counter(label for (of, _), label in decided.items() if of == row and label is not None)
        if votes:
            labels[row] = votes.most_common(1)[0][0]  # of those with as many, the first
    return decided, flags, labels


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", [name for name in (*FORMATS, "events") if name != "doccano"])
def test_whatever_several_people_did_is_the_same_after_export_and_import(session, tmp_path, name, seed):
    decided, flags, labels = what_many_did(session, np.random.default_rng(seed))
    out = tmp_path / ("out.json" if name in ("label-studio", "argilla") else f"out.{name}")
    assert main(["export", str(session.folder), str(out), "--format", name]) == 0
    other = make_session(tmp_path / "pool.jsonl", tmp_path / "other.dami", ["neg", "pos"], duplicates="anywhere")
    for _ in range(2):  # the second time brings nothing
        assert main(["import", str(other.folder), str(out)]) == 0
        for of in (session, other):
            assert {(row["row"], row["annotator"]): row["label"] for row in of.store.decisions()} == decided
            assert {(row, who) for row, names in of.store.flags().items() for who in names} == flags
            assert {row["row"]: row["label"] for row in of.store.labels()} == labels
    assert len(other.store.events()) == len(decided) + len(flags)
