"""Defects of workflows: tests/support/anchors.py says what each field means."""

from anchors import Defect

DEFECTS = [
    Defect(
        "workflows/id_patch_with_pose_canny_depth.json",
        breaks="A template starts the ID tokens at 0 instead of 0.2.",
        find='0.2, "mean"] }], "groups": [], "links": [{"id": 43,',
        put='0.0, "mean"] }], "groups": [], "links": [{"id": 43,',
        caught_by="tests/contract/test_workflow_files.py::test_it_applies_a_method_with_the_settings_of_its_authors",
        promise="ID-Patch: templates have the settings of the authors",
    ),
]
