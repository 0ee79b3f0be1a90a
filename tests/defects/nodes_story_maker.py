"""Defects of nodes/story_maker: tests/support/anchors.py says what each field means."""

from anchors import Defect

DEFECTS = [
    Defect(
        "nodes/story_maker/bodies.py::_BLUR",
        breaks="The edge of a cut-out is hard.",
        find="$tensor / 16",
        put="torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0])",
        caught_by="tests/faces/test_story_maker_cut_outs.py::test_a_person_is_cut_out_as_published[True]",
        promise="StoryMaker: parity",
    ),
    Defect(
        "nodes/story_maker/bodies.py::cut_out",
        breaks="Somebody of weight 0 is left out, but the next wears their clothes.",
        find="for $person, $part in zip($people, $parts, strict=True):\n    $$body",
        put="for $person, $part in zip(sorted($people, key=lambda x: x.weight == 0), $parts, strict=True):\n    $$body",
        caught_by=(
            "tests/faces/test_story_maker_cut_outs.py::test_parts_pictures_and_one_photo_of_all_give_the_same_bodies"
        ),
        promise="StoryMaker: second picture",
    ),
    Defect(
        "nodes/story_maker/bodies.py::_parts",
        breaks="Fewer pictures of bodies than people are taken, and somebody wears another's clothes.",
        find=("if len($given.parts) != $count:\n    raise $bodiesmissing"),
        put="",
        caught_by="tests/host/test_refused.py::test_it_is_refused_in_its_own_words[a part for two people]",
        promise="StoryMaker: wrong value",
    ),
    Defect(
        "nodes/story_maker/bodies.py::_masks_of_people",
        breaks="With masks everybody's clothes are the first person's.",
        find="list(as_masks($masks)[:, None])",
        put="[as_masks($masks)[:1]] * len($masks)",
        caught_by=(
            "tests/faces/test_story_maker_cut_outs.py::test_parts_pictures_and_one_photo_of_all_give_the_same_bodies"
        ),
        promise="StoryMaker: second picture",
    ),
    Defect(
        "nodes/story_maker/bodies.py::_cut_by_mask",
        breaks="The mask of a body is ignored: CLIP sees what is around the person.",
        find="(255 * (1 - $soft) + $soft * $pixels).floor()",
        put="$pixels",
        caught_by="tests/faces/test_story_maker_cut_outs.py::test_a_person_is_cut_out_as_published[True]",
        promise="StoryMaker: mask",
    ),
    Defect(
        "nodes/story_maker/net.py::PersonFeatures.unconditional",
        breaks="The negative sees what CLIP makes of the person.",
        find="return $seen",
        put="return PersonFeatures(torch.zeros_like(self.embedding), self.face, self.body)",
        caught_by=(
            "tests/parity/test_story_maker_parity.py::test_the_negative_is_zeros_and_not_what_clip_sees_of_black"
        ),
        promise="StoryMaker: parity",
    ),
    Defect(
        "nodes/story_maker/net.py::Projection.person",
        breaks="The number of a person is left out of the tokens.",
        find="$tokens = $cat + $position",
        put="$tokens = $cat",
        caught_by="tests/parity/test_story_maker_parity.py::test_tokens_of_a_person[2-1.0]",
        promise="StoryMaker: parity",
    ),
    Defect(
        "nodes/story_maker/net.py::Projection.person",
        breaks="The weight of clothes is ignored.",
        find="$resample * $features.body_weight",
        put="$resample",
        caught_by="tests/parity/test_story_maker_parity.py::test_tokens_of_a_person[0-0.0]",
        promise="StoryMaker: weight",
    ),
    Defect(
        "nodes/story_maker/net.py::Projection.person",
        breaks="Tokens of clothes come before those of the face.",
        find="[$face, $body]",
        put="[$body, $face]",
        caught_by="tests/parity/test_story_maker_parity.py::test_tokens_of_a_person[4-0.5]",
        promise="StoryMaker: row order",
    ),
    Defect(
        "nodes/story_maker/net.py::Projection.person",
        breaks="The last layer of the projection has no shortcut around it.",
        find="return $norm_out + $tokens",
        put="return $norm_out",
        caught_by="tests/parity/test_story_maker_parity.py::test_tokens_of_a_person[4-0.5]",
        promise="StoryMaker: parity",
    ),
    Defect(
        "nodes/story_maker/net.py::StoryMakerNet.tokens",
        breaks="Everybody is told to be the first person of the picture.",
        find="$entries if $alone else range($len)",
        put="$entries",
        caught_by="tests/parity/test_story_maker_parity.py::test_sampling_equals_diffusers[two by region]",
        promise="StoryMaker: parity",
    ),
    Defect(
        "nodes/story_maker/net.py::StoryMakerNet.tokens",
        breaks="With a row each people are told to be the second, third ... of the picture.",
        find="[0] * $len if $alone else $range",
        put="$range",
        caught_by=(
            "tests/promises/test_rows.py::test_people_of_a_row_each_are_alone_in_it[story_maker, ApplyStoryMaker]"
        ),
        promise="StoryMaker: row order",
    ),
    Defect(
        "nodes/story_maker/net.py::together",
        breaks="In the whole picture the background comes behind the people.",
        find="[$background, $people]",
        put="[$people, $background]",
        caught_by="tests/unit/test_story_maker.py::test_the_whole_picture_is_one_row_of_all_tokens",
        promise="StoryMaker: row order",
    ),
    Defect(
        "nodes/story_maker/net.py::apart",
        breaks="Behind background and person nobody's tokens weigh half as much as as published.",
        find="[$background, $background]",
        put="[$background, torch.zeros_like($background)]",
        caught_by="tests/unit/test_story_maker.py::test_every_pixel_shares_one_softmax_with_the_background",
        promise="StoryMaker: parity",
    ),
    Defect(
        "nodes/story_maker/net.py::with_background",
        breaks="Where regions overlap people and background are heard by more than one in all.",
        find="$shares = region_weights($regions)\n$background = $rest\nreturn torch.cat([$background, $shares])",
        put="$shares = region_weights($regions)\n$background = $rest\nreturn torch.cat([$background, $regions])",
        caught_by="tests/unit/test_story_maker.py::test_every_pixel_shares_one_softmax_with_the_background",
        promise="StoryMaker: region",
    ),
    Defect(
        "nodes/story_maker/net.py::with_background",
        breaks="Where nobody stands the first person speaks instead of the background.",
        find="[$background, $shares]",
        put="[torch.zeros_like($shares[:1]), $shares]",
        caught_by="tests/unit/test_story_maker.py::test_every_pixel_shares_one_softmax_with_the_background",
        promise="StoryMaker: region",
    ),
    Defect(
        "nodes/story_maker/nodes.py::_features",
        breaks="The embedding is not brought to length 1.",
        find="normalize($float, dim=-1)",
        put="$float",
        caught_by="tests/parity/test_story_maker_parity.py::test_sampling_equals_diffusers[two as published]",
        promise="StoryMaker: parity",
    ),
    Defect(
        "nodes/story_maker/nodes.py::_features",
        breaks="StoryMaker sees faces with red and blue exchanged.",
        find="portraits($$arguments).aligned",
        put="portraits($$arguments).aligned.flip(-1)",
        caught_by="tests/parity/test_story_maker_parity.py::test_sampling_equals_diffusers[two as published]",
        promise="StoryMaker: pictures for networks",
    ),
    Defect(
        "nodes/story_maker/nodes.py::_features",
        breaks="Face and clothes are exchanged where StoryMaker sees them.",
        find="PersonFeatures($embedding, $face, $body, $weight)",
        put="PersonFeatures($embedding, $body, $face, $weight)",
        caught_by="tests/parity/test_story_maker_parity.py::test_sampling_equals_diffusers[two as published]",
        promise="StoryMaker: pictures for networks",
    ),
    Defect(
        "nodes/story_maker/nodes.py::_injections",
        breaks="More people than the file has numbers for are taken for the whole picture.",
        find="$whole and len($people) > $net.most_people",
        put="False",
        caught_by="tests/host/test_refused.py::test_it_is_refused_in_its_own_words[four in the whole picture]",
        promise="StoryMaker: wrong value",
    ),
    Defect(
        "nodes/story_maker/nodes.py::_injections",
        breaks="Everybody has the first person's weight.",
        find="[$person.weight for $person in $people]",
        put="[$people[0].weight for $person in $people]",
        caught_by="tests/host/test_methods.py::test_every_setting_changes_the_picture[LikenessApplyStoryMaker-cast]",
        promise="StoryMaker: weight",
    ),
    Defect(
        "nodes/story_maker/nodes.py::_injections",
        breaks="Two people have the weights of each other.",
        find="[$person.weight for $person in $people]",
        put="[$person.weight for $person in $people[::-1]]",
        caught_by=(
            "tests/host/test_weights.py::test_values_of_everybody_are_as_loud_as_that_person[LikenessApplyStoryMaker]"
        ),
        promise="StoryMaker: weight",
    ),
    Defect(
        "nodes/story_maker/nodes.py::_injections",
        breaks="The weight of the node is ignored.",
        find="$joined * $weight",
        put="$joined",
        caught_by=(
            "tests/host/test_methods.py::test_every_setting_changes_the_picture[LikenessApplyStoryMaker-weight]"
        ),
        promise="StoryMaker: weight",
    ),
    Defect(
        "nodes/story_maker/nodes.py::_injections",
        breaks="The negative sees the people.",
        find="for $side in ($features, $no_features):\n    $$body",
        put="for $side in ($no_features, $features):\n    $$body",
        caught_by="tests/parity/test_story_maker_parity.py::test_sampling_equals_diffusers[two by region]",
        promise="StoryMaker: row order",
    ),
]
