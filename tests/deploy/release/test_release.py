"""`make release` on a small repository: everything comes from the tag, or nothing is released."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from deploy.release.errors import NotAuditedError, ReleaseError
from deploy.release.locks import lock_path, read_lock
from deploy.release.programs import run
from deploy.release.release import Options, Release
from deploy.release.tag import check_environment, check_out, check_version, read_tag
from tests.contract.pages import code_blocks
from tests.contract.shell import run_shell
from tests.deploy.release.made_repository import TAG, commit, git, make_repository, run_command
from tests.deploy.release.osv import DOCUMENTED, osv_server


def require(program: str, package: str) -> None:
    """Skip where a program is missing; in CI it must be there."""
    if not shutil.which(program):
        assert not os.environ.get("REQUIRE_CLIENT_TOOLS"), f"{program} is missing"
        pytest.skip(f"{program} is missing: apt-get install {package}")


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a release, made and signed as the page says, and with the public key."""
    require("openssl", "openssl")
    folder = tmp_path_factory.mktemp("release")
    repository = make_repository(folder / "repository")
    making, *_ = code_blocks("docs/supply-chain.md", "sh")
    run_shell(making, repository)
    typed, *_ = code_blocks("docs/supply-chain.md", "")
    printed = re.fullmatch(rf'make release TAG={re.escape(TAG)} OPTIONS="(.*)"\n', typed)
    assert printed
    with osv_server(DOCUMENTED) as (url, _):
        options = (*shlex.split(printed[1]), "--no-image", "--osv-url", url)
        done = run_command(repository, "release", TAG, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    out = repository / "dist" / TAG
    (out / "checklist").write_text(done.stdout)
    (folder / "release-key.pub").replace(out / "release-key.pub")
    return out


def test_release_prints_the_checklist_of_the_page(released: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "supply-chain.md").read_text()
    rows = [line.split(maxsplit=1) for line in (released / "checklist").read_text().splitlines()]
    names = [rest.split()[0] for state, rest in rows[:13]]
    assert [state for state, _ in rows[:13]] == ["done"] * 9 + ["skipped"] + ["done"] * 3
    positions = [page.index(f"| `{name}` |") for name in names]
    assert positions == sorted(positions)


def test_release_holds_what_was_committed(released: Path) -> None:
    (wheel,) = released.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert b"Version: 1.2.0" in archive.read("osteo_tiles-1.2.0.dist-info/METADATA")
        assert {entry.date_time for entry in archive.infolist()} == {(2026, 1, 2, 3, 4, 4)}
    with tarfile.open(released / "osteo-mobilenetv2-4.tar") as packed:
        names = packed.getnames()
    assert "models/osteo-mobilenetv2/4/model.tflite" in names


def test_release_can_be_verified_as_the_page_says(released: Path) -> None:
    _, verifying, *_ = code_blocks("docs/supply-chain.md", "sh")
    said = run_shell(verifying, released)
    assert "Signature Verified Successfully" in said
    assert said.count(": OK") == len(list(released.glob("*"))) - 4  # sums, sig, key, checklist


def test_verification_fails_when_a_file_or_the_list_was_changed(
    released: Path, tmp_path: Path
) -> None:
    _, verifying, *_ = code_blocks("docs/supply-chain.md", "sh")
    for name in ("sbom-serve.cdx.json", "SHA256SUMS"):
        folder = tmp_path / name
        shutil.copytree(released, folder)
        with (folder / name).open("a") as stream:
            stream.write("\n")
        with pytest.raises(AssertionError, match=r"FAILED|Verification Failure"):
            run_shell(verifying, folder)


def test_release_can_be_signed_with_minisign_as_the_page_says(
    released: Path, tmp_path: Path
) -> None:
    require("minisign", "minisign")
    *_, signing = code_blocks("docs/supply-chain.md", "sh")
    shutil.copy(released / "SHA256SUMS", tmp_path)
    signing = signing.replace("minisign -G", "minisign -G -W")  # it would ask for a password
    assert "Signature and comment signature verified" in run_shell(signing, tmp_path)


def test_provenance_names_inputs_outputs_and_what_was_left_out(released: Path) -> None:
    statement = json.loads((released / "provenance.json").read_text())
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    subjects = {one["name"]: one["digest"]["sha256"] for one in statement["subject"]}
    later = {"provenance.json", "SHA256SUMS", "SHA256SUMS.sig", "release-key.pub", "checklist"}
    assert subjects == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in released.iterdir()
        if path.name not in later
    }
    build, made = (statement["predicate"][name] for name in ("buildDefinition", "runDetails"))
    assert made["builder"]["id"] == "https://ci.example/release"
    assert build["internalParameters"]["checks"]["images"] == "skipped: --no-image"
    repository = released.parents[1]
    source, *inputs = build["resolvedDependencies"]
    assert source["digest"]["gitCommit"] == git(repository, "rev-parse", TAG)
    locks = {one["name"]: one["digest"]["sha256"] for one in inputs}
    for name in ("serve", "gpu", "train", "dev"):
        content = lock_path(repository, name).read_bytes()
        assert locks[f"requirements/{name}.lock"] == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(("target", "step"), [("lint", "lint"), ("attack", "tests")])
def test_nothing_is_released_when_a_check_fails(tmp_path: Path, target: str, step: str) -> None:
    repository = make_repository(tmp_path / "x", **{f"broken-{target}": ""})
    shown: list[str] = []
    release = Release(repository, TAG, tmp_path / "out", Options(no_image=True))
    with pytest.raises(ReleaseError, match=f"`make {target} "):
        release.run(shown.append)
    states = {line[13:].split()[0]: line[:12].strip() for line in shown}
    assert states[step] == "FAILED"
    assert states["wheel"] == states["checksums"] == "not reached"
    assert not list((tmp_path / "out").iterdir())


