"""What is there of the models a workflow needs, before it is run."""

from __future__ import annotations

import json
import time

from comfy_api.latest import io, ui

from ..bridge import doctor, notes
from ..bridge.schema import IN_FILES
from ..core.models.findings import GOOD
from ..core.previews import table

SHOWN = "likeness_doctor"
"""Under which our script in the editor finds the report, beside the picture; web/doctor.js knows the name, too."""


class Doctor(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessDoctor",
            category=IN_FILES,
            inputs=[io.Combo.Input("workflow", options=doctor.choices(), default=doctor.THIS, optional=True)],
            outputs=[io.Image.Output("table"), io.String.Output("report")],
            is_output_node=True,
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
        )

    @classmethod
    def validate_inputs(cls, workflow: str | None = None) -> bool | str:
        known = workflow is None or workflow in doctor.choices() or workflow in doctor.replaced()
        return known or f"workflow: {workflow!r} is no template of this version. Choose another one."

    @classmethod
    def fingerprint_inputs(cls, workflow: str | None = None) -> int:
        return time.monotonic_ns()  # files come and go

    @classmethod
    def execute(cls, workflow: str | None = None) -> io.NodeOutput:
        found = doctor.report(workflow or doctor.THIS, (cls.hidden and cls.hidden.prompt) or {})
        notes.tell(notes.node_of(cls), "" if found.good else found.summary)
        rows = [(finding.what, finding.state, finding.detail) for finding in found.findings]
        picture = table(found.summary, rows, [finding.state in GOOD for finding in found.findings])
        shown = {**ui.PreviewImage(picture, cls=cls).as_dict(), SHOWN: [json.dumps(found.shown())]}
        return io.NodeOutput(picture, found.text(), ui=shown)


NODES = [Doctor]
