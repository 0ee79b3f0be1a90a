"""Defects of scripts/rig: tests/support/anchors.py says what each field means."""

from anchors import Defect

DEFECTS = [
    Defect(
        "scripts/rig/archive.py",
        breaks="A module does not say what it holds.",
        find=(
            "\"What is published: git's files less .comfyignore, as `comfy node pack` takes them, and the "
            "help pages' copies.\\n\\n    python -m rig.archive /tmp/likeness\\n\\nin the folder scripts/ of the pack "
            "leaves it in a folder that is new or empty, outside of the repository. What is\\npublished is made there. "
            'A run that fails leaves nothing.\\n"'
        ),
        put=(
            "'Published\\n\\n    python -m rig.archive /tmp/likeness\\n\\nin the folder scripts/ leaves it there.\\n'"
        ),
        caught_by="tests/contract/test_boundaries.py::test_first_line_of_every_module_says_what_it_holds",
        promise="scripts: the map is whole",
    ),
    Defect(
        "scripts/rig/archive.py::shipped",
        breaks="Tests are published with the pack.",
        find="return $tracked",
        put="return tracked()",
        caught_by="tests/contract/test_package.py::test_archive_holds_the_product_and_nothing_else",
        promise="archive: it holds the product alone",
    ),
    Defect(
        "scripts/rig/archive.py::copies",
        breaks="Help pages are asked for in vain first.",
        find="return $value",
        put="return {}",
        caught_by="tests/contract/test_package.py::test_archive_answers_what_frontends_ask_for_first",
        promise="archive: it holds what frontends ask for",
    ),
    Defect(
        "scripts/rig/host_server.py::HostServer._model_paths",
        breaks="The demo's host still finds the files that it is to do without.",
        find="$name in $without",
        put="$name not in $without",
        caught_by="tests/scripts/test_scripts_workflow.py::test_a_host_without_its_own_files_of_a_kind",
        promise="scripts: demo",
    ),
    Defect(
        "scripts/rig/shapes.py::layer",
        breaks="Stand-in files have biases as large as their weights.",
        find="$shape[:1]",
        put="$shape",
        caught_by="tests/scripts/test_scripts_workflow.py::test_a_table_of_shapes_is_read",
        promise="scripts: stand-ins",
    ),
    Defect(
        "scripts/rig/shapes.py::under",
        breaks="Keys of the streams of FLUX have a dot too many, so the host does not know the file.",
        find="yield ($prefix + $key, $shape)",
        put="yield (f'{$prefix}.{$key}', $shape)",
        caught_by="tests/scripts/test_scripts_workflow.py::test_a_table_of_shapes_is_read",
        promise="scripts: stand-ins",
    ),
    Defect(
        "scripts/rig/shapes.py::_counted",
        breaks="Stand-in files lack the last of what their table counts.",
        find="$last + 1",
        put="$last",
        caught_by="tests/scripts/test_scripts_workflow.py::test_a_table_of_shapes_is_read",
        promise="scripts: stand-ins",
    ),
    Defect(
        "scripts/rig/shapes.py::_size",
        breaks="A product of sizes is read as a sum.",
        find="math.prod($entries)",
        put="sum($entries)",
        caught_by="tests/scripts/test_scripts_workflow.py::test_a_table_of_shapes_is_read",
        promise="scripts: stand-ins",
    ),
    Defect(
        "scripts/rig/standins.json",
        breaks="Of the two published kinds of ID-Patch's file only one is tried.",
        find='"holds": "id-patch-mlp"',
        put='"holds": "id-patch"',
        caught_by="tests/scripts/test_scripts_workflow.py::test_both_kinds_of_projections",
        promise="scripts: stand-ins",
    ),
    Defect(
        "scripts/rig/versions.py::version_folder",
        breaks="Old versions of the miniature stay, 0.9 GB each.",
        find="_remove_unused($folder)",
        put="",
        caught_by="tests/scripts/test_versions.py::test_old_versions_go_when_a_new_one_is_made",
        promise="scripts: cache",
    ),
    Defect(
        "scripts/rig/versions.py::_remove",
        breaks="A version of the miniature is taken away from a process that uses it.",
        find="_lock($lock, alone=True)",
        put="_lock($lock)",
        caught_by="tests/scripts/test_versions.py::test_a_version_goes_when_the_process_that_used_it_has_ended",
        promise="scripts: cache",
    ),
    Defect(
        "scripts/rig/whole.py::written",
        breaks="A full disk leaves half a file.",
        find="$unfinished.unlink(missing_ok=True)",
        put="pass",
        caught_by="tests/scripts/test_batch_rows.py::test_a_full_disk",
        promise="batch.py: a file is there whole or not at all",
    ),
    Defect(
        "scripts/rig/workflow.py::_Level.running",
        breaks="A bypassed node runs in a batch.",
        find="(_MUTED, BYPASSED)",
        put="(_MUTED,)",
        caught_by=(
            "tests/scripts/test_scripts_workflow.py::test_muted_nodes_are_gone_and_bypassed_ones_are_passed_through"
        ),
        promise="scripts: workflow files",
    ),
    Defect(
        "scripts/rig/workflow.py::_Level.input",
        breaks="A subgraph within a subgraph loses what comes in from outside.",
        find="$slot.get('link') is not None",
        put="False",
        caught_by="tests/scripts/test_scripts_workflow.py::test_a_subgraph_is_opened",
        promise="scripts: workflow files",
    ),
    Defect(
        "scripts/rig/workflow.py::_Level.input",
        breaks="Values of a box are shifted by one.",
        find="$values[$place] if $condition else None",
        put="$values[$place - 1] if $condition else None",
        caught_by=(
            "tests/host/test_workflow_pages.py"
            "::test_opens_whole_readable_and_in_view[its own with classic nodes-start_portrait]"
        ),
        promise="scripts: a file is sent as the editor sends it",
    ),
    Defect(
        "scripts/rig/workflow.py::_Level._widgets_of_box",
        breaks="A box without a slot for a value gives its values to other widgets.",
        find="$declared['name'] in $slots or self._leads_to_widget($number)",
        put="$declared['name'] in $slots",
        caught_by="tests/scripts/test_scripts_workflow.py::test_a_box_keeps_values_for_which_it_has_no_slot",
        promise="scripts: a file is sent as the editor sends it",
    ),
    Defect(
        "scripts/rig/widgets.py::Spec.chosen",
        breaks="What the choice of a menu brings is sent under another name.",
        find="f'{$name}.{$key}'",
        put="$key",
        caught_by="tests/scripts/test_scripts_workflow.py::test_what_a_choice_brings_is_read_behind_it",
        promise="scripts: a file is sent as the editor sends it",
    ),
    Defect(
        "scripts/rig/workflow.py::_Level.output",
        breaks="Scripts send what is muted.",
        find="_MUTED",
        put="7",
        caught_by=(
            "tests/host/test_workflow_pages.py"
            "::test_the_editor_sends_the_same_where_a_node_is_switched_off[its own with classic nodes]"
        ),
        promise="scripts: a file is sent as the editor sends it",
    ),
    Defect(
        "scripts/rig/workflow.py::_prompt_entry",
        breaks="--set changes a widget that a link has taken the place of.",
        find="$set_at.pop($name, None)",
        put="pass",
        caught_by="tests/scripts/test_scripts_workflow.py::test_where_a_value_of_the_prompt_is_set",
        promise="scripts: workflow files",
    ),
    Defect(
        "scripts/rig/workflow.py::_through",
        breaks="Scripts take the first input of a bypassed node for its output.",
        find=("if $output in $fitting:\n    return $output"),
        put=("if $fitting:\n    return 0"),
        caught_by="tests/scripts/test_scripts_workflow.py::test_a_bypassed_node_with_two_inputs_of_a_type",
        promise="scripts: a file is sent as the editor sends it",
    ),
    Defect(
        "scripts/rig/workflow.py::_through",
        breaks="A bypassed node passes on its first input, whatever its type.",
        find="if $wanted in $types:\n    return $types.index($wanted)",
        put="if $types:\n    return 0",
        caught_by=(
            "tests/scripts/test_scripts_workflow.py::test_muted_nodes_are_gone_and_bypassed_ones_are_passed_through"
        ),
        promise="scripts: workflow files",
    ),
    Defect(
        "scripts/rig/workflow.py::_names",
        breaks="The value behind a seed, which the editor adds, is taken for the next input.",
        find="$names.insert($names.index('seed') + 1, '')",
        put="pass",
        caught_by="tests/scripts/test_scripts_workflow.py::test_what_a_file_says_of_its_widgets_needs_no_host",
        promise="scripts: workflow files",
    ),
    Defect(
        "scripts/rig/workflow.py::_require_nodes",
        breaks="A ComfyUI that is too old is told to update to a version that does not have all of the nodes.",
        find="max($versions, key=_as_numbers)",
        put="min($versions, key=_as_numbers)",
        caught_by=(
            "tests/scripts/test_scripts_workflow.py::test_a_host_that_is_too_old_is_told_which_version_has_the_nodes"
        ),
        promise="workflows as prompts",
    ),
]
