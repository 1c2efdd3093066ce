"""environment.yml, pyproject.toml and the lock say the same; the package stays light to import."""

import json
import subprocess
import sys
import tomllib

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from ecglib.paths import project_root

ROOT = project_root()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = [
    Requirement(line)
    for line in (ROOT / "requirements/lock.txt").read_text().splitlines()
    if line and not line.startswith("#")
]


def test_environment_yml_holds_python_pip_and_nothing_that_can_drift():
    *conda, pip = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert [entry.split("=")[0] for entry in conda] == ["python", "pip"]
    version = conda[0].split("=")[1]
    assert Version(version) in SpecifierSet(PROJECT["requires-python"])
    constraint, editable = pip["pip"]
    assert (ROOT / constraint.removeprefix("-c ")).is_file()
    wanted = Requirement(editable.replace("-e .", PROJECT["name"]))
    assert wanted.extras <= PROJECT["optional-dependencies"].keys()


def test_every_dependency_is_satisfied_by_the_lock():
    locked = {}
    for requirement in LOCK:
        locked.setdefault(requirement.name.lower().replace("_", "-"), []).append(requirement.specifier)
    extras = [dep for group in PROJECT["optional-dependencies"].values() for dep in group]
    for dependency in map(Requirement, PROJECT["dependencies"] + extras):
        name = dependency.name.lower().replace("_", "-")
        assert name in locked, f"{name} is not in requirements/lock.txt: make the lock anew"
        for specifier in locked[name]:
            (pin,) = specifier
            assert pin.operator == "=="
            assert Version(pin.version) in dependency.specifier
    justified = (ROOT / "requirements/README.md").read_text()
    for dependency in map(Requirement, PROJECT["dependencies"] + extras):
        assert dependency.name in justified, f"requirements/README.md does not say why {dependency.name} is needed"


def test_lock_names_no_local_wheel_and_no_torchvision():
    names = {requirement.name.lower() for requirement in LOCK}
    assert not names & {"torchvision", "torchaudio", "timm", "lightly"}
    torch = next(r for r in LOCK if r.name == "torch")
    assert str(torch.specifier) == "==2.13.0"


def test_import_is_light():
    """`import ecglib` and the label tables need neither torch nor pandas."""
    code = (
        "import sys, json, ecglib, ecglib.paths, ecglib.errors, ecglib.data.labels, ecglib._papermill_argv;"
        "heavy = {'torch', 'transformers', 'pandas', 'scipy', 'wfdb', 'matplotlib', 'sklearn', 'numpy'};"
        "print(json.dumps(sorted(heavy & set(sys.modules))))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert set(json.loads(output)) <= {"numpy"}
