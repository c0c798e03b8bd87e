"""``asteroid-stab completion SHELL``: what a shell needs to complete the program's words, and the answers to it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from importlib import import_module

from asteroid_stab.metrics.names import METRICS
from asteroid_stab.run.layout import RunLayout

SUMMARY = "prints the script that lets bash, zsh or fish complete verbs, options, recipes and run folders"
SHELLS = ("bash", "zsh", "fish")
_EPILOG = """\
bash: in ~/.bashrc, eval "$(asteroid-stab completion bash)"
zsh:  in ~/.zshrc, after compinit, eval "$(asteroid-stab completion zsh)"
fish: asteroid-stab completion fish > ~/.config/fish/completions/asteroid-stab.fish
"""


def make_parser() -> argparse.ArgumentParser:
    """Makes the parser, without an import that takes long: shell completion asks it too."""
    parser = argparse.ArgumentParser(
        prog="asteroid-stab completion",
        description=SUMMARY,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", choices=SHELLS)
    return parser


def main(argv: list[str]) -> int:
    """Prints the script of a shell."""
    import argcomplete

    shell = make_parser().parse_args(argv).shell
    print(argcomplete.shellcode(["asteroid-stab"], shell=shell))
    return 0


def answer(verbs: Sequence[str]) -> None:
    """Answers a shell that asks how the words in its variables may go on, and ends the process.

    Args:
        verbs: the program's verbs.
    """
    import argcomplete

    line, point = os.environ["COMP_LINE"], int(os.environ["COMP_POINT"])
    words = argcomplete.split_line(line, point)[3]
    if len(words) < 2:
        parser = argparse.ArgumentParser(prog="asteroid-stab")
        parser.add_argument("--version", action="store_true")
        parser.add_argument("verb", choices=verbs)
    else:
        make: Callable[[], argparse.ArgumentParser] = partial(argparse.ArgumentParser, add_help=False)
        if words[1] in verbs:  # the benchmarks, of a checkout, have no parser here
            make = getattr(import_module(f"asteroid_stab.cli.{words[1]}"), "make_parser", make)
        parser = make()
        os.environ["_ARGCOMPLETE"] = "2"  # the number of words before the parser's own
    complete_words(parser)
    argcomplete.autocomplete(parser, always_complete_options=False)


def complete_words(parser: argparse.ArgumentParser) -> None:
    """Gives each argument of a parser, and of the parsers of its actions, the completer of its kind of word."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for other in action.choices.values():
                complete_words(other)
        elif isinstance(action.metavar, str) and (completer := _COMPLETERS.get(action.metavar)):
            action.completer = completer  # type: ignore[attr-defined]


def recipes(prefix: str, parsed_args: argparse.Namespace, **_: object) -> Iterable[str]:
    """Returns the names of recipes, the user's own with ``--config-dir`` too."""
    from asteroid_stab.errors import StabError
    from asteroid_stab.run.recipes import recipe_files

    try:
        return list(recipe_files(getattr(parsed_args, "config_dir", None)))
    except StabError:  # the folder is not there yet
        return list(recipe_files())


def training_words(prefix: str, parsed_args: argparse.Namespace, **_: object) -> Iterable[str]:
    """Returns what may be the next word of a training: a recipe, or a run to go on with or to start from."""
    for key in ("resume=", "run_dir=", "init.path="):
        if prefix.startswith(key):
            return [f"{key}{folder}" for folder in folders(prefix.removeprefix(key))]
    if any("=" not in word for word in parsed_args.arguments or []):  # the recipe is there
        return ["run_dir=", "init.path="]
    return [*recipes(prefix, parsed_args), "resume="]


def folders(prefix: str, **_: object) -> list[str]:
    """Returns the run folders that a path may go on to, and other folders, with a slash at their end."""
    place = prefix.rpartition("/")[0] + "/" if "/" in prefix else ""
    found = []
    try:
        with os.scandir(os.path.expanduser(place) or ".") as entries:
            for entry in entries:
                name = f"{place}{entry.name}"
                if name.startswith(prefix) and not entry.name.startswith(".") and entry.is_dir():
                    found.append(name if RunLayout(entry.path).config.exists() else f"{name}/")
    except OSError:  # no such folder, or not ours to read
        return []
    return found


def metrics(**_: object) -> Iterable[str]:
    """Returns the names of the metrics."""
    return METRICS


_COMPLETERS: dict[str, Callable[..., Iterable[str]]] = {  # by what a help text calls the word
    "RECIPE | KEY=VALUE": training_words,
    "RECIPE": recipes,
    "RUN": folders,
    "DIR": folders,
    "METRIC": metrics,
}
