"""Outputs that go to a DVC remote and come back in another clone, where nothing is run again."""

from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from tests.miniature.project import Project, stages_run

pytestmark = pytest.mark.pipeline


def test_a_clone_pulls_what_was_pushed_and_runs_nothing(project: Project, tmp_path: Path) -> None:
    assert project.dvc("remote", "add", "--default", "store", str(tmp_path / "store")).returncode == 0
    assert_goes_through_the_remote(project, tmp_path / "clone", {})


def test_so_it_is_with_s3(project: Project, tmp_path: Path) -> None:
    """A server on this machine, where `dvc-s3` and `moto[server]` are installed; neither is in the locks."""
    pytest.importorskip("dvc_s3", reason="dvc-s3 is not installed")
    server = pytest.importorskip("moto.server", reason="moto[server] is not installed").ThreadedMotoServer(port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        address = f"http://{host}:{port}"
        urlopen(Request(f"{address}/outputs", method="PUT")).close()  # the bucket
        assert project.dvc("remote", "add", "--default", "store", "s3://outputs/candor").returncode == 0
        assert project.dvc("remote", "modify", "store", "endpointurl", address).returncode == 0
        keys = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing", "AWS_DEFAULT_REGION": "us-east-1"}
        assert_goes_through_the_remote(project, tmp_path / "clone", keys)
    finally:
        server.stop()


def assert_goes_through_the_remote(project: Project, folder: Path, variables: dict[str, str]) -> None:
    pushed = project.dvc("push", variables=variables)
    assert pushed.returncode == 0, pushed.stderr
    project.commit("Where outputs lie")

    project.git("clone", "--quiet", ".", str(folder))
    clone = Project(folder)
    assert not (clone.root / "models/base").exists()
    pulled = clone.dvc("pull", variables=variables)
    assert pulled.returncode == 0, pulled.stderr
    assert clone.sums() == project.sums()
    again = clone.dvc("repro", "--dry")
    assert (again.returncode, stages_run(again)) == (0, []), again.stdout
