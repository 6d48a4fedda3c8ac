"""Make a release from a tag: every step that docs/supply-chain.md lists, in its order."""

from __future__ import annotations

import datetime
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from deploy.release.artifacts import (
    build_wheel,
    pack_bundle,
    sha256_of,
    shipped_bundle,
    write_sums,
)
from deploy.release.audit import OSV_URL, audit, read_accepted
from deploy.release.checklist import Checklist, SkippedError
from deploy.release.documents import write_boms, write_image_documents, write_licences
from deploy.release.errors import NotAuditedError, ReleaseError
from deploy.release.images import TARGETS, Image, find_engine
from deploy.release.locks import ALL_NAMES, NAMES, lock_path, read_lock, read_locks
from deploy.release.programs import run
from deploy.release.provenance import (
    NOT_NAMED,
    Build,
    lock_materials,
    provenance,
    write_provenance,
)
from deploy.release.signing import read_key, sign
from deploy.release.tag import Tag, check_environment, check_out, check_version, read_tag


@dataclass(frozen=True, slots=True)
class Options:
    """What the command was told; docs/supply-chain.md describes each."""

    builder: str = NOT_NAMED
    source_url: str | None = None
    skip_tests: bool = False
    allow_unaudited: bool = False
    no_image: bool = False
    targets: tuple[str, ...] = ("cpu",)
    build_args: dict[str, str] = field(default_factory=dict)
    build_options: tuple[str, ...] = ()
    signing_key: Path | None = None
    osv_url: str = OSV_URL

    def parameters(self) -> dict[str, Any]:
        """For the provenance: everything but the path of the key."""
        given = {name: value for name, value in asdict(self).items() if name != "signing_key"}
        return {**given, "signed": self.signing_key is not None}


