"""What the doctor says: findings, and the diagnosis they make."""

from dataclasses import dataclass
from pathlib import Path

from ..text import plain
from .manifest import Model, together

OK, NOTE = "ok", "note"
FOUND, MISSING, MISPLACED, WRONG = "found", "missing", "in the wrong place", "the wrong kind"
DAMAGED = "damaged"
GOOD = (OK, NOTE, FOUND)

SINGLE = "single templates"
"""What needs a model that no method as such does, where several workflows are looked at."""

_NAMED = 6
"""As many as a note under a node has room for."""


@dataclass(frozen=True)
class Finding:
    """One line of a diagnosis: what, in which state, and why or what to do.

    fetch: the model to be downloaded. place: where a model belongs of which there is nothing. needed_for: a method or a
    workflow, "" for what is of no model.
    """

    what: str
    state: str
    detail: str
    fetch: Model | None = None
    place: Path | None = None
    needed_for: str = ""

    @property
    def section(self) -> str:
        if self.state in GOOD:
            return "In place"
        about = f" for {self.needed_for}" if self.needed_for else ""
        return f"{'Missing' if self.state == MISSING else 'To fix'}{about}"

    @property
    def where(self) -> str:
        """Where the download belongs, and under which name."""
        if not self.fetch or not self.place:
            return ""
        if self.fetch.archive:
            return f"unpacked into {self.place}"
        if len(self.fetch.fetched) > 1:
            return f"all of its files into {self.place}"
        return f"into {self.place.parent} as {self.place.name}"

    def shown(self) -> dict[str, str]:
        """The line as the editor shows it; an address is of the manifest."""
        detail = " ".join(f"Or {one}." for one in self.fetch.alternatives) if self.fetch and self.place else self.detail
        url, size = (self.fetch.url, self.fetch.size_text) if self.fetch else ("", "")
        return {"what": self.what, "state": self.state, "url": url, "size": size, "where": self.where, "detail": detail}


@dataclass(frozen=True)
class Diagnosis:
    """What was found about `subject`, what is missing first, and the commands that fetch it."""

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
        fetch = f" To download: {together(self.lacking)}." if self.lacking else ""
        what = "; ".join(bad) if len(bad) <= _NAMED else f"{len(bad)} files"
        return f"To fix for {self.subject}: {what}.{fetch}"

    @property
    def sections(self) -> dict[str, list[Finding]]:
        titles = dict.fromkeys(finding.section for finding in self.findings)
        return {title: [finding for finding in self.findings if finding.section == title] for title in titles}

    def text(self) -> str:
        width, wide = (max(len(getattr(one, name)) for one in self.findings) for name in ("what", "state"))
        lines: list[str] = []
        for title, findings in self.sections.items():
            rows = (f"{one.what:{width}}  {one.state:{wide}}  {plain(one.detail)}" for one in findings)
            lines += [f"{title}:", *rows, ""]
        mend = ["", "To fix it:", *self.commands] if self.commands else []
        return "\n".join([*lines, self.summary, *mend])

    def shown(self) -> dict[str, object]:
        sections = [{"title": name, "findings": [one.shown() for one in rows]} for name, rows in self.sections.items()]
        return {"summary": self.summary, "sections": sections, "commands": self.commands}
