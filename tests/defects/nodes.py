"""Defects of nodes: tests/support/anchors.py says what each field means."""

from anchors import Defect

DEFECTS = [
    Defect(
        "nodes/doctor.py::CheckModelFiles.define_schema",
        breaks="A node cannot be found in saved workflows.",
        find="'LikenessCheckModelFiles'",
        put="'LikenessModelDoctor'",
        caught_by="tests/contract/test_boundaries.py::test_class_is_named_like_its_id",
        promise="nodes: ids are an API",
    ),
    Defect(
        "nodes/doctor.py::CheckModelFiles.execute",
        breaks="Nothing stands under a doctor that found something missing.",
        find="notes.tell(notes.node_of(cls), $text)",
        put="pass",
        caught_by="tests/host/test_doctor_node.py::test_for_a_template",
        promise="the doctor's list",
    ),
    Defect(
        "nodes/measure.py::PickBestLikeness.execute",
        breaks="The worst pictures are kept.",
        find="$order[:$keep]",
        put="$order[-$keep:]",
        caught_by="tests/host/test_measure_nodes.py::test_the_best_are_kept_with_their_latents",
        promise="measuring",
    ),
    Defect(
        "nodes/people.py::_chosen_face",
        breaks="A face found at another size has its box in the wrong pixels.",
        find="$to_photo.box($box)",
        put="$box",
        caught_by=(
            "tests/host/test_people.py::test_a_face_is_recognised_in_the_photo_as_instant_id_s_authors_resize_it"
        ),
        promise="faces",
    ),
    Defect(
        "nodes/people.py::Cast.execute",
        breaks="Somebody without a face is in the cast.",
        find="identities.photos_of($identity)",
        put="$identity",
        caught_by="tests/host/test_people.py::test_cast_leaves_out_people_without_photos_and_says_so",
        promise="casts",
    ),
    Defect(
        "nodes/person_loras.py::LoRAPerPerson.execute",
        breaks="At strength 0 the MODEL and the texts are still patched.",
        find="scopes.acting_cast($$before, $strength, $$rest)",
        put="scopes.acting_cast($$before, 1.0, $$rest)",
        caught_by="tests/promises/test_off.py::test_off_it_hands_back_what_came_in[LoRAPerPerson]",
        promise="LoRA per Person: off",
    ),
    Defect(
        "nodes/person_loras.py::_regional_words",
        breaks="The words of one person's LoRA are read all over the picture.",
        find="appended_text($tokens, $areas, $value)",
        put="appended_text($tokens, torch.ones_like($areas), $value)",
        caught_by=(
            "tests/host/test_lora_per_person.py"
            "::test_in_the_first_attention_their_own_half_alone_reads_the_words_of_one"
        ),
        promise="LoRA per Person: mask",
    ),
    Defect(
        "nodes/person_loras.py::_read_loras",
        breaks="A person's weight does not reach their LoRA.",
        find="$strength * $person.weight",
        put="$strength",
        caught_by="tests/host/test_lora_per_person.py::test_a_whole_sampling_is_plain_torch_with_hooks[0-dtype0-1e-05]",
        promise="LoRA per Person: everybody's weight reaches them",
    ),
    Defect(
        "nodes/person_loras.py::_read_loras",
        breaks="The strength of LoRA per Person is left out.",
        find="$strength * $person.weight * $strength_2",
        put="$strength * $person.weight",
        caught_by="tests/host/test_lora_per_person.py::test_a_whole_sampling_is_plain_torch_with_hooks[0-dtype0-1e-05]",
        promise="LoRA per Person: everybody's weight reaches them",
    ),
    Defect(
        "nodes/photos.py::_find_faces",
        breaks="The second face of a photo cannot be corrected by its number.",
        find="$n if len($found) > 1 else 0",
        put="0",
        caught_by="tests/host/test_photos.py::test_pictures_come_before_the_folder_and_every_face_may_count",
        promise="photos sorted into people",
    ),
    Defect(
        "nodes/places.py::LayoutFromBoxes.execute",
        breaks="Boxes that were drawn count where the text is to.",
        find="$boxes if $boxes_from == 'drawn' else None",
        put="$boxes",
        caught_by="tests/host/test_places.py::test_boxes_of_the_text_count_where_they_are_chosen",
        promise="layouts from boxes",
    ),
    Defect(
        "nodes/places.py::LayoutForAGroup.execute",
        breaks="A group has the number of the widget where a cast is linked.",
        find="len($cast.people) if $cast else $count",
        put="$count",
        caught_by="tests/host/test_places.py::test_a_group_has_as_many_places_as_the_cast_has_people",
        promise="group layouts",
    ),
    Defect(
        "nodes/places.py::PlaceCast.execute",
        breaks="Place Cast shows people in the order of the cast.",
        find=(
            "for $person in $places:\n"
            "    $identity = None if $person is None else $cast.people[$person].identity\n"
            "    $$body"
        ),
        put=(
            "for number, $person in enumerate($places):\n"
            "    $identity = None if $person is None else $cast.people[number % len($cast.people)].identity\n"
            "    $$body"
        ),
        caught_by="tests/host/test_places.py::test_everybody_is_seen_in_their_own_place[custom-2,0,3,1-faces0]",
        promise="everybody is seen in their place",
    ),
    Defect(
        "nodes/places.py::PlaceCast.execute",
        breaks="Place Cast shows the names in the order of the cast.",
        find="drawing.numbered_layout($layout, $names, $lines, $faces)",
        put="drawing.numbered_layout($layout, $names[::-1], $lines, $faces)",
        caught_by="tests/host/test_places.py::test_every_place_has_the_name_of_who_stands_there",
        promise="everybody is seen in their place",
    ),
    Defect(
        "nodes/places.py::PlaceCast.execute",
        breaks="Place Cast shows everybody's face in the place of somebody else.",
        find="drawing.numbered_layout($layout, $names, $lines, $faces)",
        put="drawing.numbered_layout($layout, $names, $lines, $faces[::-1])",
        caught_by="tests/host/test_places.py::test_everybody_is_seen_in_their_own_place[custom-2,0,3,1-faces0]",
        promise="everybody is seen in their place",
    ),
    Defect(
        "nodes/places.py::PlaceCast.execute",
        breaks="Place Cast shows the last photo instead of the first.",
        find="$identity.crops[0]",
        put="$identity.crops[-1]",
        caught_by="tests/host/test_places.py::test_everybody_is_seen_in_their_own_place[custom-2,0,3,1-faces0]",
        promise="everybody is seen in their place",
    ),
    Defect(
        "nodes/places.py::MaskOfAPersonsPlace.execute",
        breaks="Those who stay are repainted, though their layout is linked.",
        find="() if $layout is None else $staying",
        put="()",
        caught_by="tests/host/test_places.py::test_a_photo_is_seen_in_the_preview_and_changes_nothing_else",
        promise="regions",
    ),
    Defect(
        "nodes/prompts.py::_people_words",
        breaks="Somebody of weight 0 is spoken of.",
        find="$person.weight > 0 and $has_words",
        put="$has_words",
        caught_by="tests/promises/test_off.py::test_off_it_hands_back_what_came_in[PromptPerPerson]",
        promise="Prompt per Person: weight",
    ),
    Defect(
        "nodes/prompts.py::PromptPerPerson.execute",
        breaks="At strength 0 words are still read.",
        find="not $strength or $worded",
        put="$worded",
        caught_by="tests/promises/test_off.py::test_off_it_hands_back_what_came_in[PromptPerPerson]",
        promise="Prompt per Person: off",
    ),
    Defect(
        "nodes/prompts.py::_on_unet",
        breaks="The strength of words is ignored.",
        find="$scope.regions * $strength",
        put="$scope.regions",
        caught_by=(
            "tests/host/test_methods.py::test_every_setting_changes_the_picture[LikenessPromptPerPerson-strength]"
        ),
        promise="Prompt per Person: weight",
    ),
    Defect(
        "nodes/prompts.py::PromptPerPerson.execute",
        breaks="The negative says the words, the positive nothing.",
        find="announced($$before, carried.carry($positive, $spoken), carried.carry($negative, $silent))",
        put="announced($$before, carried.carry($positive, $silent), carried.carry($negative, $spoken))",
        caught_by=(
            "tests/host/test_regional_text.py::test_words_of_one_person_heard_everywhere_are_a_longer_prompt[1.0-77]"
        ),
        promise="Prompt per Person: row order",
    ),
    Defect(
        "nodes/second_pass.py::_decisions",
        breaks="Who is in their place and unlike is taken for a stranger and left.",
        find="-1.0 if $cast.people[0].slot else $stranger",
        put="$stranger",
        caught_by="tests/host/test_second_pass.py::test_who_stands_in_a_place_is_meant_however_unlike",
        promise="second pass",
    ),
]
