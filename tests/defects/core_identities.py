"""Defects of core/identities: tests/support/anchors.py says what each field means."""

from anchors import Defect

DEFECTS = [
    Defect(
        "core/identities/blending.py::slerp",
        breaks="A blend of one person with themselves is NaN.",
        find="$sine < _SMALLEST_SINE",
        put="$sine < -1",
        caught_by="tests/unit/test_identities.py::test_slerp_turns_at_an_even_pace_and_keeps_the_length",
        promise="blends",
    ),
    Defect(
        "core/identities/combining.py::_portraits_of_all",
        breaks="Portraits of several photos are kept in another order than embeddings.",
        find="[$face.portrait for $face in $faces if $condition]",
        put="[$face.portrait for $face in $faces[::-1] if $condition]",
        caught_by="tests/unit/test_identities.py::test_embeddings_crops_and_portraits_are_in_the_order_of_the_photos",
        promise="pictures for networks",
    ),
    Defect(
        "core/identities/combining.py::combine",
        breaks="Photos that agree little weigh too much.",
        find="_agreement($rows) ** 2",
        put="_agreement($rows)",
        caught_by="tests/unit/test_identities.py::test_weighted_mean_counts_photos_by_how_they_agree_with_the_others",
        promise="several photos of one person",
    ),
    Defect(
        "core/identities/combining.py::combine",
        breaks="The normalised mean is as short as the mean.",
        find="$direction / lengths($direction) * $length",
        put="$direction",
        caught_by="tests/unit/test_identities.py::test_normalised_mean_has_the_mean_direction_and_the_mean_length",
        promise="several photos of one person",
    ),
    Defect(
        "core/identities/lookalikes.py::ONE_PERSON",
        breaks="Twins are said to be one photo twice.",
        find="0.8",
        put="0.65",
        caught_by="tests/unit/test_identities.py::test_a_photo_that_is_there_twice_is_told[others2-told2]",
        promise="what may go wrong is said",
    ),
    Defect(
        "core/identities/matching.py::assigned",
        breaks="Match faces gives everybody the face that is least like them.",
        find="$optimize.linear_sum_assignment($gain, maximize=True)",
        put="$optimize.linear_sum_assignment($gain, maximize=False)",
        caught_by=(
            "tests/unit/test_placing.py::test_people_are_matched_with_the_faces_of_a_photo[one like nobody stays free]"
        ),
        promise="people stand where they were put",
    ),
    Defect(
        "core/identities/saving.py::_check_format",
        breaks="A file of a newer version is read as if it were ours.",
        find="$version != VERSION",
        put="$version not in (VERSION, '2')",
        caught_by="tests/unit/test_identities.py::test_a_damaged_file_is_named[change8-version 2 .*Update]",
        promise="saved people",
    ),
    Defect(
        "core/identities/saving.py::from_tensors",
        breaks="A saved person with NaN for a picture is loaded.",
        find="why_bad_crops($crops)",
        put="''",
        caught_by="tests/unit/test_identities.py::test_a_damaged_file_is_named[change6-its pictures hold nan]",
        promise="saved people",
    ),
    Defect(
        "core/identities/saving.py::_check_same_photos",
        breaks="A saved person whose photos do not fit together is loaded.",
        find="$known and $both and $same and $shape",
        put="$known and $both and $shape",
        caught_by=(
            "tests/unit/test_identities.py::test_a_damaged_file_is_named[change1-tensors do not belong to "
            "the same photos]"
        ),
        promise="saved people",
    ),
]
