"""What the doctor says: findings, and the diagnosis they make."""

from __future__ import annotations

from dataclasses import dataclass

from ..text import plain
from . import manifest
from .manifest import Model

OK, NOTE = "ok", "note"
FOUND, MISSING, MISPLACED, WRONG, DAMAGED, CLASH = (
    "found", "missing", "in the wrong place", "the wrong kind", "damaged", "clash",
)  # fmt: skip
GOOD = (OK, NOTE, FOUND)


@dataclass(frozen=True)
class Finding:
    """One line of a diagnosis: what, in which state, and why or what to do.

    fetch: the model to be downloaded. mend: a command that puts it right.
    """

    what: str
    state: str
    detail: str
    fetch: Model | None = None
    mend: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """What was found about `subject`, and the commands that mend it."""

    subject: str
    findings: tuple[Finding, ...]
    commands: tuple[str, ...]

    @property
    def lacking(self) -> tuple[Model, ...]:
        return tuple(finding.fetch for finding in self.findings if finding.fetch)

    @property
    def good(self) -> bool:
        return all(finding.state in GOOD for finding in self.findings)

    @property
    def summary(self) -> str:
        """The result in one line: what has to be done, and the bytes to fetch."""
        bad = [finding.what for finding in self.findings if finding.state not in GOOD]
        if not bad:
            return f"Everything that {self.subject} needs is there."
        fetch = f" To fetch: {manifest.together(self.lacking)}." if self.lacking else ""
        return f"To be mended for {self.subject}: {'; '.join(bad)}.{fetch}"

    def text(self) -> str:
        width, wide = (max(len(text) for text in column) for column in zip(*map(_start, self.findings), strict=True))
        lines = [
            f"{finding.what:{width}}  {finding.state:{wide}}  {plain(finding.detail)}" for finding in self.findings
        ]
        mend = ["", "To mend it:", *self.commands] if self.commands else []
        return "\n".join([*lines, "", self.summary, *mend])


def _start(finding: Finding) -> tuple[str, str]:
    return finding.what, finding.state
