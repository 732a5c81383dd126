"""What a run writes, and what it resumes from: a folder of plain files.

    config.yaml       the options
    rounds.jsonl      a line a finished round; the line commits the round
    queries.jsonl     a line a queried row, written and synced before its round's line; those of the start, in round -1,
                      before the line of round 0
    model/            the last round's model and tokenizer, in the Hugging Face layout

Everything else in the folder is derived from these. Query lines of a round that was not committed and a half-written
last line are what a killed process leaves: they are dropped when the folder is opened again.
"""

import json
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from dami_text.config.defaults import FORMER_DEFAULTS
from dami_text.config.fields import Size, flag
from dami_text.config.kinds import kind_of
from dami_text.config.paths import PATHS, absolute, from_anywhere
from dami_text.config.run import RunConfig
from dami_text.errors import BusyError, RecordError
from dami_text.escaping import to_json
from dami_text.files import remove_unfinished, whole_file, whole_folder, write_whole

logger = logging.getLogger(__name__)

Line = dict[str, Any]

CONFIG, ROUNDS, QUERIES, MODEL, CURVE = "config.yaml", "rounds.jsonl", "queries.jsonl", "model", "learning_curve.png"
RECORDS = (CONFIG, ROUNDS, QUERIES, CURVE)  # what is pushed beside the model
LOCK = ".lock"

# What every line holds.
ROUND_FIELDS = {"round", "n_labeled", "labeled_fraction", "metrics", "seconds", "query"}
QUERY_FIELDS = {"round", "row", "id", "label"}
START = -1  # the number of the round, in queries.jsonl, of the rows labelled at the start


