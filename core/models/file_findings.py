"""The findings about the files of a workflow, and how they are shown in the editor and as text.

Everything here is English, one sentence an entry. web/check_files.js shows it in another language where locales has the
sentence; its table is `likenessSentences` of locales/<language>/main.json.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..checks.text import plain
from .manifest import Model, together

OK, NOTE = "ok", "note"
FOUND, MISSING, MISPLACED, WRONG = "found", "missing", "in the wrong place", "the wrong kind"
DAMAGED = "damaged"
RENAMED = "under another name"
"""It is there, and a menu of the host has to be set to its name."""
RESPELLED = "in another spelling"
"""It is there, and the host refuses how its name is written: with another separator, accents or capitals."""
GONE = "not in this version"
"""A node of the workflow that the pack no longer has."""
GOOD = (OK, NOTE, FOUND)

_NAMED = 6
"""The most files that a summary names one by one: a note under a node has room for them."""


@dataclass(frozen=True)
class Finding:
    """One line of a diagnosis: a file, folder or node, its state, and why or what to do.

    what: the title of a model, or the name of a file, folder or node. state: one of the words above. details:
    sentences. fetch: the model, where it has to be downloaded. place: the path where a model belongs that is nowhere.
    needed_for: the methods or the workflow that need the model, in words; "" for a line about no model. name: the
    model's name in a loader's menu.
    """

    what: str
    state: str
    details: tuple[str, ...]
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
            return f"unpacked into {self.fetch.unpacked_into(self.place)}"
        if len(self.fetch.fetched) > 1:
            return f"all of its files into {self.place}"
        return f"into {self.place.parent} as {self.place.name}"

    def as_json(self) -> dict[str, object]:
        """The line as the editor shows it.

        For a download the editor builds its own sentence of url, size and where, so its details, which say the same,
        are replaced by the alternatives alone.
        """
        url = ""
        size = ""
        details = self.details
        if self.fetch:
            url = self.fetch.url
            size = self.fetch.size_text
        # Only with a place is there a `where`. Damaged files are fetched without one, and keep their details.
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
    """The findings about a subject, and the commands that download what is missing.

    subject: the noun in the report's sentences: "this workflow", "the start templates", or a template's name. findings:
    in the order of the report, what is missing first. commands: for a shell, in the order in which they are run.
    """

    subject: str
    findings: tuple[Finding, ...]
    commands: tuple[str, ...]

    @property
    def lacking(self) -> tuple[Model, ...]:
        """The models that have to be downloaded."""
        return tuple(finding.fetch for finding in self.findings if finding.fetch)

    @property
    def to_fix(self) -> list[Finding]:
        """The findings for which the host would refuse to run the workflow, in the order of the report."""
        return [finding for finding in self.findings if not finding.is_good]

    @property
    def sentences(self) -> list[str]:
        """The result: what has to be done, and the bytes to fetch."""
        bad = [finding.what for finding in self.to_fix]
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
        sections = [
            {"title": heading, "findings": [finding.as_json() for finding in findings]}
            for heading, findings in self.sections.items()
        ]
        return {"summary": self.sentences, "sections": sections, "commands": self.commands}


def _in_columns(findings: Sequence[Finding], every: Sequence[Finding]) -> list[str]:
    """A line for each of these findings, in columns. every: all findings of the report, whose texts set the widths."""
    width = max(len(finding.what) for finding in every)
    state_width = max(len(finding.state) for finding in every)
    return [f"{finding.what:{width}}  {finding.state:{state_width}}  {plain(finding.detail)}" for finding in findings]
