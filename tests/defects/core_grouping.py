"""Defects of core/grouping: tests/support/anchors.py says what each field means."""

from anchors import Defect

DEFECTS = [
    Defect(
        "core/grouping/clusters.py::similarities",
        breaks="Similarities of several recognisers: the last one counts alone.",
        find="$stack.mean(0)",
        put="$stack[-1]",
        caught_by="tests/unit/test_grouping.py::test_every_recogniser_counts_alike",
        promise="photos sorted into people",
    ),
    Defect(
        "core/grouping/clusters.py::allowed_pairs",
        breaks="Two faces of one photo become one person.",
        find="$photos[:, None] != $photos",
        put="$photos[:, None] != -$photos",
        caught_by="tests/unit/test_grouping.py::test_two_faces_of_one_photo_are_never_one_person",
        promise="photos sorted into people",
    ),
    Defect(
        "core/grouping/clusters.py::allowed_pairs",
        breaks="Photos without a name are joined where each is to be a person.",
        find="$same & ($number >= 0)",
        put="$number >= -1",
        caught_by="tests/unit/test_grouping.py::test_one_per_photo_joins_only_photos_of_one_name_that_look_alike",
        promise="photos sorted into people",
    ),
    Defect(
        "core/grouping/corrections.py::_faces_meant",
        breaks="A correction that names a photo of several faces renames all of them.",
        find="len($faces) > 1",
        put="len($faces) > 99",
        caught_by=(
            "tests/unit/test_grouping.py::test_corrections_that_say_nothing_are_refused[5: Ben-photo 5 with "
            "2 faces. Write 5.1, 5.2.]"
        ),
        promise="photos sorted into people",
    ),
    Defect(
        "core/grouping/corrections.py::_photo_number",
        breaks="The last photo cannot be corrected by number.",
        find="1 <= $int <= $len",
        put="1 <= $int < $len",
        caught_by=(
            "tests/unit/test_grouping.py::test_corrections_that_say_nothing_are_refused[6: Ben-photo 6, in "
            "which no face was found]"
        ),
        promise="photos sorted into people",
    ),
    Defect(
        "core/grouping/corrections.py::_photo_number",
        breaks="A correction moves the photo after the one that was meant.",
        find="if $wanted in $names:\n    return $index + 1",
        put="if $wanted in $names:\n    return $index",
        caught_by="tests/unit/test_grouping.py::test_corrections[IMG_2031.jpg: Zoe\\n\\nben: --Anna Anna Zoe - Anna -]",
        promise="photos sorted into people",
    ),
    Defect(
        "core/grouping/file_names.py::_NUMBER_BEHIND",
        breaks="Numbers in names of files are kept.",
        find="'[\\\\s\\\\d()]+$'",
        put="'[\\\\s()]+$'",
        caught_by="tests/unit/test_grouping.py::test_names_of_files_are_names_of_people_or_nothing",
        promise="photos sorted into people",
    ),
    Defect(
        "core/grouping/naming.py::names_of_faces",
        breaks="A file's name wins over the names that were given.",
        find="not $name",
        put="True",
        caught_by="tests/unit/test_grouping.py::test_groups_are_named_by_their_files_by_hand_or_by_number",
        promise="photos sorted into people",
    ),
    Defect(
        "core/grouping/naming.py::one_spelling",
        breaks="Anna and Anna are two people.",
        find="folded($name)",
        put="$name",
        caught_by="tests/unit/test_grouping.py::test_groups_are_named_by_their_files_by_hand_or_by_number",
        promise="photos sorted into people",
    ),
    Defect(
        "core/grouping/photo_faces.py::PhotoFace.number",
        breaks="A photo with one face is numbered as if it had several.",
        find="$text if $part else str($photo)",
        put="$text",
        caught_by="tests/unit/test_grouping.py::test_what_may_be_wrong_is_said_and_everything_reported",
        promise="photos sorted into people",
    ),
    Defect(
        "core/grouping/report_text.py::remarks",
        breaks="Photos that are hardly like their person are not said.",
        find="$mean < $done.same_from",
        put="$mean < -1",
        caught_by="tests/unit/test_grouping.py::test_what_may_be_wrong_is_said_and_everything_reported",
        promise="what may go wrong is said",
    ),
    Defect(
        "core/grouping/report_text.py::_line_of_face",
        breaks="A report does not say that a photo was corrected.",
        find="$before != $after",
        put="$before == $after",
        caught_by="tests/unit/test_grouping.py::test_what_may_be_wrong_is_said_and_everything_reported",
        promise="photos sorted into people",
    ),
    Defect(
        "core/grouping/sorting.py::SortedFaces.people",
        breaks="Left out faces are counted as a person called -.",
        find="$name != LEFT_OUT",
        put="True",
        caught_by="tests/unit/test_grouping.py::test_what_may_be_wrong_is_said_and_everything_reported",
        promise="photos sorted into people",
    ),
    Defect(
        "core/grouping/sorting.py::SortedFaces.similarity_to_others",
        breaks="How alike the others are includes the face itself.",
        find="$sum - $own.diagonal()",
        put="$sum",
        caught_by="tests/unit/test_grouping.py::test_what_may_be_wrong_is_said_and_everything_reported",
        promise="photos sorted into people",
    ),
    Defect(
        "core/grouping/sorting.py::sort_faces",
        breaks="Names for nobody are not counted as unused.",
        find="$names[len($groups):]",
        put="$names[:len($groups)]",
        caught_by="tests/unit/test_grouping.py::test_what_may_be_wrong_is_said_and_everything_reported",
        promise="photos sorted into people",
    ),
]
