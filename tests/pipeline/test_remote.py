"""Outputs that go to a DVC remote and come back in another clone, where nothing is run again."""

from pathlib import Path

from tests.miniature.project import Project, stages_run


def test_a_clone_pulls_what_was_pushed_and_runs_nothing(project: Project, tmp_path: Path) -> None:
    store = tmp_path / "store"
    assert project.dvc("remote", "add", "--default", "store", str(store)).returncode == 0
    pushed = project.dvc("push")
    assert pushed.returncode == 0, pushed.stderr
    project.commit("Where outputs lie")

    project.git("clone", "--quiet", ".", str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    assert not (clone.root / "models").exists()
    pulled = clone.dvc("pull")
    assert pulled.returncode == 0, pulled.stderr
    assert clone.sums() == project.sums()
    again = clone.dvc("repro", "--dry")
    assert (again.returncode, stages_run(again)) == (0, []), again.stdout
