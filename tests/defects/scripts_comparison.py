"""Defects of scripts/comparison: tests/support/anchors.py says what each field means."""

from anchors import Defect

DEFECTS = [
    Defect(
        "scripts/comparison/methods.py::Method.cost",
        breaks="Costs of the rows that are added count the plain step twice.",
        find="$float - (len($each) - 1)",
        put="$float",
        caught_by="tests/host/test_compare.py::test_cost_is_that_of_the_counted_rows",
        promise="compare.py: published figures",
    ),
    Defect(
        "scripts/comparison/methods.py::_instant_id",
        breaks="The weights of InstantID's two halves are exchanged.",
        find="run($$before, adapter_weight=$adapter, control_strength=$control, **$$rest)",
        put="run($$before, adapter_weight=$control, control_strength=$adapter, **$$rest)",
        caught_by="tests/host/test_compare.py::test_the_halves_of_instant_id_are_those_that_they_are_called",
        promise="compare.py: published figures",
    ),
    Defect(
        "scripts/comparison/methods.py::HALVES",
        breaks="InstantID's halves are exchanged: IdentityNet alone is the adapter alone.",
        find="partial($$before, adapter=0.0)",
        put="partial($$before, control=0.0)",
        caught_by="tests/host/test_compare.py::test_the_halves_of_instant_id_are_those_that_they_are_called",
        promise="compare.py: published figures",
    ),
    Defect(
        "scripts/comparison/worlds.py::by_colour",
        breaks="Own look and leakage are exchanged in the page's table.",
        find="{'association': $association, 'leakage': $leakage, 'own': $own}",
        put="{'association': $association, 'leakage': $own, 'own': $leakage}",
        caught_by=(
            "tests/host/test_compare.py::test_the_judge_finds_looks_in_the_places_of_others_and_parts_in_their_columns"
        ),
        promise="compare.py: published figures",
    ),
    Defect(
        "scripts/comparison/worlds.py::by_colour",
        breaks="The R2 of hair and shirts are exchanged in the page's table.",
        find="measure.fit($seen, $part)",
        put="measure.fit($seen, {'hair': 'shirt', 'shirt': 'hair'}.get($part, $part))",
        caught_by=(
            "tests/host/test_compare.py::test_the_judge_finds_looks_in_the_places_of_others_and_parts_in_their_columns"
        ),
        promise="compare.py: published figures",
    ),
    Defect(
        "scripts/comparison/worlds.py::_seen",
        breaks="A method that knows faces alone is judged as one that knows bodies, and the other way round.",
        find="$by_face if $by_keypoints else $standing",
        put="$standing if $by_keypoints else $by_face",
        caught_by=(
            "tests/host/test_compare.py::test_bodies_are_looked_for_where_the_method_was_told_of_them[by faces]"
        ),
        promise="compare.py: published figures",
    ),
    Defect(
        "scripts/comparison/worlds.py::by_face",
        breaks="compare.py counts strangers as missing people.",
        find="$totals.missing",
        put="$totals.extra",
        caught_by="tests/host/test_compare.py::test_faces_are_judged_under_the_names_of_what_they_are",
        promise="compare.py: published figures",
    ),
    Defect(
        "scripts/comparison/worlds.py::by_face",
        breaks="compare.py's resemblance and association are exchanged.",
        find=(
            '{"association": $totals.association, "leakage": $leakage, "resemblance": $totals.resemblance, '
            '"missing": $missing, "swapped": $swapped}'
        ),
        put=(
            '{"association": $totals.resemblance, "leakage": $leakage, "resemblance": $totals.association, '
            '"missing": $missing, "swapped": $swapped}'
        ),
        caught_by="tests/host/test_compare.py::test_faces_are_judged_under_the_names_of_what_they_are",
        promise="compare.py: published figures",
    ),
    Defect(
        "scripts/comparison/worlds.py::by_face",
        breaks="compare.py's missing people are a count, which grows with the pictures of a row.",
        find=(
            "{'association': $association, 'leakage': $leakage, 'resemblance': $resemblance, 'missing': "
            "$missing / $people, 'swapped': $swapped}"
        ),
        put=(
            "{'association': $association, 'leakage': $leakage, 'resemblance': $resemblance, 'missing': "
            "$missing, 'swapped': $swapped}"
        ),
        caught_by="tests/host/test_compare.py::test_faces_are_judged_under_the_names_of_what_they_are",
        promise="compare.py: published figures",
    ),
]
