"""What a stopped run keeps: never mixed with other settings, gone when the run is finished."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.config import TrainingConfig, read_config
from training.errors import RunError
from training.runs.identity import RunIdentity, identify
from training.runs.resume import NOTHING_KEPT, UNFINISHED_NAME, Work, kept_work
from training.storage.atomic import try_lock

SHA = "0" * 64


def identity_of(configuration: str) -> RunIdentity:
    return RunIdentity(
        configuration=configuration, index=SHA, split=None, weights="none", synthetic=None, code=SHA
    )


def keep(out: Path, identity: RunIdentity, content: bytes) -> None:
    """Keep a file and be stopped."""

    def stopped() -> None:
        with kept_work(out, identity) as work:
            work.within("fold-000").write("file", lambda stream: stream.write(content))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()


def test_kept_work_goes_on_and_is_gone_when_the_run_is_finished(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    identity = identity_of("a")
    keep(tmp_path, identity, b"kept")
    with kept_work(tmp_path, identity) as work:
        assert work.within("fold-000").read("file") == b"kept"
        assert work.read("file") is None
    assert "Going on with what is kept" in capsys.readouterr().err
    assert not (tmp_path / UNFINISHED_NAME).exists()


def test_work_of_other_settings_is_left_alone_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = identity_of("a"), identity_of("b")
    keep(tmp_path, one, b"one")
    keep(tmp_path, other, b"other")
    said = " ".join(capsys.readouterr().err.split())
    assert "kept from a run with other settings (configuration)" in said
    with kept_work(tmp_path, one) as work:
        assert work.within("fold-000").read("file") == b"one"


def test_one_process_at_a_time_works_in_a_folder(tmp_path: Path) -> None:
    keep(tmp_path, identity_of("a"), b"")
    with (tmp_path / UNFINISHED_NAME / "lock").open("wb") as stream:
        assert try_lock(stream)
        with (
            pytest.raises(RunError, match="Another process"),
            kept_work(tmp_path, identity_of("a")),
        ):
            pass


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RunError, match="Make room"), kept_work(tmp_path / "file", identity_of("a")):
        pass
    with pytest.raises(RunError, match="Make room"):
        Work(tmp_path / "file").write("name", lambda stream: stream.write(b""))


def test_nothing_kept_keeps_nothing() -> None:
    NOTHING_KEPT.write("name", lambda stream: stream.write(b"content"))
    assert NOTHING_KEPT.read("name") is None
    assert not NOTHING_KEPT.is_due


@pytest.mark.parametrize("changed", ["seed", "weights", "index", "split"])
def test_identity_says_what_has_changed(tiny_config: Path, tmp_path: Path, changed: str) -> None:
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
