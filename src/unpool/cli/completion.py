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
_FIRST = ("--help", "--version", "--debug")  # before a verb
_OF_NETWORKS = ("attribution", "deconvnet", "dense", "features")  # views of a run, or of a network with weights
_ZSH = "autoload -U +X compinit && compinit -u\nautoload -U +X bashcompinit && bashcompinit\n"
_SCRIPT = """_unpool() {
    local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}" verb="" count=0 i word
    local words="" first="" rest="" options="" folders=""
    COMPREPLY=()
    if [ "$cur" = "=" ] || [ "$prev" = "=" ]; then return; fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        word="${COMP_WORDS[i]}"
        case " @TAKES@ " in *" ${COMP_WORDS[i-1]} "*) continue ;; esac
        case "$verb $word" in
        *" -"*) ;;
        " "*) verb="$word" ;;
@DEEPER@
        *) count=$((count + 1)) ;;
        esac
    done
    case "$verb $prev" in
@VALUES@
    *)
        case "$verb" in
        "") first="@VERBS@" options="@FIRST@" ;;
@WORDS@
        esac
        case "$count $cur" in
        *" -"*) words="$options" ;;
        "0 "*) words="$first" ;;
        *) words="$rest" folders="" ;;
        esac ;;
    esac
    COMPREPLY=( $(compgen -W "$words" -- "$cur") )
    case "${COMPREPLY[0]}" in *=) type compopt > /dev/null 2>&1 && compopt -o nospace ;; esac
    if [ "$folders" ]; then
        local IFS=$'\\n'
        COMPREPLY+=( $(compgen -d -- "$cur") )
        type compopt > /dev/null 2>&1 && compopt -o filenames
    fi
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
    asked = ("predict", "evaluate", *(f"show {name}" for name in _OF_NETWORKS))
    first = {**dict.fromkeys(("train", "recipes", "find-lr"), recipe_names()), "show": SHOWN, "summary": networks}
    first |= {"models": {**_tasks(), **networks}, "completion": SHELLS, **dict.fromkeys(asked, published)}
    rest = {"train": keys, "find-lr": keys, "evaluate": [key for key in keys if key.startswith("data.")]}
    deeper = {f"show {name}": module for name, module in SHOWN.items()}
    values, words, takes = [], [], set()
    for verb, module in {**VERBS, **deeper}.items():
        actions = [action for action in module.parser()._actions if action.option_strings]
        names = [name for action in actions for name in action.option_strings]
        takes |= {name for action in actions if action.nargs != 0 for name in action.option_strings}
        values += [_value(f"{verb} {name}", action) for action in actions for name in action.option_strings]
        lists = {"first": first.get(verb, ()), "rest": rest.get(verb, ()), "options": names}
        lists["folders"] = ["yes"] if verb in asked else []
        texts = " ".join(f'{name}="{" ".join(one)}"' for name, one in lists.items())
        words.append(f'        "{verb}") {texts} ;;')
    parts = {"TAKES": " ".join(sorted(takes)), "VALUES": "\n".join(filter(None, values)), "WORDS": "\n".join(words)}
    parts |= {"VERBS": " ".join([*VERBS, *_FIRST]), "FIRST": " ".join(_FIRST)}
    parts["DEEPER"] = "\n".join(f'        "{verb}") verb="{verb}" ;;' for verb in deeper)
    script = _SCRIPT
    for name, text in parts.items():
        script = script.replace(f"@{name}@", text)
    return script


def _value(pattern: str, action: Action) -> str:
    """What follows an option that takes a value: one of its choices, or a file; empty for a switch."""
    return "" if action.nargs == 0 else f'    "{pattern}") words="{" ".join(map(str, action.choices or ()))}" ;;'


def _keys() -> list[str]:
    from unpool.recipe.listed import listed_rows
    from unpool.recipe.overrides import SECTION_CLASSES

    keys = [f"{section}.{key}=" for section, kind in SECTION_CLASSES.items() for key in kind.model_fields]
    for section, rows in listed_rows().items():
        keys += [f"{section}.{key}=" for row in rows.values() for key in row.options]
    return list(dict.fromkeys(keys))


def _tasks() -> dict[str, None]:
    from unpool.recipe.listed import listed_rows

    return dict.fromkeys(listed_rows()["task"])
