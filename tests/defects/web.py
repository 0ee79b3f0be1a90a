"""Defects of web: tests/support/anchors.py says what each field means."""

from anchors import Defect

DEFECTS = [
    Defect(
        "web/box_links.js",
        breaks="Boxes of other packs are changed when a file opens.",
        find='($properties.cnr_id === "likeness" || someAreOurs($subgraphs.get($type).nodes))',
        put="true",
        caught_by=(
            "tests/host/test_typed_values.py::test_boxes_of_other_packs_are_left_alone[its own with classic nodes]"
        ),
        promise="editor: boxes of others are left alone",
    ),
    Defect(
        "web/gallery.js",
        breaks="A template chosen by its title does not open.",
        find=(
            "const $stem = stems.get($title); return apiURL.call(this, $stem ? TEMPLATES_ROUTE + $stem + "
            '($ending ?? "")'
        ),
        put=(
            "const $stem = stems.get($title);\n"
            '      return apiURL.call(this, $stem ? TEMPLATES_ROUTE + $title + ($ending ?? "")'
        ),
        caught_by=(
            "tests/host/test_browser.py::test_the_gallery_shows_titles_in_their_order[its own with classic nodes]"
        ),
        promise="editor: the gallery has titles",
    ),
    Defect(
        "web/gallery.js",
        breaks="The gallery shows templates in the order of their files.",
        find="return [...$known, ...$others.map(($file) => [$file, $file])].map(",
        put="return [...$known, ...$others.map(($file) => [$file, $file])].sort().map(",
        caught_by=(
            "tests/host/test_browser.py::test_the_gallery_shows_titles_in_their_order[its own with classic nodes]"
        ),
        promise="editor: the gallery has titles",
    ),
    Defect(
        "web/labels.js",
        breaks="Labels of nodes stay English in Chinese.",
        find='for (const $slot of $nodes.flatMap(slotsOf)) put($slot, "label");',
        put="",
        caught_by=(
            "tests/host/test_browser.py"
            "::test_nodes_and_templates_speak_chinese_where_the_frontend_does[its own with classic nodes]"
        ),
        promise="editor: templates are Chinese",
    ),
    Defect(
        "web/labels.js",
        breaks="Notes stay English in Chinese.",
        find="$lines.get($line) ?? $line",
        put="$line",
        caught_by=(
            "tests/host/test_browser.py"
            "::test_nodes_and_templates_speak_chinese_where_the_frontend_does[its own with classic nodes]"
        ),
        promise="editor: templates are Chinese",
    ),
    Defect(
        "web/labels.js",
        breaks="Words of lists lose the English behind them.",
        find="`${$options.get($word)} ${$word}`",
        put="$options.get($word)",
        caught_by=(
            "tests/host/test_browser.py"
            "::test_nodes_and_templates_speak_chinese_where_the_frontend_does[its own with classic nodes]"
        ),
        promise="editor: templates are Chinese",
    ),
    Defect(
        "web/likeness.js",
        breaks="A saved cast lacks its hidden places on a page without the pack.",
        find="if (isPerson($input)) delete $input.widget;",
        put="if (!isPerson($input)) delete $input.widget;",
        caught_by=(
            "tests/host/test_browser.py"
            "::test_what_is_saved_and_sent_is_the_same_without_the_extension[its own with classic nodes]"
        ),
        promise="editor: files are the same without our scripts",
    ),
    Defect(
        "web/likeness.js",
        breaks="The socket of a report is drawn in the colour of the node it is on.",
        find='LIKENESS_REPORT: "#e45580"',
        put='LIKENESS_REPORT: "#383838"',
        caught_by=(
            "tests/host/test_browser.py"
            "::test_every_kind_of_socket_has_a_colour_that_is_seen[its own with classic nodes]"
        ),
        promise="editor: sockets are seen",
    ),
    Defect(
        "web/likeness.js",
        breaks="Two free places are shown in a cast, not one.",
        find="!linked(weightOf($person))).slice(1)",
        put="!linked(weightOf($person))).slice(2)",
        caught_by=(
            "tests/host/test_browser.py::test_a_cast_shows_its_people_and_one_place_more[its own with classic nodes]"
        ),
        promise="editor: a cast shows its people",
    ),
    Defect(
        "web/names.js",
        breaks="A pasted node keeps the name that another system has written.",
        find="queueMicrotask(() => takeNames($node));",
        put="",
        caught_by="tests/host/test_names_in_the_page.py::test_an_api_export_and_nodes_that_are_pasted",
        promise="web: files of other systems",
    ),
    Defect(
        "web/ours.js",
        breaks="Links of the doctor open over the workflow.",
        find='$anchor.target = "_blank";',
        put="",
        caught_by=(
            "tests/host/test_browser.py::test_the_doctor_shows_links_and_copies_them[its own with classic nodes]"
        ),
        promise="doctor: links can be opened",
    ),
    Defect(
        "web/reruns.js",
        breaks="A note of an earlier run stands under a node that was not reached.",
        find='$failed && !reached($id) ? " " : $text',
        put="$text",
        caught_by=(
            "tests/host/test_browser.py"
            "::test_a_page_opened_anew_shows_previews_and_notes_of_nodes_that_are_not_run_again[its own "
            "with classic nodes]"
        ),
        promise="editor: notes are of this run",
    ),
    Defect(
        "web/reruns.js",
        breaks="A page that is opened anew shows no preview of a node that is not run again.",
        find='if ($output) api.dispatchCustomEvent("executed"',
        put='if (!$output) api.dispatchCustomEvent("executed"',
        caught_by=(
            "tests/host/test_browser.py"
            "::test_a_page_opened_anew_shows_previews_and_notes_of_nodes_that_are_not_run_again[its own "
            "with classic nodes]"
        ),
        promise="editor: previews come back",
    ),
    Defect(
        "web/toasts.js",
        breaks="A note that is seen under its node is a toast too.",
        find="if ($note && !isSeen($nodes))",
        put="if ($note)",
        caught_by=(
            "tests/host/test_browser.py::test_an_error_and_an_unseen_note_are_toasts[its own with classic nodes]"
        ),
        promise="editor: notes are seen once",
    ),
]
