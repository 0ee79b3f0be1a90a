"""Defects of scripts/miniature, scripts/miniature/training: tests/support/anchors.py says what each field means."""

from anchors import Defect

DEFECTS = [
    Defect(
        "scripts/miniature/export.py::repeated",
        breaks="A widened layer is too strong where it has more inputs.",
        find="$repeat_interleave / $times",
        put="$repeat_interleave",
        caught_by="tests/scripts/test_miniature_figures.py::test_a_wider_layer_says_the_same_more_often",
        promise="miniature: widened files compute the same",
    ),
    Defect(
        "scripts/miniature/export.py::_queries",
        breaks="Attention of the widened UNet is stronger than it learned.",
        find="return $repeat / $times",
        put="return $repeat",
        caught_by=(
            "tests/host/test_miniature.py::test_everybody_is_in_their_place_as_without_a_host[swapped, as wide as SDXL]"
        ),
        promise="miniature: widened files compute the same",
    ),
    Defect(
        "scripts/miniature/export_encoder.py::_latents",
        breaks="A second pass begins from grey.",
        find="$bias[3] = -WAVE",
        put="$bias[3] = 0",
        caught_by="tests/host/test_miniature.py::test_pictures_become_latents_as_the_small_net_makes_them",
        promise="miniature: the host encodes pictures as the miniature does",
    ),
    Defect(
        "scripts/miniature/export_parts2whole.py::_queries",
        breaks="Heads of Parts2Whole's miniature attend more sharply than it learned.",
        find="$repeated / ($shape[0] / $weight.shape[0]) ** 0.5",
        put="$repeated",
        caught_by="tests/host/test_miniature.py::test_parts_are_worn_as_without_a_host",
        promise="Parts2Whole: widened files compute the same",
    ),
    Defect(
        "scripts/miniature/install.py::_lacking",
        breaks="A face pack of the user's own gets files of ours.",
        find="$entries if $condition else []",
        put="$entries",
        caught_by="tests/scripts/test_miniature_install.py::test_a_face_pack_is_completed_but_the_users_own_is_not",
        promise="miniature: a face pack of the user's own stays",
    ),
    Defect(
        "scripts/miniature/install.py::put",
        breaks="The miniature stays in a ComfyUI in part where it could not be put there.",
        find="$created.remove()",
        put="pass",
        caught_by="tests/scripts/test_miniature_install.py::test_a_run_that_fails_leaves_nothing",
        promise="miniature: a run that fails leaves nothing",
    ),
    Defect(
        "scripts/miniature/install.py::Created.write",
        breaks="A run that fails removes what an earlier one has put there.",
        find="not os.path.lexists($file)",
        put="True",
        caught_by="tests/scripts/test_miniature_install.py::test_a_run_that_fails_leaves_nothing",
        promise="miniature: a run that fails leaves nothing",
    ),
    Defect(
        "scripts/miniature/install.py::_workflow_left",
        breaks="A changed workflow of the user's is replaced by the demo.",
        find="not $target.exists()",
        put="True",
        caught_by="tests/scripts/test_miniature_install.py::test_what_the_user_has_stays",
        promise="miniature: what the user has stays",
    ),
    Defect(
        "scripts/miniature/install.py::ready",
        breaks="The miniature's workflow offers the released files to download.",
        find="$node.get('properties', {}).pop('models', None)",
        put="pass",
        caught_by=("tests/scripts/test_miniature_install.py::test_everything_is_set_and_a_second_time_changes_nothing"),
        promise="miniature: the miniature's workflow runs as it is",
    ),
    Defect(
        "scripts/miniature/measure.py::_unmixed",
        breaks="A right cartoon measures as wrong.",
        find="return torch.linalg.solve($shares.T @ $shares + $kept, $shares.T @ $cells + $kept @ $means)",
        put="return $means",
        caught_by="tests/scripts/test_miniature_figures.py::test_a_right_cartoon_measures_as_right",
        promise="miniature: a right picture measures as right",
    ),
    Defect(
        "scripts/miniature/measure.py::nearest",
        breaks="A place where everything is hidden counts as the first person's.",
        find=("$people.append(None)\ncontinue"),
        put="pass",
        caught_by="tests/scripts/test_published_figures.py::test_a_place_where_nothing_is_seen_looks_like_nobody",
        promise="figures: published figures",
    ),
    Defect(
        "scripts/miniature/measure.py::leakage",
        breaks="The miniature's leakage is divided by the number of others.",
        find=(
            "for $picture in $pictures:\n"
            "    $people = len($picture.meant)\n"
            "    $$loop\n"
            "$$between\n"
            "return Mixture(float($slopes[0]), float($slopes[1]))"
        ),
        put=(
            "for $picture in $pictures:\n"
            "    $people = len($picture.meant)\n"
            "    $$loop\n"
            "$$between\n"
            "return Mixture(float($slopes[0]), float($slopes[1]) / ($people - 1))"
        ),
        caught_by="tests/scripts/test_leakage_of_the_miniature.py::test_a_fifth_of_all_others_is_exactly_a_fifth[4]",
        promise="figures: published figures",
    ),
    Defect(
        "scripts/miniature/measure.py::leakage",
        breaks="What leaks into a place is compared with the look of the next person alone.",
        find="($meant.sum(0, keepdim=True) - $meant) / ($people - 1)",
        put="$meant.roll(-1, 0)",
        caught_by="tests/scripts/test_leakage_of_the_miniature.py::test_a_fifth_of_all_others_is_exactly_a_fifth[8]",
        promise="figures: published figures",
    ),
    Defect(
        "scripts/miniature/net.py::_resampler",
        breaks="Training from nothing begins from what lay in memory.",
        find="nn.init.normal_($made.latents, std=WIDTH ** (-0.5))",
        put="pass",
        caught_by=(
            "tests/scripts/test_miniature_figures.py::test_a_part_learns_and_goes_on_where_it_stopped[projections]"
        ),
        promise="miniature: training from nothing works",
    ),
    Defect(
        "scripts/miniature/stored.py::_state",
        breaks="The miniature's weights are read without their scales.",
        find="($state.flatten(1) * $scale[:, None]).view($weight.shape)",
        put="$state / 127",
        caught_by="tests/scripts/test_miniature_figures.py::test_unseen_people_are_in_their_places",
        promise="miniature: the miniature draws everybody in their own place",
    ),
    Defect(
        "scripts/miniature/training/train.py::Training.load",
        breaks="Training forgets where it stopped.",
        find="self.step, self.seconds = $entries",
        put="pass",
        caught_by=(
            "tests/scripts/test_miniature_figures.py::test_a_part_learns_and_goes_on_where_it_stopped[networks]"
        ),
        promise="miniature: training goes on where it stopped",
    ),
    Defect(
        "scripts/miniature/training/train.py::begin",
        breaks="Training unlearns what patches say, by which pictures are judged.",
        find="$name.startswith($learns) and $any",
        put="True",
        caught_by=(
            "tests/scripts/test_miniature_figures.py::test_a_part_learns_and_goes_on_where_it_stopped[projections]"
        ),
        promise="miniature: what is settled stays as it is",
    ),
]
