"""Every file of cluster/ is what its reader accepts, names the tested Ray, and is locked by default.

The schemas of KubeRay are those of its custom resources (`origin` in the file says which), that of `ray up`
is the one in Ray's wheel. Rules that a schema cannot hold, and the operator would tell only later, follow.
"""

from __future__ import annotations

import gzip
import itertools
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from asr_ray.doctor.versions import read_constraints

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = ROOT / "cluster"
SCHEMAS = json.loads(gzip.decompress((Path(__file__).parent / "kuberay-1.7.0-schemas.json.gz").read_bytes()))
RAY = read_constraints(ROOT / "constraints.txt")["ray"]

KUBERAY = sorted(CLUSTER.glob("kuberay-*.yaml"))
RAY_UP = [CLUSTER / "aws.yaml", CLUSTER / "gcp.yaml"]
SCRIPTS = sorted(CLUSTER.glob("*.sh"))

Tree = dict[str, Any]


def name_of(path: Path) -> str:
    return path.name


def tool(name: str) -> str:
    """A linter that was installed as a wheel, beside Python or on the path."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    assert found, f"{name} is not installed: pip install -e '.[dev]'"
    return found


def documents(path: Path) -> list[Tree]:
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def ray_resources() -> Iterator[tuple[Path, Tree]]:
    for path in KUBERAY:
        for tree in documents(path):
            if tree["apiVersion"] == "ray.io/v1":
                yield path, tree


RESOURCES = list(ray_resources())
each_resource = pytest.mark.parametrize(
    "resource", [tree for _, tree in RESOURCES], ids=[path.name for path, _ in RESOURCES]
)


def strict(schema: Any) -> Any:
    """A structural schema of Kubernetes as one of JSON that also refuses keys it does not know."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    tree = {key: strict(value) for key, value in schema.items()}
    if tree.get("x-kubernetes-int-or-string") is True:
        tree = {"type": ["integer", "string"]}
    is_open = tree.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in tree
    if isinstance(tree.get("properties"), dict) and tree.get("type") == "object" and not is_open:
        tree["additionalProperties"] = False
    return tree


def errors(resource: Tree) -> list[str]:
    schema = strict(SCHEMAS[resource["kind"]])
    # The server itself looks at the metadata, of which the schema says that it is an object.
    schema["properties"]["metadata"] = {"type": "object", "required": ["name"]}
    return [
        f"{error.json_path}: {error.message}"
        for error in jsonschema.Draft7Validator(schema).iter_errors(resource)
    ]


def cluster_spec(resource: Tree) -> Tree:
    spec: Tree = resource["spec"]
    return spec if resource["kind"] == "RayCluster" else spec["rayClusterSpec"]


def groups(resource: Tree) -> list[Tree]:
    spec = cluster_spec(resource)
    return [spec["headGroupSpec"], *spec["workerGroupSpecs"]]


def test_one_of_each_kind_is_there() -> None:
    assert {tree["kind"] for _, tree in RESOURCES} == {"RayCluster", "RayJob"}


@each_resource
def test_a_resource_fits_the_schema_of_kuberay(resource: Tree) -> None:
    assert errors(resource) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "rayVersoin"), "2.60.0"),
        (("spec", "headGroupSpec", "rayStartParams", "num-cpus"), 0),
        (("spec", "authOptions", "mode"), "tokens"),
        (("spec", "workerGroupSpecs", 0, "minReplica"), 1),
        (("spec", "workerGroupSpecs", 0, "template", "spec", "volume"), []),
    ],
)
def test_the_schema_finds_mistakes(path: tuple[Any, ...], value: object) -> None:
    resource: Any = json.loads(
        json.dumps(next(tree for _, tree in RESOURCES if tree["kind"] == "RayCluster"))
    )
    place = resource
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert len(errors(resource)) == 1


