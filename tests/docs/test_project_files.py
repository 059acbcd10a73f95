"""The files that GitHub, pip and Docker read are well formed and agree with the project."""

import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
YAML = [
    *ROOT.glob(".github/**/*.yml"),
    *ROOT.glob("docker/**/*.yaml"),
    *ROOT.glob("docs/**/*.yaml"),
    ROOT / ".pre-commit-config.yaml",
]


@pytest.mark.parametrize("path", [pytest.param(path, id=str(path.relative_to(ROOT))) for path in sorted(YAML)])
def test_yaml_is_a_mapping(path: Path) -> None:
    assert isinstance(yaml.safe_load(path.read_text()), dict)


def test_the_ci_matrix_has_every_python_version_of_the_classifiers() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    prefix = "Programming Language :: Python :: 3."
    named = {line.removeprefix(prefix) for line in project["classifiers"] if line.startswith(prefix)}
    matrix = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["test"]["strategy"]["matrix"]
    assert named
    assert named <= {version.removeprefix("3.") for version in matrix["python"]}


def test_the_licence_is_the_one_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (ROOT / "LICENSE").read_text().startswith(f"{project['license']} License")
