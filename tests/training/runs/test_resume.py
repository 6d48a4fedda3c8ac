"""A stopped run resumes from its own checkpoints only; a finished run leaves none."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.config import TrainingConfig, read_config
from training.errors import RunError
from training.fit.checkpoint_dir import NO_CHECKPOINTS, CheckpointDir
from training.runs.identity import RunIdentity, identify
from training.runs.resume import RESUME_DIR_NAME, resumable
from training.storage.atomic import try_lock

SHA = "0" * 64


def identity_of(configuration: str) -> RunIdentity:
    return RunIdentity(
        configuration=configuration, index=SHA, split=None, weights="none", synthetic=None, code=SHA
    )


def write_and_stop(out: Path, identity: RunIdentity, content: bytes) -> None:
    """Write a file into the first fold and be stopped."""

    def stopped() -> None:
        with resumable(out, identity) as checkpoints:
            fold = checkpoints.subdirectory("fold-000")
            fold.write("file", lambda stream: stream.write(content))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()


def test_resumable_returns_what_was_saved_and_removes_it_when_the_run_is_finished(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    identity = identity_of("a")
    write_and_stop(tmp_path, identity, b"saved")
    with resumable(tmp_path, identity) as checkpoints:
        assert checkpoints.subdirectory("fold-000").read("file") == b"saved"
        assert checkpoints.read("file") is None
    assert "Resuming from" in capsys.readouterr().err
    assert not (tmp_path / RESUME_DIR_NAME).exists()


def test_resumable_keeps_and_names_runs_with_other_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = identity_of("a"), identity_of("b")
    write_and_stop(tmp_path, one, b"one")
    write_and_stop(tmp_path, other, b"other")
    said = " ".join(capsys.readouterr().err.split())
    assert "belongs to a run with other settings (configuration)" in said
    with resumable(tmp_path, one) as checkpoints:
        assert checkpoints.subdirectory("fold-000").read("file") == b"one"


def test_resumable_refuses_a_second_process(tmp_path: Path) -> None:
    write_and_stop(tmp_path, identity_of("a"), b"")
    with (tmp_path / RESUME_DIR_NAME / "lock").open("wb") as stream:
        assert try_lock(stream)
        with (
            pytest.raises(RunError, match="Another process"),
            resumable(tmp_path, identity_of("a")),
        ):
            pass


def test_a_folder_that_cannot_be_written_gives_a_run_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with (
        pytest.raises(RunError, match="hoose another folder"),
        resumable(tmp_path / "file", identity_of("a")),
    ):
        pass
    with pytest.raises(RunError, match="hoose another folder"):
        CheckpointDir(tmp_path / "file").write("name", lambda stream: stream.write(b""))


def test_no_checkpoints_saves_nothing() -> None:
    NO_CHECKPOINTS.write("name", lambda stream: stream.write(b"content"))
    assert NO_CHECKPOINTS.read("name") is None
    assert not NO_CHECKPOINTS.is_due


@pytest.mark.parametrize("changed", ["seed", "weights", "index", "split"])
def test_identity_names_what_differs(tiny_config: Path, tmp_path: Path, changed: str) -> None:
    weights = tmp_path / "w.h5"

    def identity(value: bytes) -> RunIdentity:
        weights.write_bytes(value if changed == "weights" else b"")
        config: TrainingConfig = read_config(tiny_config, str(weights))
        seed = len(value) if changed == "seed" else 0
        index = value.hex() if changed == "index" else SHA
        split = value.hex() if changed == "split" else SHA
        return identify(config.model_copy(update={"seed": seed}), index, split)

    one, other = identity(b"a"), identity(b"bc")
    assert one == identity(b"a")
    assert one.digest != other.digest
    name = "configuration" if changed == "seed" else changed
    assert one.differences(other.model_dump()) == [name]