class Release:
    """The steps. Each uses what those before it left in `tag`, `checkout` and `out`."""

    def __init__(self, repository: Path, tag_name: str, out: Path, options: Options) -> None:
        """Prepare; `run` starts."""
        self._repository = repository
        self._tag_name = tag_name
        self._out = out
        self._options = options
        self._started = datetime.datetime.now(datetime.UTC)
        self._materials: dict[str, str] = {}
        self._images: dict[str, str] = {}

    def run(self, show: Callable[[str], None]) -> None:
        """Run all steps.

        Args:
            show: takes a line about each step.

        Raises:
            ReleaseError: a step failed, so the folder has no checksums and is no release.
        """
        with tempfile.TemporaryDirectory(prefix="release-") as folder:
            self._checkout = Path(folder) / "checkout"
            self._checklist = Checklist(
                {
                    "tag": self._check_tag,
                    "version": self._check_version,
                    "environment": self._check_environment,
                    "lint": self._lint,
                    "tests": self._test,
                    "audit": self._audit,
                    "wheel": self._build_wheel,
                    "bundle": self._pack_bundle,
                    "documents": self._write_documents,
                    "images": self._build_images,
                    "provenance": self._write_provenance,
                    "checksums": self._write_sums,
                    "signature": self._sign,
                },
                show,
            )
            self._checklist.run()

    def _check_tag(self) -> str:
        self._tag: Tag = read_tag(self._repository, self._tag_name)
        key_path = self._options.signing_key
        self._key = read_key(key_path) if key_path else None
        if self._out.exists() and any(self._out.iterdir()):
            raise ReleaseError(f"{self._out} is not empty; remove it, or name another with --out")
        self._out.mkdir(parents=True, exist_ok=True)
        check_out(self._repository, self._tag, self._checkout)
        return f"{self._tag.name} is commit {self._tag.commit}, and the working tree is clean"

    def _check_version(self) -> str:
        check_version(self._checkout, self._tag)
        self._materials = lock_materials(self._checkout, ALL_NAMES)
        return f"{self._tag.version} in app/__init__.py, CITATION.cff and CHANGELOG.md"

    def _check_environment(self) -> str:
        pins = read_lock(lock_path(self._checkout, "dev"))
        check_environment(pins)
        return f"{len(pins)} packages as in requirements/dev.lock"

    def _lint(self) -> str:
        self._make("lint")
        return "make lint"

    def _test(self) -> str:
        if self._options.skip_tests:
            raise SkippedError("--skip-tests")
        targets = ("test", "test-exhaustive", "attack")
        for target in targets:
            self._make(target)
        return f"make {' '.join(targets)}"

    def _make(self, target: str) -> None:
        """Run a target in the checkout, with this environment, which is not installed again."""
        stamp = f"--old-file={sys.prefix}/dev.stamp"
        search = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
        run("make", target, f"VENV={sys.prefix}", stamp, cwd=self._checkout, environ=search)

    def _audit(self) -> str:
        pins = read_locks(self._checkout)
        today = self._started.date()
        try:
            accepted = audit(pins, read_accepted(), today=today, osv_url=self._options.osv_url)
        except NotAuditedError as error:
            if not self._options.allow_unaudited:
                raise
            raise SkippedError(f"--allow-unaudited; {error}") from error
        return f"no known vulnerability, {len(accepted)} accepted"

    def _build_wheel(self) -> str:
        return f"{build_wheel(self._checkout, self._tag, self._out).name}, built twice, equal"

    def _pack_bundle(self) -> str:
        bundle = shipped_bundle(self._checkout)
        return pack_bundle(self._checkout, self._tag, bundle, self._out).name

    def _write_documents(self) -> str:
        tag, checkout, out = self._tag, self._checkout, self._out
        paths = [
            *write_boms(checkout, NAMES, tag.version, tag.epoch, out),
            *write_licences(checkout, tag.version, out),
        ]
        return ", ".join(path.name for path in paths)

    def _build_images(self) -> str:
        engine = find_engine()
        if self._options.no_image:
            raise SkippedError("--no-image")
        if not engine:
            raise SkippedError("neither podman nor docker is installed")
        return ", ".join(self._build_image(engine, target) for target in self._options.targets)

    def _build_image(self, engine: str, target: str) -> str:
        tag, options = self._tag, self._options
        labels = {"version": tag.version, "revision": tag.commit, "created": tag.created}
        arguments = {name.upper(): value for name, value in labels.items()}
        source = (
            ("--label", f"org.opencontainers.image.source={options.source_url}")
            if options.source_url
            else ()
        )
        image = Image(engine, f"osteo-tiles:{tag.version}-{target}")
        image.build(
            self._checkout,
            target,
            {**arguments, **options.build_args},
            (*options.build_options, *source),
        )
        image.check_labels(labels)
        image.check_model()
        pins = read_lock(lock_path(self._checkout, TARGETS[target]))
        write_image_documents(image, target, pins, tag.version, tag.epoch, self._out)
        image.save(self._out / f"osteo-tiles-{tag.version}-{target}.tar")
        self._images[target] = image.inspect()["Id"].removeprefix("sha256:")
        base = image.digest_of_base()
        if base:
            self._materials[f"base image of {target}"] = base
        return f"{image.name}, checked with osteo doctor"

    def _built(self) -> list[Path]:
        return sorted(path for path in self._out.iterdir() if path.is_file())

    def _write_provenance(self) -> str:
        build = Build(
            tag=self._tag,
            builder=self._options.builder,
            parameters=self._options.parameters(),
            checks={k: v for k, v in self._checklist.states.items() if v != "not reached"},
            materials=self._materials,
            started=self._started,
            images=self._images,
        )
        path = self._out / "provenance.json"
        write_provenance(
            provenance(build, self._built(), datetime.datetime.now(datetime.UTC)), path
        )
        return f"{path.name}, builder {build.builder}"

    def _write_sums(self) -> str:
        sums = write_sums(self._out, self._built())
        return f"{sums.name}, itself {sha256_of(sums)}"

    def _sign(self) -> str:
        if not self._key:
            raise SkippedError("no --signing-key; docs/supply-chain.md says how to sign later")
        return sign(self._out / "SHA256SUMS", self._key).name