class RunFolder:
    """A run's folder, opened for `config`: `rounds` and `queries` hold what is committed.

    `config` keeps to what the folder's run did where it is older than an option. `grows` says that the folder's run has
    a smaller budget: `keep` the rounds that a run with this one has in common with it.

    Opening changes nothing on disk; what is written first, by `commit` or `save_model`, makes the folder or cleans up
    after a killed process. A folder in which no round is finished counts as new. Write inside of `locked`, which keeps
    other processes out.

    Raises:
        RecordError: the folder cannot be written, is damaged, or holds a run with other options or files of the same
            names that are no run's.
    """

    def __init__(self, path: Path, config: RunConfig, overwrite: bool = False) -> None:
        self.path, self.config = path, config
        self.rounds: list[Line] = []
        self.queries: list[Line] = []
        self._started = False
        self.grows = False
        with self._errors():
            self._check_writable()
            self._seen = self._bytes()
            if not overwrite:
                self._check_own()
                self.rounds = self._read(ROUNDS, ROUND_FIELDS)
                queries = self._read(QUERIES, QUERY_FIELDS)
                self.queries = [query for query in queries if max(query["round"], 0) < len(self.rounds)]
                if dropped := len(queries) - len(self.queries):
                    logger.warning(
                        "%d lines of %s are of a round that was not finished and are dropped",
                        *(dropped, self.path / QUERIES),
                    )
            if self.rounds:
                self._compare_config()

    def keep(self, n: int) -> None:
        """Forget all rounds but the first n and what the others asked for."""
        self.rounds = self.rounds[:n]
        self.queries = [query for query in self.queries if max(query["round"], 0) < n]

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out of the folder inside the block; a killed process's lock is free at once.

        Raises:
            RecordError: another process holds the lock, or has written rounds since the folder was opened.
        """
        with self._errors():
            made = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / LOCK, thread_local=False)
            try:
                lock.acquire(blocking=False)
            except Timeout:
                raise BusyError(
                    f"another process is at work in {self.path}; wait for its end, or choose another with --output-dir"
                ) from None
        try:
            if self._bytes() != self._seen:
                raise BusyError(f"another process has been at work in {self.path}; give the command again to go on")
            yield
        finally:
            # Unlinked before it is released: whoever waits for it sees that it is gone and makes a new one. Windows
            # unlinks no open file, and so none after the release that another process has opened meanwhile.
            with suppress(PermissionError):
                (self.path / LOCK).unlink(missing_ok=True)
            lock.release()
            if sys.platform == "win32":
                with suppress(OSError):
                    (self.path / LOCK).unlink(missing_ok=True)
            with suppress(OSError):  # of a run that has written nothing, nothing is left behind
                for folder in made:
                    folder.rmdir()

    def commit(self, round_line: Line, query_lines: Sequence[Line]) -> None:
        """Write a finished round: its queries first, then the line that makes it count."""
        with self._errors():
            self._start()
            _write(self.path / QUERIES, query_lines, "a")
            _write(self.path / ROUNDS, [round_line], "a")
        self.queries += query_lines
        self.rounds.append(round_line)

    def save_model(self, save: Callable[[Path], object]) -> None:
        """Let `save` write the model into a new folder, which then replaces `model/`."""
        with self._errors():
            self._start()
            with whole_folder(self.path / MODEL, overwrite=True) as unfinished:
                save(unfinished)

    def has_model(self) -> bool:
        """Whether the final model is there."""
        return (self.path / MODEL).exists()

    def _start(self) -> None:
        """Once: create the folder, or clean up after a killed process or the run to replace, and write the config."""
        if self._started:
            return
        self.path.mkdir(parents=True, exist_ok=True)
        for name in (ROUNDS, QUERIES, CONFIG, MODEL):
            remove_unfinished(self.path / name)
        with whole_file(self.path / ROUNDS) as unfinished:  # from here on the folder is this run's
            _write(unfinished, self.rounds)
        if not self.rounds:
            for name in (CURVE, CONFIG):
                (self.path / name).unlink(missing_ok=True)
            if (self.path / MODEL).exists():
                shutil.rmtree(self.path / MODEL)
        with whole_file(self.path / QUERIES) as unfinished:
            _write(unfinished, self.queries)
        options = yaml.safe_dump(from_anywhere(self.config).options(), sort_keys=False, allow_unicode=True)
        write_whole(self.path / CONFIG, options.encode())
        self._started = True

    def _check_writable(self) -> None:
        """Raise RecordError unless a file can be written in the folder, or in the one that it will be made in."""
        folder = next(parent for parent in (self.path, *self.path.absolute().parents) if parent.exists())
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise RecordError(
                f"cannot write to the output folder {self.path}: {folder} is not a folder that may be written to "
                f"({error.strerror}); choose another with --output-dir"
            ) from error

    def _check_own(self) -> None:
        """Raise RecordError if the folder holds files that a run would replace, but no run."""
        if not (self.path / ROUNDS).exists():
            unknown = [name for name in (CONFIG, QUERIES, MODEL, CURVE) if (self.path / name).exists()]
            if unknown:
                raise RecordError(
                    f"{self.path} holds {', '.join(unknown)}, but no run (no {ROUNDS}); choose another folder with "
                    "--output-dir, or give --overwrite to replace them"
                )

    def _bytes(self) -> bytes:
        """What the file of rounds holds now."""
        file = self.path / ROUNDS
        return file.read_bytes() if file.exists() else b""

    def _read(self, name: str, fields: set[str]) -> list[Line]:
        """The file's lines, all with `fields`; a last one not written to its end is dropped with a warning."""
        file = self.path / name
        if not file.exists():
            return []
        *complete, rest = file.read_bytes().split(b"\n")
        if rest:
            logger.warning("the last line of %s was not written to its end and is dropped", file)
        try:
            lines = [json.loads(line) for line in complete]
        except ValueError as error:
            raise _damaged(file, error) from error
        for number, line in enumerate(lines, 1):
            if not (isinstance(line, dict) and fields <= line.keys() and isinstance(line["round"], int)):
                raise _damaged(file, f"line {number} lacks what it must hold")
        return lines

    def _compare_config(self) -> None:
        """Raise RecordError, naming the differences, if the folder's config is another one.

        What the file lacks, options that were added since, is as `former_options` has it or at its default. `config`
        takes it over where it is left at its default, and so what was the default when the file was written.
        """
        defaults = RunConfig().options()
        try:
            there = in_todays_names(yaml.safe_load((self.path / CONFIG).read_text(encoding="utf-8")))
        except (FileNotFoundError, TypeError, ValueError, yaml.YAMLError) as error:
            raise _damaged(self.path / CONFIG, error) from error
        former = {name: value for name, value in former_options(there).items() if name not in there}
        former |= {name: there[name] for name, values in FORMER_DEFAULTS.items() if there.get(name) in values}
        paths = {name: absolute(there[name]) for name in PATHS if isinstance(there.get(name), str)}
        recorded = defaults | former | there | paths
        wanted = self.config.options()
        self.config = self.config.changed(**{k: v for k, v in former.items() if wanted[k] == defaults[k]})
        wanted = from_anywhere(self.config).options()
        differing = [
            name
            for name in {**wanted, **recorded}
            if repr(recorded.get(name)) != repr(wanted.get(name))  # 1 is one text, 1.0 all of them
        ]
        self.grows = differing == ["budget"] and self._budget(recorded["budget"]) < self._budget(wanted["budget"])
        if differing and not self.grows:
            differences = [f"{flag(name)} {recorded.get(name)} there, {wanted.get(name)} now" for name in differing]
            raise RecordError(
                f"{self.path} holds a run with other options: {'; '.join(differences)}; give the same options to "
                "resume it, another --output-dir, or --overwrite to replace it"
            )

    def _budget(self, value: Any) -> int:
        """The number of texts that a budget is in the folder's run."""
        line = self.rounds[-1]
        return Size(value).of(round(line["n_labeled"] / line["labeled_fraction"]))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn the system's errors into RecordError."""
        try:
            yield
        except OSError as error:
            raise RecordError(
                f"cannot use the output folder {self.path}: {error}; make room or choose another with --output-dir"
            ) from error


