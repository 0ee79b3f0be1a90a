"""Defects of scripts: tests/support/anchors.py says what each field means."""

from anchors import Defect

DEFECTS = [
    Defect(
        "scripts/compare.py::groups",
        breaks="In the pictures of eight people some stand more often than others.",
        find="math.lcm($people, $count) // $count",
        put="max(1, $people // $count)",
        caught_by=(
            "tests/scripts/test_compare_tables.py::test_everybody_stands_equally_often_in_pictures_of_any_number[5-12]"
        ),
        promise="compare.py: published figures",
    ),
    Defect(
        "scripts/compare.py::pictures_by",
        breaks="compare.py draws everybody in the place of somebody else.",
        find="$people = [$people_2 for $one in $who]",
        put="$people = [$people_2 for $one in $who[::-1]]",
        caught_by=(
            "tests/host/test_compare.py::test_every_picture_is_of_the_people_photos_and_seed_that_are_asked_for"
        ),
        promise="compare.py: published figures",
    ),
    Defect(
        "scripts/compare.py::pictures_by",
        breaks="compare.py draws from all photos of a person where it says from one.",
        find="[of_photos($one, $photos) for $one in $people]",
        put="$people",
        caught_by=(
            "tests/host/test_compare.py::test_every_picture_is_of_the_people_photos_and_seed_that_are_asked_for"
        ),
        promise="compare.py: published figures",
    ),
    Defect(
        "scripts/compare.py::pictures_by",
        breaks=(
            "compare.py judges by the photo that was drawn from where all photos should judge, and by all elsewhere."
        ),
        find="if $whole: $picture = meaning($picture, $people)",
        put="if not $whole: $picture = meaning($picture, $people)",
        caught_by=(
            "tests/host/test_compare.py::test_every_picture_is_of_the_people_photos_and_seed_that_are_asked_for"
        ),
        promise="compare.py: published figures",
    ),
    Defect(
        "scripts/compare.py::write",
        breaks="The two halves of every picture that compare.py writes are exchanged.",
        find="previews.as_picture($pixels)",
        put="previews.as_picture($pixels.roll($pixels.shape[1] // 2, 1))",
        caught_by=(
            "tests/scripts/test_compare_tables.py::test_what_is_written_says_of_each_figure_and_picture_what_it_is"
        ),
        promise="compare.py: published figures",
    ),
    Defect(
        "scripts/compare.py::write",
        breaks="Columns of compare.py's CSV are exchanged beneath their names.",
        find="[$line.get($column, '') for $column in $columns]",
        put="[$line.get($column, '') for $column in $columns[::-1]]",
        caught_by=(
            "tests/scripts/test_compare_tables.py::test_what_is_written_says_of_each_figure_and_picture_what_it_is"
        ),
        promise="compare.py: published figures",
    ),
    Defect(
        "scripts/compare.py::table",
        breaks="Columns of compare.py's table are exchanged beneath their names.",
        find="[$cell for $name in $columns]",
        put="[$cell for $name in $columns[::-1]]",
        caught_by="tests/scripts/test_compare_tables.py::test_a_table_has_every_figure_under_its_name",
        promise="compare.py: published figures",
    ),
    Defect(
        "scripts/compare.py::sheet",
        breaks="Rows of compare.py's sheet are exchanged.",
        find=(
            "for $row, $name in enumerate($rows):\n"
            "    $$before\n"
            "    for $number, $column in enumerate($columns, 1):\n"
            "        $$gap\n"
            "        $small = previews.as_picture($pictures[$name, $column])\n"
            "        $$after"
        ),
        put=(
            "for $row, $name in enumerate($rows):\n"
            "    $$before\n"
            "    for $number, $column in enumerate($columns, 1):\n"
            "        $$gap\n"
            "        $small = previews.as_picture($pictures[$rows[-1 - $row], $column])\n"
            "        $$after"
        ),
        caught_by=(
            "tests/scripts/test_compare_tables.py"
            "::test_a_sheet_has_rows_of_methods_columns_of_pictures_and_each_picture_as_it_is"
        ),
        promise="compare.py: published figures",
    ),
    Defect(
        "scripts/compare.py::sheet",
        breaks="Columns of compare.py's sheet are exchanged.",
        find=(
            "for $number, $column in enumerate($columns, 1):\n"
            "    $$gap\n"
            "    $small = previews.as_picture($pictures[$name, $column])\n"
            "    $$body"
        ),
        put=(
            "for $number, $column in enumerate($columns, 1):\n"
            "    $$gap\n"
            "    $small = previews.as_picture($pictures[$name, $columns[-$number]])\n"
            "    $$body"
        ),
        caught_by=(
            "tests/scripts/test_compare_tables.py"
            "::test_a_sheet_has_rows_of_methods_columns_of_pictures_and_each_picture_as_it_is"
        ),
        promise="compare.py: published figures",
    ),
    Defect(
        "scripts/compare.py::sheet",
        breaks="Pictures of compare.py's sheet are mirrored.",
        find="previews.as_picture($pictures)",
        put="previews.as_picture($pictures.flip(1))",
        caught_by=(
            "tests/scripts/test_compare_tables.py"
            "::test_a_sheet_has_rows_of_methods_columns_of_pictures_and_each_picture_as_it_is"
        ),
        promise="compare.py: published figures",
    ),
    Defect(
        "scripts/demo.py::Progress.__call__",
        breaks="The demo says nothing while a picture is sampled.",
        find=(
            "if $event['type'] == 'executing' and $data['node']: $$title\n"
            "elif $progress and time.monotonic() > self._spoke + SAY_SECONDS: $$step"
        ),
        put=(
            "if $event['type'] == 'executing' and $data['node']: $$title\n"
            "elif $progress and $data['value'] == $data['max']: $$step"
        ),
        caught_by="tests/scripts/test_scripts_workflow.py::test_the_demo_says_how_far_it_is",
        promise="scripts: demo",
    ),
    Defect(
        "scripts/environment.py::RELEASE",
        breaks="The image has an older ComfyUI than the tests.",
        find="'0.33.0'",
        put="'0.32.0'",
        caught_by="tests/contract/test_package.py::test_image_has_the_releases_that_the_tests_run",
        promise="scripts: the image is what the tests run",
    ),
    Defect(
        "scripts/environment.py::run",
        breaks="What is told to stop leaves unfinished files.",
        find="stopping.stop_on_signals()",
        put="",
        caught_by="tests/scripts/test_fetch.py::test_what_is_told_to_stop_leaves_nothing",
        promise="scripts: nothing is left",
    ),
    Defect(
        "scripts/environment.py::find_hosts",
        breaks="COMFYUI_PATH is looked at last.",
        find="[*$value, *$value_2, $comfy, *$sorted, INSTALLED_HOST]",
        put="[*$value_2, $comfy, *$sorted, INSTALLED_HOST]",
        caught_by="tests/scripts/test_scripts.py::test_comfyui_path_comes_first_and_once",
        promise="scripts: environment",
    ),
    Defect(
        "scripts/environment.py::host_at",
        breaks="0.3.64 is taken for 0.3.",
        find="'__version__ = \\\\\"(\\\\d+(?:\\\\.\\\\d+)*)'",
        put="'__version__ = \\\\\"(\\\\d+\\\\.\\\\d+)'",
        caught_by="tests/scripts/test_scripts.py::test_hosts_of_the_home_folder",
        promise="scripts: environment",
    ),
    Defect(
        "scripts/environment.py::ready_python",
        breaks="A Python given by a relative path is not found from the host's folder.",
        find="$path.absolute() if $path.is_file() else $path",
        put="$path",
        caught_by="tests/scripts/test_scripts.py::test_given_python_by_a_relative_path",
        promise="scripts: environment",
    ),
    Defect(
        "scripts/environment.py::_lacking",
        breaks="A program that is no Python passes for one.",
        find="if not $answer: $$body",
        put="if not $answer: return []",
        caught_by="tests/scripts/test_what_scripts_are_given.py::test_batch_py_names_a_program_that_is_no_python",
        promise="scripts: environment",
    ),
    Defect(
        "scripts/environment.py::_plain",
        breaks="A host runs with another frontend than it pins.",
        find="$sub.lower()",
        put="$sub",
        caught_by="tests/scripts/test_scripts.py::test_pins_of_a_host_that_are_not_met",
        promise="scripts: environment",
    ),
    Defect(
        "scripts/environment.py::enter",
        breaks="Ctrl-C ends whoever stands between, and the script goes on.",
        find="$name != 'nt'",
        put="$name == 'nt'",
        caught_by="tests/scripts/test_scripts.py::test_ctrl_c_meets_one_process",
        promise="scripts: environment",
    ),
    Defect(
        "scripts/evaluate.py::_row",
        breaks="A name runs as code on the page of evaluate.py.",
        find="html.escape($cell)",
        put="$cell",
        caught_by="tests/scripts/test_evaluate.py::test_the_page_shows_any_name_as_text_and_asks_no_network",
        promise="evaluate.py: the page shows any name as text",
    ),
    Defect(
        "scripts/evaluate.py::_figure",
        breaks="A browser does not find the pictures of the page whose names have a % or a # in them.",
        find="quote($name, errors='surrogateescape')",
        put="$name",
        caught_by="tests/scripts/test_evaluate.py::test_the_page_shows_any_name_as_text_and_asks_no_network",
        promise="evaluate.py: the page shows any name as text",
    ),
    Defect(
        "scripts/evaluate.py::size_of",
        breaks="The size of a picture is height by width.",
        find="return ($shape, $shape_2)",
        put="return ($shape_2, $shape)",
        caught_by="tests/scripts/test_evaluate.py::test_the_size_of_a_picture_is_width_by_height",
        promise="evaluate.py: tables",
    ),
    Defect(
        "scripts/evaluate.py::largest_face",
        breaks="Of several faces in a photo the smallest is the person's.",
        find="max",
        put="min",
        caught_by="tests/scripts/test_evaluate.py::test_of_several_faces_in_a_photo_the_largest_is_the_persons",
        promise="evaluate.py: tables",
    ),
    Defect(
        "scripts/evaluate.py::cast_of",
        breaks="A person beside a picture who has no photos is left out in silence.",
        find="[$name for $name in $names if $entry is None]",
        put="[]",
        caught_by="tests/scripts/test_evaluate.py::test_what_stands_beside_a_picture",
        promise="evaluate.py: evaluate.py says whom it does not know",
    ),
    Defect(
        "scripts/evaluate.py::evaluated",
        breaks="Pictures with names are half as bright as those they were measured in.",
        find="$who_is_who * 255",
        put="$who_is_who * 128",
        caught_by="tests/scripts/test_evaluate.py::test_a_folder_becomes_a_page_and_two_tables",
        promise="evaluate.py: tables",
    ),
    Defect(
        "scripts/evaluate.py::_person_columns",
        breaks="Leakage and similarity are exchanged in the table.",
        find="{'similarity': $similarity, 'leakage': $leakage, 'margin': $margin}",
        put="{'similarity': $leakage, 'leakage': $similarity, 'margin': $margin}",
        caught_by="tests/scripts/test_evaluate.py::test_a_folder_becomes_a_page_and_two_tables",
        promise="evaluate.py: tables",
    ),
    Defect(
        "scripts/evaluate.py::as_cell",
        breaks="A name in failed.csv is run as a formula by a spreadsheet.",
        find='f"\'{$value}"',
        put="$value",
        caught_by="tests/scripts/test_batch_rows.py::test_no_cell_of_ours_is_a_formula",
        promise="batch.py: no cell of ours is a formula",
    ),
    Defect(
        "scripts/evaluate.py::sets",
        breaks="Figures of a set by a second recogniser are those of the first.",
        find="$report.pictures[$name]",
        put="$report.judged",
        caught_by="tests/scripts/test_evaluate.py::test_a_set_has_means_of_its_own_pictures_by_each_recogniser",
        promise="evaluate.py: tables",
    ),
    Defect(
        "scripts/evaluate.py::sets",
        breaks="Sets.csv does not count the missing among its people.",
        find="$picture.sightings",
        put="$picture.present",
        caught_by=(
            "tests/scripts/test_published_figures.py"
            "::test_figures_of_a_set_are_means_of_its_pictures_and_sums_of_its_people[(4, True)]"
        ),
        promise="figures: published figures",
    ),
    Defect(
        "scripts/evaluate.py::sets",
        breaks="The mean size of faces is the mean of their numbers.",
        find="longer_side($picture.boxes[$face])",
        put="float($face)",
        caught_by="tests/scripts/test_evaluate.py::test_a_set_has_means_of_its_own_pictures_by_each_recogniser",
        promise="evaluate.py: tables",
    ),
    Defect(
        "scripts/evaluate.py::sets",
        breaks="Copy-paste and face size are exchanged in the table of sets.",
        find="yield ($group, $name, $len, *$totals, $mean, $mean_2, $people)",
        put="yield ($group, $name, $len, *$totals, $mean_2, $mean, $people)",
        caught_by="tests/scripts/test_evaluate.py::test_a_set_has_means_of_its_own_pictures_by_each_recogniser",
        promise="evaluate.py: tables",
    ),
    Defect(
        "scripts/fetch.py::_clear",
        breaks="Rests of killed downloads stay for ever.",
        find="shutil.rmtree($left, ignore_errors=True)",
        put="pass",
        caught_by="tests/scripts/test_fetch.py::test_what_was_killed_leaves_no_file_and_its_rest_goes",
        promise="models.py: a killed download leaves nothing",
    ),
    Defect(
        "scripts/fetch.py::_is",
        breaks="A file of the user's is overwritten by a download.",
        find="if _wrong($target, $file): $$body",
        put=("if _wrong($target, $file):\n    return False\n    $$body"),
        caught_by="tests/scripts/test_fetch.py::test_what_somebody_put_there_stays_and_a_web_page_goes",
        promise="models.py: what somebody put there stays",
    ),
    Defect(
        "scripts/fetch.py::_wrong",
        breaks="Another file than the published one is taken.",
        find="$file.sha256 and $value != $file.sha256",
        put="False and $value",
        caught_by="tests/scripts/test_fetch.py::test_what_is_not_the_published_file_leaves_nothing",
        promise="models.py: files are held to their SHA-256",
    ),
    Defect(
        "scripts/fetch.py::_take_out",
        breaks="A zip that unpacks to more than a disk holds is unpacked.",
        find="$condition or $condition_2",
        put="$condition",
        caught_by="tests/scripts/test_fetch.py::test_a_zip_that_cannot_be_unpacked",
        promise="models.py: members of a zip are held to what weights pack down to",
    ),
    Defect(
        "scripts/models.py::show_list",
        breaks="The list says which workflows do not need a model.",
        find="$model in $needs",
        put="$model not in $needs",
        caught_by="tests/scripts/test_models_script.py::test_the_list_says_what_is_needed_by_which_workflow",
        promise="models.py: tables",
    ),
    Defect(
        "scripts/models.py::missing",
        breaks="Everything is downloaded for a workflow, whatever is there.",
        find="models_to_fetch($chosen, $folders)",
        put="$chosen",
        caught_by="tests/scripts/test_models_script.py::test_what_is_missing_is_no_stand_in",
        promise="models.py: tables",
    ),
    Defect(
        "scripts/models.py::missing",
        breaks="The demo takes its own cartoon for real weights.",
        find="[$model.title for $model in models_to_fetch($models, $folders)]",
        put=(
            "[$model.title for $model in models_to_fetch($models, $folders)"
            " if not Path($folders[$model.key][0]).is_dir()]"
        ),
        caught_by="tests/scripts/test_models_script.py::test_what_is_missing_is_no_stand_in",
        promise="scripts: demo",
    ),
    Defect(
        "scripts/models.py::doctor",
        breaks="The doctor in a terminal ends with 0 although files are missing.",
        find="return TO_DO",
        put="return ALL_THERE",
        caught_by="tests/scripts/test_models_doctor.py::test_a_missing_an_empty_and_a_misplaced_file",
        promise="models.py: what of a workflow is missing, damaged or misplaced",
    ),
    Defect(
        "scripts/models.py::main",
        breaks="What is no workflow counts as one whose files are missing.",
        find="return NOT_EXAMINED",
        put="return TO_DO",
        caught_by="tests/scripts/test_models_doctor.py::test_what_is_no_workflow",
        promise="models.py: what of a workflow is missing, damaged or misplaced",
    ),
    Defect(
        "scripts/rig/host_folders.py::of_host",
        breaks="The doctor in a terminal does not look where extra_model_paths.yaml leads.",
        find="_add_extra($extra)",
        put="pass",
        caught_by="tests/host/test_doctor_script.py::test_every_folder_of_a_comfyui_is_looked_into",
        promise="models.py: what of a workflow is missing, damaged or misplaced",
    ),
    Defect(
        "scripts/models.py::start",
        breaks="Sizes of downloads in README are in MB.",
        find="$sum / 1000000000.0",
        put="$sum / 1000000.0",
        caught_by="tests/contract/test_models_manifest.py::test_readme_and_workflows_are_up_to_date",
        promise="models.py: tables",
    ),
    Defect(
        "scripts/models.py::starter_files",
        breaks="A file that no template of the table needs is marked for all.",
        find="'●' * ($model in $models)",
        put="'●' * ($model not in $models)",
        caught_by="tests/contract/test_models_manifest.py::test_readme_and_workflows_are_up_to_date",
        promise="models.py: tables",
    ),
    Defect(
        "scripts/models.py::workflow",
        breaks="Blueprints offer files of an older manifest.",
        find="nodes_in($graph)",
        put="$graph['nodes']",
        caught_by="tests/scripts/test_models_script.py::test_blueprints_are_renewed_too",
        promise="models.py: what is made from the manifest is renewed everywhere",
    ),
    Defect(
        "scripts/readable.py::require_file",
        breaks="A device is read without end.",
        find="$is_kind($state.st_mode)",
        put="False",
        caught_by="tests/scripts/test_what_scripts_are_given.py::test_nothing_is_read_that_is_no_file_or_never_ends",
        promise="scripts: nothing is read that never ends",
    ),
    Defect(
        "scripts/test.py::main",
        breaks="A run of the tests changes a tracked file.",
        find="$results.write_text",
        put="status.PAGE.write_text",
        caught_by="tests/scripts/test_whole_run.py::test_a_whole_run_changes_no_tracked_file",
        promise="scripts: test.py",
    ),
    Defect(
        "scripts/test.py::not_tested",
        breaks="The last line of a run without a ComfyUI reads as if everything had passed.",
        find="$gaps.append(f'everything that needs a ComfyUI (nodes, promises, parity): {$no_host}')",
        put="$gaps.count(f'everything that needs a ComfyUI (nodes, promises, parity): {$no_host}')",
        caught_by="tests/scripts/test_whole_run.py::test_without_a_comfyui_the_last_line_says_what_was_not_tested",
        promise="scripts: test.py",
    ),
    Defect(
        "scripts/test.py::split",
        breaks="-k without a word runs everything.",
        find="$arguments and $condition",
        put="False",
        caught_by="tests/scripts/test_scripts.py::test_options_are_no_paths",
        promise="scripts: test.py",
    ),
    Defect(
        "scripts/test.py::sessions",
        breaks="The oldest ComfyUI runs all tests, the newest only some.",
        find="max",
        put="min",
        caught_by="tests/scripts/test_scripts.py::test_what_a_tier_runs_in_which_host",
        promise="scripts: test.py",
    ),
    Defect(
        "scripts/test.py::report",
        breaks="A run that collects no test passes.",
        find="$bool or $nothing or $condition",
        put="$bool or $condition",
        caught_by="tests/scripts/test_scripts.py::test_nothing_collected_is_a_failure",
        promise="scripts: test.py",
    ),
    Defect(
        "scripts/test.py::report",
        breaks="Without a ComfyUI CI passes.",
        find="$host_missing and $condition",
        put="False",
        caught_by="tests/scripts/test_scripts.py::test_no_host",
        promise="scripts: test.py",
    ),
    Defect(
        "scripts/to_safetensors.py::convert",
        breaks="A file is converted over one that is there.",
        find="$target.exists()",
        put="False",
        caught_by="tests/scripts/test_to_safetensors.py",
        promise="nothing is written over",
    ),
]