@each_resource
def test_a_resource_is_locked_and_of_the_tested_ray(resource: Tree) -> None:
    spec = cluster_spec(resource)
    assert spec["rayVersion"] == RAY
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["headGroupSpec"]["serviceType"] == "ClusterIP"
    for group in groups(resource):
        pod = group["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert all(c["securityContext"]["allowPrivilegeEscalation"] is False for c in pod["containers"])


@each_resource
def test_groups_keep_the_rules_of_the_operator(resource: Tree) -> None:
    # ray-operator/controllers/ray/utils/validation.go of KubeRay.
    assert re.fullmatch(r"[a-z]([-a-z0-9]{0,45}[a-z0-9])?", resource["metadata"]["name"])
    spec = cluster_spec(resource)
    assert spec["enableInTreeAutoscaling"] is True
    for group in groups(resource):
        assert group["template"]["spec"]["restartPolicy"] == "Never"
        assert "labels" not in group["rayStartParams"]
    for group in spec["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


@each_resource
def test_there_are_gpu_and_cpu_nodes_and_a_head_that_only_schedules(resource: Tree) -> None:
    gpus = {}
    for group in groups(resource):
        (container,) = group["template"]["spec"]["containers"]
        assert container["resources"]["limits"] == container["resources"]["requests"]
        gpus[group["labels"]["pool"]] = int(container["resources"]["limits"].get("nvidia.com/gpu", 0))
        assert {"name": "shared", "mountPath": "/mnt/shared"} in container["volumeMounts"]
        volumes = {volume["name"] for volume in group["template"]["spec"]["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    assert gpus == {"head": 0, "gpu": 4, "cpu": 0}
    assert cluster_spec(resource)["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


def test_the_cluster_that_stays_remembers_in_redis() -> None:
    every = documents(CLUSTER / "kuberay-cluster.yaml")
    kinds = {tree["kind"]: tree for tree in every}
    options = kinds["RayCluster"]["spec"]["gcsFaultToleranceOptions"]
    host, _, port = options["redisAddress"].partition(":")
    assert host == kinds["Service"]["metadata"]["name"] == kinds["StatefulSet"]["metadata"]["name"]
    assert int(port) == kinds["Service"]["spec"]["ports"][0]["port"]
    assert "valueFrom" in options["redisPassword"]
    claim = kinds["PersistentVolumeClaim"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    for _, resource in RESOURCES:
        for group in groups(resource):
            (shared, *_) = group["template"]["spec"]["volumes"]
            assert shared["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]


def test_the_job_runs_what_jobs_accept() -> None:
    # Its command is checked as a run of its own would be: against the settings.
    import shlex

    from asr_ray.config import load
    from asr_ray.settings import TrainSettings

    (job,) = (tree for _, tree in RESOURCES if tree["kind"] == "RayJob")
    words = shlex.split(job["spec"]["entrypoint"])
    assert words[:2] == ["python", "/opt/asr-ray/jobs/train.py"]
    sets = [value for flag, value in itertools.pairwise(words) if flag == "--set"]
    settings = load(ROOT / "configs" / "train.yaml", schema=TrainSettings, sets=sets).settings
    resources = settings.resources
    workers = next(g for g in cluster_spec(job)["workerGroupSpecs"] if g["groupName"] == "gpu")
    assert resources.max_workers * resources.gpus_per_worker == 4 * workers["maxReplicas"]
    assert (resources.worker_labels, resources.decode_labels) == ({"pool": "gpu"}, {"pool": "cpu"})
    assert resources.autoscaling
    assert job["spec"]["submissionMode"] == "K8sJobMode"
    assert job["spec"]["shutdownAfterJobFinishes"] is True


@pytest.mark.parametrize("path", RAY_UP, ids=name_of)
def test_a_file_for_ray_up_fits_the_schema_of_ray(path: Path) -> None:
    import ray.autoscaler

    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    (tree,) = documents(path)
    validator = jsonschema.Draft7Validator(schema)
    assert [error.message for error in validator.iter_errors(tree)] == []
    assert list(validator.iter_errors(tree | {"max_worker": 3}))


@pytest.mark.parametrize("path", RAY_UP, ids=name_of)
def test_a_file_for_ray_up_is_locked(path: Path) -> None:
    (tree,) = documents(path)
    assert tree["file_mounts"] == {"~/.ray/auth_token": "~/.ray/auth_token"}
    (head,) = (line for line in tree["head_start_ray_commands"] if "--head" in line)
    (worker,) = (line for line in tree["worker_start_ray_commands"] if "--address" in line)
    assert "RAY_AUTH_MODE=token" in head
    assert "RAY_AUTH_MODE=token" in worker
    assert "--dashboard-host=127.0.0.1" in head


@pytest.mark.parametrize("path", RAY_UP, ids=name_of)
def test_workers_of_ray_up_are_on_the_spot_market_and_start_on_demand(path: Path) -> None:
    (tree,) = documents(path)
    types: Mapping[str, Tree] = tree["available_node_types"]
    assert set(types) == {"head", "gpu", "cpu"}
    assert {name: kind["labels"]["pool"] for name, kind in types.items()} == {name: name for name in types}
    assert types["gpu"]["resources"]["GPU"] > types["cpu"]["resources"]["GPU"] == 0
    for name in ("gpu", "cpu"):
        config = types[name]["node_config"]
        spot = config.get("InstanceMarketOptions") == {"MarketType": "spot"}
        assert spot or {"preemptible": True} in config.get("scheduling", [])
        assert types[name]["min_workers"] == 0
    assert sum(types[name]["max_workers"] for name in ("gpu", "cpu")) <= tree["max_workers"]


@pytest.mark.parametrize("path", SCRIPTS, ids=name_of)
def test_scripts_pass_shellcheck(path: Path) -> None:
    done = subprocess.run([tool("shellcheck"), str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", SCRIPTS, ids=name_of)
def test_scripts_ask_for_a_token_and_leave_it_to_its_owner(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert re.search(r"^\s*export RAY_AUTH_MODE=token", text, re.MULTILINE)
    assert "umask 077" in text
    assert "--dashboard-host=0.0.0.0" not in text


def test_the_dockerfile_passes_hadolint() -> None:
    command = [tool("hadolint"), str(CLUSTER / "Dockerfile")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_image_holds_the_tested_versions_and_no_root() -> None:
    text = (CLUSTER / "Dockerfile").read_text(encoding="utf-8")
    installs = re.findall(r"pip install (?:[^\n]|\\\n)*", text)
    assert installs
    assert all("--constraint constraints.txt" in line for line in installs)
    copied = re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE)
    assert all((ROOT / name).exists() for line in copied for name in line.split())
    ignored = (CLUSTER / "Dockerfile.dockerignore").read_text(encoding="utf-8")
    assert all(f"!{name}\n" in ignored for line in copied for name in line.split())
    assert re.findall(r"^USER (.+)$", text, re.MULTILINE)[-1] == "1000"
    assert "RAY_AUTH_MODE=token" in text


def test_every_file_names_the_tested_ray_or_none() -> None:
    named = {
        (path.name, version)
        for path in [*CLUSTER.iterdir(), *(ROOT / "docs").glob("*.md")]
        if path.is_file() and path.suffix != ".png"
        for version in re.findall(
            r"\bray(?:Version:|==| )\s*v?(2\.\d+\.\d+)", path.read_text(encoding="utf-8")
        )
    }
    assert {version for _, version in named} == {RAY}
    assert {"aws.yaml", "gcp.yaml", "kuberay-cluster.yaml", "kuberay-job.yaml"} <= {name for name, _ in named}


def test_the_table_names_every_file() -> None:
    readme = (CLUSTER / "README.md").read_text(encoding="utf-8")
    files = {path.name for path in CLUSTER.iterdir()} - {"README.md", "Dockerfile.dockerignore"}
    assert not {name for name in files if f"({name})" not in readme}