def in_todays_names(options: Mapping[str, Any]) -> Line:
    """A run's options, with what those that are gone said in the words of others where it can be said so.

    The rate of BALD's samples was an option of its own, the MLP had no dropout, and an encoder's samples were of
    features alone. A run of BALD that cannot go on by today's options keeps its `bald_dropout`.
    """
    today = dict(options)
    if "bald_dropout" in today:
        model, rate = today.get("model"), today["bald_dropout"]
        if today.get("strategy") != "bald" or (model in ("cnn", "bilstm") and rate == today.get("dropout")):
            del today["bald_dropout"]
        if model == "mlp":
            today["dropout"] = 0.0
    return today


def former_options(options: Mapping[str, Any]) -> Line:
    """What a run with these options did before others were there, where that is not the default now."""
    from dami_text.data.readers import is_local

    kind = kind_of(options.get("model"))
    is_evaluated = options.get("validation") != "none" and "evaluation_steps" not in kind.ignored(options)
    of_steps = {"evaluation_steps": 0, "averaging_steps": 0} if is_evaluated else {}
    if options.get("task") == "tabular":
        return of_steps
    whole = kind.is_pretrained and not (options.get("freeze_encoder") or options.get("contrastive"))
    local = is_local(str(options.get("dataset")))
    of_texts = {"min_document_frequency": 1, "duplicates": "anywhere" if local else "auto", "new_head": whole}
    return of_steps | of_texts


def _write(file: Path, lines: Sequence[Line], mode: str = "w") -> None:
    """Write or append lines, and see them on the disk."""
    with file.open(mode, encoding="utf-8") as stream:
        stream.write("".join(to_json(line) + "\n" for line in lines))
        stream.flush()
        os.fsync(stream.fileno())


def _damaged(file: Path, error: Exception | str) -> RecordError:
    """The error for a file that holds something else than was written."""
    return RecordError(
        f"{file} is damaged ({error}); restore it, or start again with --overwrite or another --output-dir"
    )
