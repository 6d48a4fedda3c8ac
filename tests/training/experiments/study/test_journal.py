from __future__ import annotations

import os
from pathlib import Path

import pytest

from training.errors import RunError
from training.experiments.study.design import NetworkSpec, RunSpec, SplitSpec
from training.experiments.study.journal import FinishedRun, open_journal, read_journal


def record(number: int) -> FinishedRun:
    spec = RunSpec(
        index_sha256="index",
        network=NetworkSpec(system="mobilenetv2", weights="none", side_px=64),
        views=None,
        split=SplitSpec(kind="random", n_folds=1, seed=0),
        hidden_units=1,
        batch_size=1,
        learning_rate=0.1,
        epochs=2,
        seed=(number,),
    )
    return FinishedRun(
        key=spec.key,
        spec=spec,
        n_train=3,
        n_test=1,
        loss=(1.0, 0.5),
        accuracy=(0.3, 0.6),
        test_loss=(1.0, 0.9),
        test_accuracy=(1.0, 0.0),
        confusion=((0, 1, 0), (0, 0, 0), (0, 0, 0)),
        best_epoch=1,
        best_confusion=((1, 0, 0), (0, 0, 0), (0, 0, 0)),
        test=("tile",),
        logits=((0.1, 0.2, 0.3),),
        seconds=0.1,
    )


def test_journal_returns_records_after_reopening(tmp_path: Path) -> None:
    with open_journal(tmp_path / "new") as journal:
        journal.append([record(1), record(2)])
        assert journal.get(record(1).key) == record(1)
    with open_journal(tmp_path / "new") as journal:
        assert journal.get(record(2).key) == record(2)
        assert journal.get(record(3).key) is None
    assert record(1).last_accuracy == 0.0
    assert record(1).best_accuracy == 1.0


def test_every_cut_of_the_last_line_loses_that_run_only(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        journal.append([record(1)])
        journal.append([record(2)])
    content = journal.path.read_bytes()
    end = content.index(b"\n") + 1
    for cut in (end, end + 1, end + 200, len(content) - 2, len(content) - 1):
        journal.path.write_bytes(content[:cut])
        with open_journal(tmp_path) as opened:
            assert opened.get(record(1).key) is not None
            assert opened.get(record(2).key) is None
            opened.append([record(2)])
        assert journal.path.read_bytes() == content


def test_journal_reports_a_damaged_line_and_drops_its_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_journal(tmp_path) as journal:
        journal.append([record(1), record(2)])
    journal.path.write_bytes(b"{" + journal.path.read_bytes())
    assert set(read_journal(tmp_path)) == {record(2).key}
    assert "1 damaged line; that run is done again" in capsys.readouterr().err


def test_two_processes_cannot_write_one_journal(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        journal.append([record(1)])
        with pytest.raises(RunError, match="Another process is using"):
            open_journal(tmp_path)
        assert set(read_journal(tmp_path)) == {record(1).key}
    open_journal(tmp_path).__exit__()


def test_a_full_disk_leaves_the_journal_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_journal(tmp_path) as journal:
        journal.append([record(1)])
        before = journal.path.read_bytes()
        write = os.write

        def fill_up(file: int, content: bytes) -> int:
            monkeypatch.setattr(os, "write", refuse)
            return write(file, content[:100])

        def refuse(*_: object) -> int:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "write", fill_up)
        with pytest.raises(RunError, match=r"No space left on device.*resumes where it stopped"):
            journal.append([record(2)])
        monkeypatch.undo()
        assert journal.path.read_bytes() == before
        assert journal.get(record(2).key) is None
