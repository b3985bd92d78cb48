"""`unpool completion`: a script that completes verbs, options, recipes, networks and keys in a shell.

The script holds all names, so that a press of Tab starts no Python.
"""

from argparse import Action, Namespace
from collections.abc import Sequence

from unpool.cli.console import write_result
from unpool.cli.parser import Parser
from unpool.network_names import listed_networks

ABOUT = "print a script for completion with Tab: bash or zsh"
DETAILS = """bash: echo 'source <(unpool completion bash)' >> ~/.bashrc
zsh:  echo 'source <(unpool completion zsh)' >> ~/.zshrc"""
SHELLS = ("bash", "zsh")
_ZSH = "autoload -U +X compinit && compinit -u\nautoload -U +X bashcompinit && bashcompinit\n"
_SCRIPT = """_unpool() {
    local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}" verb="${COMP_WORDS[1]}"
    local words="" first="" rest="" options=""
    COMPREPLY=()
    if [ "$cur" = "=" ] || [ "$prev" = "=" ]; then return; fi
    case "$verb $prev" in
@VALUES@
    *)
        case "$verb" in
@WORDS@
        esac
        case "$COMP_CWORD $cur" in
        "1 "*) words="@VERBS@" ;;
        *" -"*) words="$options" ;;
        "2 "*) words="$first" ;;
        *) words="$rest" ;;
        esac ;;
    esac
    COMPREPLY=( $(compgen -W "$words" -- "$cur") )
    case "${COMPREPLY[0]}" in *=) type compopt > /dev/null 2>&1 && compopt -o nospace ;; esac
}
complete -o bashdefault -o default -F _unpool unpool"""


def parser() -> Parser:
    """Returns the parser of the arguments."""
    verb = Parser("completion", ABOUT, details=DETAILS)
    verb.add_argument("shell", choices=SHELLS, help="whose script to print")
    return verb


def run(values: Namespace) -> int:
    """Prints the script and returns 0."""
    if values.shell == "zsh":  # which would put a space behind a key's "="
        write_result(_ZSH + _script(keys=[]))
    else:
        write_result(_script(keys=_keys()))
    return 0


def _script(*, keys: Sequence[str]) -> str:
    from unpool.cli.show import SHOWN
    from unpool.cli.verbs import VERBS
    from unpool.recipe import recipe_names

    networks = listed_networks()
    published = [name for name, known in networks.items() if known.weights]
    first = {"train": recipe_names(), "recipes": recipe_names(), "show": SHOWN, "summary": networks}
    first |= {"models": networks, "predict": published, "evaluate": published, "completion": SHELLS}
    rest = {"train": keys}
    values, words = [], []
    for verb, module in VERBS.items():
        actions = [action for action in module.parser()._actions if action.option_strings]
        names = [name for action in actions for name in action.option_strings]
        values += [_value(f"{verb} {name}", action) for action in actions for name in action.option_strings]
        lists = {"first": first.get(verb, ()), "rest": rest.get(verb, ()), "options": names}
        words.append(f"        {verb}) " + " ".join(f'{name}="{" ".join(one)}"' for name, one in lists.items()) + " ;;")
    script = _SCRIPT.replace("@VERBS@", " ".join([*VERBS, "--help", "--version"]))
    return script.replace("@VALUES@", "\n".join(filter(None, values))).replace("@WORDS@", "\n".join(words))


def _value(pattern: str, action: Action) -> str:
    """What follows an option that takes a value: one of its choices, or a file; empty for a switch."""
    return "" if action.nargs == 0 else f'    "{pattern}") words="{" ".join(map(str, action.choices or ()))}" ;;'


def _keys() -> list[str]:
    from unpool.recipe.overrides import SECTION_CLASSES

    return [f"{section}.{key}=" for section, kind in SECTION_CLASSES.items() for key in kind.model_fields]