@pytest.fixture
def unreachable(_forked_pip_audit: None) -> str:
    """Address of a database of vulnerabilities that has ended."""
    with osv_server({}) as (url, _):
        return url


def test_an_impossible_audit_stops_the_release(tmp_path: Path, unreachable: str) -> None:
    options = Options(no_image=True, skip_tests=True, osv_url=unreachable)
    with pytest.raises(NotAuditedError):
        Release(make_repository(tmp_path / "x"), TAG, tmp_path / "out", options).run(lambda _: None)


def test_a_key_that_cannot_sign_stops_the_release_before_anything_is_built(
    tmp_path: Path,
) -> None:
    repository, out, key = make_repository(tmp_path / "x"), tmp_path / "out", tmp_path / "key.pem"
    key.write_text("no key")
    options = Options(no_image=True, skip_tests=True, signing_key=key)
    with pytest.raises(ReleaseError, match="is not a private key in PEM"):
        Release(repository, TAG, out, options).run(lambda _: None)
    assert not out.exists()


def test_an_unaudited_release_says_so_and_has_no_checksums_when_it_cannot_be_signed(
    tmp_path: Path, unreachable: str
) -> None:
    require("openssl", "openssl")
    repository, out, key = make_repository(tmp_path / "x"), tmp_path / "out", tmp_path / "key.pem"
    run("openssl", "genpkey", "-algorithm", "ed25519", "-out", key)

    def be_in_the_way(line: str) -> None:
        if line.split()[:2] == ["done", "checksums"]:
            (out / "SHA256SUMS.sig").mkdir()

    options = Options(
        no_image=True,
        skip_tests=True,
        allow_unaudited=True,
        osv_url=unreachable,
        signing_key=key,
    )
    with pytest.raises(ReleaseError, match=r"SHA256SUMS\.sig cannot be written"):
        Release(repository, TAG, out, options).run(be_in_the_way)
    assert not (out / "SHA256SUMS").exists()
    statement = json.loads((out / "provenance.json").read_text())
    states = statement["predicate"]["buildDefinition"]["internalParameters"]["checks"]
    assert states["tests"] == "skipped: --skip-tests"
    assert states["audit"].startswith("skipped: --allow-unaudited; not audited")


def test_the_command_fails_when_a_step_fails(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "x", version="1.1.0")
    done = run_command(repository, "release", TAG)
    assert (done.returncode, done.stderr) == (1, "\nv1.2.0 is not released.\n")
    assert "FAILED       version        app/__init__.py has version 1.1.0" in done.stdout


def test_a_folder_with_another_release_is_not_added_to(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "x")
    (tmp_path / "old.whl").write_text("")
    with pytest.raises(ReleaseError, match="is not empty"):
        Release(repository, TAG, tmp_path, Options()).run(lambda _: None)


def test_read_tag_refuses_a_tree_that_is_not_the_tag(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "x")
    assert read_tag(repository, TAG).created == "2026-01-02T03:04:05Z"
    with pytest.raises(ReleaseError, match=r"'1.2' is not a release tag"):
        read_tag(repository, "1.2")
    with pytest.raises(ReleaseError, match=r"There is no tag v9\.0\.0"):
        read_tag(repository, "v9.0.0")
    (repository / "new.py").write_text("")
    with pytest.raises(ReleaseError, match=r"(?s)differs from v1.2.0.*new\.py"):
        read_tag(repository, TAG)
    commit(repository)
    with pytest.raises(ReleaseError, match=r"is checked out: git switch --detach refs/tags/v1.2.0"):
        read_tag(repository, TAG)


def test_check_out_takes_the_tag_and_not_a_branch_of_the_same_name(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "x")
    tag = read_tag(repository, TAG)
    git(repository, "switch", "--quiet", "--create", TAG)
    (repository / "CITATION.cff").write_text("version: 6.6.6\n")
    commit(repository)
    check_out(repository, tag, tmp_path / "checkout")
    assert git(tmp_path / "checkout", "rev-parse", "HEAD") == tag.commit
    check_version(tmp_path / "checkout", tag)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("app/__init__.py", '__version__ = "1.1.0"\n', "app/__init__.py has version 1.1.0"),
        ("CITATION.cff", "version: 1.1.0\n", "CITATION.cff has version 1.1.0"),
        ("CHANGELOG.md", "## Unreleased\n", "CHANGELOG.md has no section `## 1.2.0`"),
    ],
)
def test_check_version_refuses_another(
    tmp_path: Path, name: str, content: str, problem: str
) -> None:
    repository = make_repository(tmp_path / "x", **{name: content})
    with pytest.raises(ReleaseError, match=problem):
        check_version(repository, read_tag(repository, TAG))


def test_check_environment_refuses_other_versions(tmp_path: Path) -> None:
    path = tmp_path / "dev.lock"
    path.write_text(f"idna==0.1 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(ReleaseError, match=r"differs from .*idna [\d.]+, not 0\.1"):
        check_environment(read_lock(path))


def test_git_ignores_nothing_that_is_released(released: Path) -> None:
    done = subprocess.run(
        ["git", "status", "--porcelain"],  # noqa: S607 # found in the PATH
        cwd=released.parents[1],
        check=True,
        capture_output=True,
    )
    assert done.stdout == b""  # the release itself left the working tree clean
