"""The generated Python is what protos/courses.proto says."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
GENERATED = ["courses_pb2.py", "courses_pb2.pyi", "courses_pb2_grpc.py"]


def test_generating_again_changes_nothing(tmp_path: Path) -> None:
    out = [f"--{kind}_out={tmp_path}" for kind in ("python", "pyi", "grpc_python")]
    # protoc finds protos/ under the name course/, which makes it the package that the generated modules import.
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-Icourse={ROOT / 'protos'}", *out, "course/courses.proto"]
    subprocess.run(command, check=True)
    for name in GENERATED:
        assert (tmp_path / "course" / name).read_text() == (ROOT / "services/course" / name).read_text(), (
            f"services/course/{name} is out of date: run {' '.join(command)}"
        )


@pytest.mark.parametrize("name", GENERATED)
def test_the_generated_files_are_there(name: str) -> None:
    assert (ROOT / "services/course" / name).is_file()
