"""What the doctor has found of the files of a workflow, as it is shown in the editor and as text.

Everything here is English, one sentence an entry. web/doctor.js shows it in another language where locales has the
sentence; its table is `likenessSentences` of locales/<language>/main.json.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..text import plain
from .manifest import Model, together

OK, NOTE = "ok", "note"
FOUND, MISSING, MISPLACED, WRONG = "found", "missing", "in the wrong place", "the wrong kind"
DAMAGED = "damaged"
RENAMED = "under another name"
"""It is there, and a menu of the host has to be set to its name."""
RESPELLED = "in another spelling"
"""It is there, and the host refuses how its name is written: with another separator, accents or capitals."""
GOOD = (OK, NOTE, FOUND)

_NAMED = 6
"""The most files that a note under a node has room for."""


@dataclass(frozen=True)
class Finding:
    """One line of a diagnosis: a file or folder, its state, and why or what to do.

    what: the title of a model, or the name of a file. state: one of the words above. details: sentences.
    fetch: the model to be downloaded. place: where a model belongs of which there is nothing.
    needed_for: a method or a workflow, "" for what belongs to no model. name: that of the model in a loader's menu.
    """

    what: str
    state: str
    details: tuple[str, ...] = ()
    fetch: Model | None = None
    place: Path | None = None
    needed_for: str = ""
    name: str = ""

    @property
    def is_good(self) -> bool:
        """Whether nothing has to be done."""
        return self.state in GOOD

    @property
    def detail(self) -> str:
        """All details in one line."""
        return " ".join(self.details)

    @property
    def section(self) -> str:
        """The heading below which this line stands."""
        if self.is_good:
            return "In place"
        heading = "Missing" if self.state == MISSING else "To fix"
        if self.needed_for:
            return f"{heading} for {self.needed_for}"
        return heading

    @property
    def where(self) -> str:
        """Where the download belongs, and under which name; "" for what is not downloaded."""
        if not self.fetch or not self.place:
            return ""
        if self.fetch.archive:
            return f"unpacked into {self.place}"
        if len(self.fetch.fetched) > 1:
            return f"all of its files into {self.place}"
        return f"into {self.place.parent} as {self.place.name}"

    def as_json(self) -> dict[str, object]:
        """The line as the editor shows it. Of a download its address, size and place stand in fields of their own, so
        that of its details only the alternatives are shown."""
        url = ""
        size = ""
        details = self.details
        if self.fetch:
            url = self.fetch.url
            size = self.fetch.size_text
        if self.fetch and self.place:
            details = tuple(f"Or {alternative}." for alternative in self.fetch.alternatives)
        return {
            "what": plain(self.what),
            "state": self.state,
            "url": url,
            "size": size,
            "where": plain(self.where),
            "details": tuple(plain(detail) for detail in details),
        }


@dataclass(frozen=True)
class Diagnosis:
    """What was found about `subject` ("this workflow", "the start templates", a template's name), what is missing
    first, and the commands that fetch it."""

    subject: str
    findings: tuple[Finding, ...]
    commands: tuple[str, ...]

    @property
    def lacking(self) -> tuple[Model, ...]:
        """The models that have to be downloaded."""
        return tuple(finding.fetch for finding in self.findings if finding.fetch)

    @property
    def good(self) -> bool:
        """Whether nothing has to be done."""
        return all(finding.is_good for finding in self.findings)

    @property
    def sentences(self) -> list[str]:
        """The result: what has to be done, and the bytes to fetch."""
        bad = [finding.what for finding in self.findings if not finding.is_good]
        if not bad:
            return [f"Everything that {self.subject} needs is there."]
        what = "; ".join(bad) if len(bad) <= _NAMED else f"{len(bad)} files"
        sentences = [f"Still to do for {self.subject}: {what}."]
        if self.lacking:
            sentences.append(f"To download: {together(self.lacking)}.")
        return sentences

    @property
    def summary(self) -> str:
        """The result in one line."""
        return " ".join(self.sentences)

    @property
    def sections(self) -> dict[str, list[Finding]]:
        """Heading -> its lines, in the order of the findings."""
        sections: dict[str, list[Finding]] = {}
        for finding in self.findings:
            sections.setdefault(finding.section, []).append(finding)
        return sections

    def text(self) -> str:
        """The report as text, in columns."""
        lines: list[str] = []
        for heading, findings in self.sections.items():
            lines.append(f"{heading}:")
            lines += _in_columns(findings, self.findings)
            lines.append("")
        lines.append(self.summary)
        if self.commands:
            lines += ["", "To fix it:", *self.commands]
        return "\n".join(lines)

    def as_json(self) -> dict[str, object]:
        """The report as the editor shows it."""
        sections: list[dict[str, object]] = []
        for heading, findings in self.sections.items():
            sections.append({"title": heading, "findings": [finding.as_json() for finding in findings]})
        return {"summary": self.sentences, "sections": sections, "commands": self.commands}


def _in_columns(findings: Sequence[Finding], every: Sequence[Finding]) -> list[str]:
    """A line for each of some findings, in columns that are as wide as all of them need."""
    width = max(len(finding.what) for finding in every)
    state_width = max(len(finding.state) for finding in every)
    lines: list[str] = []
    for finding in findings:
        lines.append(f"{finding.what:{width}}  {finding.state:{state_width}}  {plain(finding.detail)}")
    return lines
