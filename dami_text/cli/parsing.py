"""What all commands share: parsers made of the options' fields, and one place where errors end."""

import argparse
import io
import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, NoReturn, Self, get_args, get_origin, get_type_hints

from dami_text.config.data_options import JOIN
from dami_text.config.defaults import implied_options
from dami_text.config.fields import Count, Size, flag, inner_type
from dami_text.config.run import RunConfig
from dami_text.errors import ConfigError, DamiError
from dami_text.escaping import terminal_line

#: The classes of a run's options.
TOPICS = {topic.name: type(topic.default) for topic in fields(RunConfig)}

_UNSET = object()

TRUE, FALSE = ("yes", "true", "t", "y", "1"), ("no", "false", "f", "n", "0")


class Parser(argparse.ArgumentParser):
    """A parser whose errors are ConfigErrors. Every command has --debug.

    A value that cannot be converted is left as it is: the options say what they want where they are made.
    """

    def __init__(self, prog: str, description: str, topics: Sequence[Any] = (), reads_file: bool = False) -> None:
        """The parser of a command.

        Args:
            prog: what --help calls the command.
            description: what it does.
            topics: classes of configs, whose fields are options.
            reads_file: whether options can be in a file, too, which --config names.
        """
        super().__init__(prog=prog, description=description, allow_abbrev=False)
        for topic in topics:
            self._add_topic(topic)
        if reads_file:
            text = "a YAML file of options, which flags override; a run's config.yaml is one"
            self.add_argument("--config", metavar="VALUE", help=text)
        self.add_argument("--debug", action="store_true", help="show the traceback of an error")

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError with argparse's message."""
        raise ConfigError(f"{message}; {self.prog} --help lists the options")

    def remove(self, names: Sequence[str]) -> None:
        """Take the options of these fields out again."""
        for action in [action for action in self._actions if action.dest in names]:
            self._remove_action(action)
            for group in self._action_groups:
                if action in group._group_actions:
                    group._group_actions.remove(action)
            for name in action.option_strings:
                self._option_string_actions.pop(name, None)

    def parse_known_args(self, *arguments: Any, **options: Any) -> Any:
        """Several text columns are one option of the configs."""
        found, rest = super().parse_known_args(*arguments, **options)
        if isinstance(getattr(found, "text_column", None), list):
            found.text_column = JOIN.join(found.text_column)
        return found, rest

    def given(self, arguments: Sequence[str]) -> dict[str, Any]:
        """What the arguments themselves say, by name: no defaults."""
        unset = argparse.Namespace(**dict.fromkeys((action.dest for action in self._actions), _UNSET))
        return {name: v for name, v in vars(self.parse_args(arguments, unset)).items() if v is not _UNSET}

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        try:
            return super()._get_value(action, arg_string)
        except argparse.ArgumentError:
            return arg_string

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Choices of a config's field are checked by the config; those of another option here."""
        if action.dest not in self._of_configs:
            super()._check_value(action, value)

    _of_configs: frozenset[str] = frozenset()

    def _add_topic(self, topic: Any) -> None:
        """An option for each field of a config's class."""
        group = self.add_argument_group(getattr(topic, "_argument_group_name", None))
        kinds = get_type_hints(topic)
        for f in fields(topic):
            self._of_configs |= {f.name}
            text, kind = f.metadata["help"], inner_type(kinds[f.name])
            shown = f.default is not None and f.default is not False
            told = f"{text} (default: {'true' if f.default is True else f.default})" if shown else text
            action = group.add_argument(flag(f.name), default=f.default, help=told, **_how(kind, f.name))
            self._option_string_actions["--" + f.name] = action  # understood with underscores, too, but not shown
            if f.default is True:
                no = f"no_{f.name}"
                off = group.add_argument(flag(no), action="store_false", dest=f.name, help=f"do not {text}")
                self._option_string_actions["--" + no] = off


def _how(kind: Any, name: str) -> dict[str, Any]:
    """How argparse reads an option of this type."""
    if kind is bool:
        return {"type": _as_bool, "nargs": "?", "const": True, "metavar": "true|false"}
    if get_origin(kind) is list or name == "text_column":
        return {"nargs": "+", "metavar": "VALUE"}
    if choices := get_args(kind):  # of a Literal
        return {"choices": choices}
    return {"type": kind, "metavar": {int: "N", float: "X", Size: "SIZE", Count: "N|auto"}.get(kind, "VALUE")}


