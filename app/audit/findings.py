"""What is wrong with an audit, and where."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from app.audit.chain import Head

Kind = Literal["edited", "missing", "moved", "doubled", "cut", "rewritten", "seal"]

MAX_NAMED: Final = 20
"""Findings of a chain that are named; the others are counted."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        chain: name of the chain.
        seq: sequence number of the record.
        kind: what was done to it.
        sentence: the same for people.
    """

    chain: str
    seq: int
    kind: Kind
    sentence: str


@dataclass(slots=True)
class ChainReport:
    """What was read of a chain.

    Attributes:
        chain: name of the chain.
        n_records: records read, without a seal.
        n_removed: records that a seal stands for.
        first_at: time of the first record, or of the first that was removed.
        last_at: time of the last record.
        head: the last record; None before one was read.
        findings: the first `MAX_NAMED`.
        n_unnamed: how many more there are.
    """

    chain: str
    n_records: int = 0
    n_removed: int = 0
    first_at: str = ""
    last_at: str = ""
    head: Head | None = None
    findings: list[Finding] = field(default_factory=list)
    n_unnamed: int = 0

    def add(self, seq: int, kind: Kind, sentence: str) -> None:
        """Add a finding."""
        if len(self.findings) < MAX_NAMED:
            self.findings.append(Finding(self.chain, seq, kind, sentence))
        else:
            self.n_unnamed += 1


@dataclass(slots=True)
class Verification:
    """The outcome for all chains.

    Attributes:
        chains: one report for each chain that has or should have records.
        notes: what is no finding but should be known.
    """

    chains: list[ChainReport] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def findings(self) -> list[Finding]:
        """The findings of all chains."""
        return [finding for chain in self.chains for finding in chain.findings]

    def report(self, chain: str) -> ChainReport:
        """The report of a chain; an empty one for a chain that has no records."""
        for report in self.chains:
            if report.chain == chain:
                return report
        self.chains.append(ChainReport(chain))
        return self.chains[-1]