def _as_bool(text: str) -> bool:
    if text.lower() in (*TRUE, *FALSE):
        return text.lower() in TRUE
    raise ValueError


class ErrorBoundary:
    """Where the errors of every command end: one line on standard error, and an exit status.

    Attributes:
        debug: whether an error shows its traceback instead.
        again: how a command that is stopped goes on, if it does.
        status: the exit status after the block.
    """

    debug: bool = False
    again: str | None = None
    status: int = 0

    _reported: ClassVar = (DamiError, KeyboardInterrupt)

    def __init__(self, arguments: Sequence[str]) -> None:
        self.debug = "--debug" in arguments

    def __enter__(self) -> Self:
        show_whatever_comes()
        self._level = logging.getLogger("dami_text").level
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        logging.getLogger("dami_text").setLevel(self._level)  # `tell_of_data` is for one command
        if not isinstance(error, self._reported):
            return False
        if "torch" in sys.modules:
            from dami_text.processes import disconnect

            disconnect()
        if isinstance(error, KeyboardInterrupt):
            self.status = 130
            _say(f"stopped; {self.again} goes on after the last finished round" if self.again else "stopped")
            return True
        self.status = 1
        if not self.debug:
            _say(f"error: {terminal_line(error)}")
        return not self.debug


#: A command: its name for --help, the arguments, and where its errors end; an exit status, or None for 0.
Command = Callable[[str, Sequence[str], ErrorBoundary], int | None]


def run_command(command: Command, prog: str, arguments: Sequence[str] | None = None) -> int:
    """Do what a command does with the arguments, or with those of this process, and return the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    with ErrorBoundary(arguments) as boundary:
        boundary.status = command(prog, arguments, boundary) or 0
    return boundary.status


def _say(line: str) -> None:
    if speaks():
        print(line, file=sys.stderr)


def speaks() -> bool:
    """Whether this process is the one of its machine that tells the user what all of them find."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def show_whatever_comes() -> None:
    """Have standard output show characters that its encoding lacks, as on many Windows consoles, as escapes.

    Otherwise the first of them, in the name of a class or a folder, would end the command.
    """
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def tell_of_data() -> None:
    """Show what the package has to say about the data, on standard error."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    logging.getLogger("dami_text").setLevel(logging.INFO if speaks() else logging.ERROR)


def read_arguments(
    parser: Parser, arguments: Sequence[str], boundary: ErrorBoundary
) -> tuple[dict[str, Any], argparse.Namespace]:
    """The options that are given, by flag or in the file that --config names, and all options.

    Flags stand over the file, and the file over what data and model imply.

    Args:
        parser: the command's.
        arguments: of the command line.
        boundary: is told of --debug in the file, and how a command that is stopped goes on.

    Raises:
        ConfigError: an option that is unknown, or a file that cannot be read.
    """
    flags = parser.given(arguments)
    file = flags.get("config")
    from_file = _read_options(Path(file), parser) if file is not None else {}
    given = from_file | flags
    parser.set_defaults(**implied_options(given) | from_file)
    options = parser.parse_args(arguments)
    boundary.debug = options.debug
    boundary.again = "the same command" + (" without --overwrite" if given.get("overwrite") else "")
    return given, options


def config_of(topic: Any, options: argparse.Namespace) -> Any:
    """A config of the class `topic` with its fields' options."""
    return topic(**{f.name: getattr(options, f.name) for f in fields(topic)})


def run_config_of(options: argparse.Namespace) -> RunConfig:
    """The options of a run."""
    return RunConfig(**{name: config_of(topic, options) for name, topic in TOPICS.items()})


def _read_options(file: Path, parser: Parser) -> dict[str, Any]:
    """The options of a YAML file, by their names with underscores or hyphens."""
    import yaml

    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read --config {file}: {error}; it must be a YAML file of options") from error
    content = {} if content is None else content  # nothing but comments
    if not isinstance(content, dict):
        raise ConfigError(f"--config {file} holds {type(content).__name__}; it must be a mapping, such as 'seed: 3'")
    options = {str(name).replace("-", "_"): value for name, value in content.items()}
    for action in parser._actions:
        if options.get(action.dest) is False and "no" in (action.choices or ()):
            options[action.dest] = "no"  # which YAML takes for false where it stands without quotes
    unknown = options.keys() - {action.dest for action in parser._actions} | options.keys() & {"config", "help"}
    if unknown:
        raise ConfigError(f"--config {file} holds unknown options {sorted(unknown)}; {parser.prog} --help lists them")
    return options
