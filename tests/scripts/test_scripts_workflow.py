"""Workflows as the editor saves them to prompts: subgraphs, bypassed nodes, widgets, nodes of the editor alone."""

import time
from typing import Any

import old_groups_made
import pytest
import sent_texts
from shared import workflow
from shared.workflow import all_nodes


def definition(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    return {"input": {"required": required, "optional": optional}, "display_name": "Shown"}


KNOWN = {
    "LoadImage": definition({"image": [["a.png"], {"image_upload": True}]}),
    "Sampler": definition(
        {"model": ["MODEL"], "seed": ["INT", {"control_after_generate": True}], "steps": ["INT", {"default": 20}],
         "name": ["COMBO", {"options": ["euler", "heun"]}]},
        latent=["LATENT", {}], denoise=["FLOAT", {"default": 1.0}], text=["STRING", {"forceInput": True}],
    ),
    "OldSeed": definition({"noise_seed": ["INT"]}),
}  # fmt: skip


def node(number: int, kind: str, values: list[Any], *linked: tuple[str, int], mode: int = 0) -> dict[str, Any]:
    inputs = [{"name": name, "link": link} for name, link in linked]
    return {"id": number, "type": kind, "mode": mode, "inputs": inputs, "widgets_values": values}


def graph(*nodes: dict[str, Any], links: tuple[list[Any], ...] = ()) -> dict[str, Any]:
    return {"nodes": list(nodes), "links": list(links)}


def subgraph(inputs: str, inner: dict[str, Any], links: list[dict[str, int]]) -> dict[str, Any]:
    """A box around one node."""
    return {"id": "box", "inputs": [{"name": name} for name in inputs.split()], "nodes": [inner], "links": links}


def test_what_a_file_says_of_its_widgets_needs_no_host() -> None:
    ui = graph(node(1, "Sampler", [7, "randomize", 30], ("seed", 0), ("steps", 0)))
    for slot in ui["nodes"][0]["inputs"]:
        slot |= {"link": None, "widget": {"name": slot["name"]}}
    workflow.fill(ui, {"steps": 8, "seed": 9}, [])
    assert ui["nodes"][0]["widgets_values"] == [9, "randomize", 8]


def test_a_subgraph_is_opened() -> None:
    """3:2 is node 2 inside of node 3; what the box says goes before what the node inside says."""
    sampler = node(2, "Sampler", [7, "fixed", 30, "heun", 0.5], ("model", 1), ("steps", 2))
    links = [link(1, -10, 0, 2, 0), link(2, -10, 1, 2, 1), link(3, 2, 0, -20, 0)]
    box = node(3, "box", [12], ("model", 5))
    box["inputs"].append({"name": "steps", "link": None, "widget": {"name": "steps"}})
    ui = graph(node(1, "OldSeed", [9, "fixed"]), box, node(4, "Sampler", [1, "fixed", 2, "euler", 1.0], ("latent", 6)))
    ui |= {"links": [[5, 1, 0, 3, 0, "MODEL"], [6, 3, 0, 4, 0, "LATENT"]]}
    ui["definitions"] = {"subgraphs": [subgraph("model steps", sampler, links)]}
    prompt = workflow.to_prompt(ui, KNOWN)
    assert list(prompt) == ["1", "3:2", "4"]
    assert prompt["3:2"]["inputs"] == {"model": ["1", 0], "seed": 7, "steps": 12, "name": "heun", "denoise": 0.5}
    assert prompt["4"]["inputs"]["latent"] == ["3:2", 0]
    assert [opened_node["id"] for opened_node in workflow.nodes_in(ui)] == [1, 2, 4]


def test_nodes_inside_of_subgraphs_inside_of_subgraphs() -> None:
    """Once each, also where one stands inside of itself."""
    inner = {"id": "inner", "nodes": [node(5, "Sampler", []), node(6, "outer", [])]}
    outer = {"id": "outer", "nodes": [node(3, "inner", []), node(4, "Sampler", [])]}
    ui = graph(node(1, "OldSeed", []), node(2, "outer", [])) | {"definitions": {"subgraphs": [inner, outer]}}
    assert [opened_node["id"] for opened_node in all_nodes(ui)] == [1, 2, 3, 5, 6, 4]


def link(number: int, source: int, output: int, target: int, slot: int) -> dict[str, int]:
    return {"id": number, "origin_id": source, "origin_slot": output, "target_id": target, "target_slot": slot}


def typed(number: int, kind: str, values: list[Any], inputs: dict[str, int | None], outputs: str = "", mode: int = 0):
    """A node whose slots are named after their types, outputs too."""
    slots = [{"name": name, "type": name.upper().split("_")[0], "link": link} for name, link in inputs.items()]
    output_slots = [{"type": output} for output in outputs.split()]
    return {
        "id": number,
        "type": kind,
        "mode": mode,
        "inputs": slots,
        "outputs": output_slots,
        "widgets_values": values,
    }


PLAIN = dict.fromkeys(("Model", "Patch", "Latent", "Save"), definition({}))
PLAIN |= {"Named": definition({"text": ["STRING", {}]})}


def of_host(number: int, kind: str, version: str) -> dict[str, Any]:
    """A node of ComfyUI itself, as the editor saves it."""
    return typed(number, kind, [], {}, "MODEL") | {"properties": {"cnr_id": "comfy-core", "ver": version}}


def test_a_host_that_is_too_old_is_told_which_version_has_the_nodes() -> None:
    """Nodes of other packs are named beside them."""
    new = of_host(1, "New", "0.9.0")
    newest = of_host(2, "Newest", "0.33.0")
    other = node(3, "Other", []) | {"properties": {"cnr_id": "a-pack"}}
    with pytest.raises(workflow.WorkflowError) as one:
        workflow.to_prompt(graph(new), PLAIN)
    assert str(one.value) == "New is not known to this ComfyUI: update it to 0.9.0 or later."
    with pytest.raises(workflow.WorkflowError) as several:
        workflow.to_prompt(graph(new, newest, other), PLAIN)
    assert str(several.value) == (
        "New, Newest are not known to this ComfyUI: update it to 0.33.0 or later. "
        "Other (node 3, of the pack a-pack) is not known to this ComfyUI: install or update the pack with this node."
    )


@pytest.mark.parametrize("written", [*sent_texts.PROMPTS, *sent_texts.CHOICES])
def test_texts_are_sent_as_the_editor_sends_them(written: str, capsys: pytest.CaptureFixture[str]) -> None:
    inputs = {"text": ["STRING", {"multiline": True, "dynamicPrompts": True}], "note": ["STRING", {}]}
    ui = graph(node(1, "Text", [written, written]))
    prompt = workflow.to_prompt(ui, {"Text": definition(inputs)})
    is_choice = written in sent_texts.CHOICES
    expected = (sent_texts.CHOICES if is_choice else sent_texts.PROMPTS)[written]
    assert prompt["1"]["inputs"] == {"text": expected, "note": written}
    assert ("Shown (node 1), text: braces are sent as they are written" in capsys.readouterr().err) == is_choice


@pytest.mark.parametrize("written", sent_texts.FILES)
def test_no_date_makes_a_prompt_another_one_tomorrow(written: str) -> None:
    ui = graph(node(1, "Save", [written]))
    prompt = workflow.to_prompt(ui, {"Save": definition({"filename_prefix": ["STRING", {}]})})
    assert prompt["1"]["inputs"] == {"filename_prefix": sent_texts.FILES[written]}


def test_comments_take_time_in_proportion() -> None:
    for text in ("/*" * 200_000, "/* */" * 100_000, "//" * 200_000, "\\" * 400_000, "*/" * 200_000):
        ui = graph(node(1, "Text", [text]))
        began = time.process_time()
        workflow.to_prompt(ui, {"Text": definition({"text": ["STRING", {"dynamicPrompts": True}]})})
        assert time.process_time() - began < 2


def test_what_is_replaced_anyway_may_be_unknown() -> None:
    """Its links are gone with it. A host that knows it keeps it."""
    ui = graph(
        of_host(1, "New", "0.9.0"), typed(2, "Save", [], {"model": 1}), links=([1, 1, 0, 2, 0, "MODEL"],)
    )  # fmt: skip
    assert workflow.to_prompt(ui, PLAIN, ("New",)) == {
        "2": {"class_type": "Save", "inputs": {}, "_meta": {"title": "Shown"}}
    }
    known = PLAIN | {"New": definition({})}
    assert list(workflow.to_prompt(ui, known, ("New",))) == ["1", "2"]


@pytest.mark.parametrize("mode", [2, 4])
def test_muted_nodes_are_gone_and_bypassed_ones_are_passed_through(mode: int) -> None:
    """By its type, whichever input has it; a reroute on the way, and what led to a muted node is not sent. So it is of
    a subgraph, and of a node within one."""
    ui = graph(
        typed(1, "Model", [], {}, "MODEL"),
        typed(2, "Latent", [], {}, "LATENT"),
        typed(3, "Reroute", [], {"": 1}, "*"),
        typed(4, "Patch", [], {"latent": 2, "model": 3}, "MODEL LATENT CLIP", mode),
        typed(5, "Save", [], {"model": 4, "latent": 5, "clip": 6}),
        links=([1, 1, 0, 3, 0, "MODEL"], [2, 2, 0, 4, 0, "LATENT"], [3, 3, 0, 4, 1, "MODEL"], [4, 4, 0, 5, 0, "MODEL"],
               [5, 4, 1, 5, 1, "LATENT"], [6, 4, 2, 5, 2, "CLIP"]),
    )  # fmt: skip
    prompt = workflow.to_prompt(ui, PLAIN)
    assert list(prompt) == ["1", "2", "5"]
    assert prompt["5"]["inputs"] == ({"model": ["1", 0], "latent": ["2", 0]} if mode == 4 else {})
    for box, within, reached in ((0, 0, ["2:9", 0]), (mode, 0, ["1", 0]), (0, mode, ["1", 0])):
        patch = typed(9, "Patch", [], {"model": 1}, "MODEL", within)
        inside = subgraph("model", patch, [link(1, -10, 0, 9, 0), link(2, 9, 0, -20, 0)])
        ui = graph(
            typed(1, "Model", [], {}, "MODEL"),
            typed(2, "box", [], {"model": 1}, "MODEL", box),
            typed(3, "Save", [], {"model": 2}),
            links=([1, 1, 0, 2, 0, "MODEL"], [2, 2, 0, 3, 0, "MODEL"]),
        ) | {"definitions": {"subgraphs": [inside]}}
        prompt = workflow.to_prompt(ui, PLAIN)
        is_gone = mode == 2 and (box or within)
        assert prompt["3"]["inputs"] == ({} if is_gone else {"model": reached})
        assert ("2:9" in prompt) == (reached == ["2:9", 0])


def test_a_bypassed_node_with_two_inputs_of_a_type() -> None:
    """The one in the same place as the output, else the first."""
    chosen = [[3 + n, 3, n, 10 + n, 0, "MODEL"] for n in range(3)]
    ui = graph(
        typed(1, "Model", [], {}, "MODEL"),
        typed(2, "Model", [], {}, "MODEL"),
        typed(3, "Patch", [], {"model_a": 1, "model_b": 2}, "MODEL MODEL MODEL", 4),
        *(typed(10 + slot, "Save", [], {"model": 3 + slot}) for slot in range(3)),
        links=([1, 1, 0, 3, 0, "MODEL"], [2, 2, 0, 3, 1, "MODEL"], *chosen),
    )
    prompt = workflow.to_prompt(ui, PLAIN)
    assert [prompt[number]["inputs"]["model"][0] for number in ("10", "11", "12")] == ["1", "2", "1"]


@pytest.mark.parametrize(("required", "reached"), [
    ({"model_b": ["MODEL"], "model_a": ["MODEL"]}, "2"),
    ({"model_new": ["MODEL"], "model_b": ["MODEL"], "model_a": ["MODEL"]}, None),
    ({"steps": ["INT"], "model_b": ["MODEL"]}, "2"),
], ids=["turned", "one more", "widgets last"])  # fmt: skip
def test_a_bypassed_node_has_the_inputs_of_today(required: dict[str, Any], reached: str | None) -> None:
    """A file from before its inputs changed their order, inside of a subgraph, as the editor opens it."""
    patch = typed(9, "Patch", [], {"model_a": 1, "model_b": 2}, "MODEL", 4)
    inside = subgraph("a b", patch, [link(1, -10, 0, 9, 0), link(2, -10, 1, 9, 1), link(3, 9, 0, -20, 0)])
    ui = graph(
        typed(1, "Model", [], {}, "MODEL"),
        typed(2, "Model", [], {}, "MODEL"),
        typed(3, "box", [], {"a": 1, "b": 2}, "MODEL"),
        typed(4, "Save", [], {"model": 3}),
        links=([1, 1, 0, 3, 0, "MODEL"], [2, 2, 0, 3, 1, "MODEL"], [3, 3, 0, 4, 0, "MODEL"]),
    ) | {"definitions": {"subgraphs": [inside]}}
    prompt = workflow.to_prompt(ui, PLAIN | {"Patch": definition(required)})
    assert prompt["4"]["inputs"] == ({"model": [reached, 0]} if reached else {})


def test_a_bypassed_node_has_the_inputs_that_it_has_grown_to() -> None:
    ui = graph(
        typed(1, "Model", [], {}, "MODEL"),
        typed(2, "Batch", [], {"models.model_0": 1}, "MODEL", 4),
        typed(3, "Save", [], {"*": 2}),
        links=([1, 1, 0, 2, 0, "MODEL"], [2, 2, 0, 3, 0, "*"]),
    )
    prompt = workflow.to_prompt(ui, PLAIN | {"Batch": definition({"models": ["COMFY_AUTOGROW_V3"]})})
    assert prompt["3"]["inputs"] == {"*": ["1", 0]}


IN_PACK = definition({}) | {"python_module": "custom_nodes.a-pack"}
OF_PACK = {"properties": {"aux_id": "someone/A-Pack"}}
PHOTO = typed(1, "Model", [], {}, "MODEL")
KEEP = typed(9, "Save", [], {"model": 9})
TO_SET = [8, 1, 0, 2, 0, "MODEL"]


def through(*nodes: dict[str, Any], links: tuple[list[Any], ...] = (), **more: Any) -> dict[str, Any]:
    """A model that is saved, by way of these nodes or beside them."""
    return graph(PHOTO, *nodes, KEEP, links=links or ([9, 1, 0, 9, 0, "MODEL"],)) | more


def setter(number: int, kind: str = "SetNode", name: str = "photo") -> dict[str, Any]:
    return typed(number, kind, [name], {"MODEL": 8}, "*")


GETTER = typed(3, "GetNode", ["photo"], {}, "MODEL")
FROM_GETTER = [9, 3, 0, 9, 0, "MODEL"]
BOXED_GETTER = {
    "id": "box", "inputs": [], "nodes": [typed(7, "GetNode", ["photo"], {}, "MODEL")],
    "links": [link(1, 7, 0, -20, 0)],
}  # fmt: skip


@pytest.mark.parametrize("ui", [
    through(typed(2, "Label (rgthree)", [], {})),
    through(typed(2, "Fast Muter (rgthree)", [], {"": 8}, "*"), links=([9, 1, 0, 9, 0, "MODEL"], TO_SET)),
    through(typed(2, "Title of a pack of tomorrow", ["words"], {})),
    through(typed(2, "Display Any (rgthree)", [""], {"source": 8}), links=([9, 1, 0, 9, 0, "MODEL"], TO_SET)),
    through(typed(2, "Shown by a pack", [""], {"": 8}) | OF_PACK, links=([9, 1, 0, 9, 0, "MODEL"], TO_SET)),
    through(typed(2, "Reroute (rgthree)", [], {"": 8}, "*"), links=(TO_SET, [9, 2, 0, 9, 0, "*"])),
    through(typed(2, "ReroutePrimitive|pysssss", [], {"value": 8}, "*"), links=(TO_SET, [9, 2, 0, 9, 0, "*"])),
    through(setter(2), GETTER, links=(TO_SET, FROM_GETTER)),
    through(setter(2), links=(TO_SET, [9, 2, 0, 9, 0, "MODEL"])),
    through(setter(2, "easy setNode"), {**GETTER, "type": "easy getNode"}, links=(TO_SET, FROM_GETTER)),
    through(setter(2, name="other"), setter(4), GETTER, links=(TO_SET, [7, 1, 0, 4, 0, "MODEL"], FROM_GETTER)),
    through({**setter(2), "mode": 2}, GETTER, links=(TO_SET, FROM_GETTER)),
    through(setter(2), typed(3, "box", [], {}, "MODEL"), links=(TO_SET, FROM_GETTER),
            definitions={"subgraphs": [BOXED_GETTER]}),
], ids=["label", "switch", "label of tomorrow", "value", "value of tomorrow", "corner", "corner of another pack",
        "set and get", "set alone", "of another pack", "two names", "muted", "set around a box"])  # fmt: skip
def test_nodes_of_the_editor_alone_are_followed(ui: dict[str, Any]) -> None:
    """As the editor with their packs does, whether or not ComfyUI has these."""
    prompt = workflow.to_prompt(ui, PLAIN | {"InPack": IN_PACK})
    assert list(prompt) == ["1", "9"]
    assert prompt["9"]["inputs"] == {"model": ["1", 0]}


@pytest.mark.parametrize(("ui", "said"), [
    (through(GETTER, links=(FROM_GETTER,)), r"GetNode \(node 3\) gets photo, which is set nowhere"),
    (through(typed(2, "Reroute (rgthree)", [], {"": 8}, "*"), typed(4, "Reroute (rgthree)", [], {"": 7}, "*"),
             links=([8, 4, 0, 2, 0, "*"], [7, 2, 0, 4, 0, "*"], [9, 2, 0, 9, 0, "*"])), "lead in a circle"),
    (through(typed(2, "Seed Everywhere", [7], {})), r"Seed Everywhere \(node 2\) is carried out by the editor"),
    (through(extra={"ue_links": [{"downstream": 9}]}), "Use Everywhere is carried out by the editor"),
    (through(typed(2, "workflow>mine", [], {}, "MODEL"), links=([9, 2, 0, 9, 0, "MODEL"],)),
     r"The file has nothing of what is in workflow>mine \(node 2\)"),
    (through(typed(2, "Hub", [], {"": 8}, "*") | OF_PACK,
             links=(TO_SET, [9, 2, 0, 9, 0, "*"])),
     r"Hub \(node 2, of someone/A-Pack, which is installed\) is of the editor alone"),
    (through(typed(2, "Saver", [], {"": 8}) | {"properties": {"cnr_id": "a-pack", "Node name for S&R": "Saver"}},
             links=([9, 1, 0, 9, 0, "MODEL"], TO_SET)), "pack a-pack.* install or update"),
    (through(typed(2, "9fe8bd0e-45b4-45a1-bb27-9a08ed9b3d3a", [], {}, "MODEL") | {"title": "Upscale"},
             links=([9, 2, 0, 9, 0, "MODEL"],)),
     r"The file has nothing of what is in Upscale \(node 2\): save it again where that works"),
], ids=["set nowhere", "circle", "everywhere", "links", "group", "pack is there", "old pack", "lost box"])  # fmt: skip
def test_what_the_editor_alone_can_do_is_refused_by_name(ui: dict[str, Any], said: str) -> None:
    with pytest.raises(workflow.WorkflowError, match=said):
        workflow.to_prompt(ui, PLAIN | {"InPack": IN_PACK, "Seed Everywhere": IN_PACK})


ONCE = "method's own"
PLACE_CAST = {"acts_in": ["COMBO", {"options": ["regions", "face boxes"]}]}
DRAW = {"cast": ["LIKENESS_CAST"]}


@pytest.mark.parametrize(
    ("kind", "known", "inputs", "sent_inputs"),
    [
        ("LikenessPlaceCast", PLACE_CAST, {"acts_in": ONCE}, {"acts_in": "regions"}),
        ("LikenessPlaceCast", {"acts_in": ["COMBO", {"options": [ONCE]}]}, {"acts_in": ONCE}, {"acts_in": ONCE}),
        ("LikenessDrawSkeletons", DRAW, {"layout": ["9", 0]}, {"cast": ["9", 0]}),
        ("LikenessDrawSkeletons", DRAW | {"layout": ["X"]}, {"layout": ["9", 0]}, {"layout": ["9", 0]}),
    ],
    ids=["a word", "an older host's word", "an input", "an older host's input"],
)
def test_what_a_version_of_likeness_had_becomes_what_that_of_the_host_has(
    kind: str, known: dict[str, Any], inputs: dict[str, Any], sent_inputs: dict[str, Any]
) -> None:
    prompt = {"1": {"class_type": kind, "inputs": inputs}}
    assert workflow.as_offered(prompt, {kind: definition(known)}) == {"1": {"class_type": kind, "inputs": sent_inputs}}


def test_a_node_of_ours_that_is_gone_is_no_pack_to_install() -> None:
    ui = graph(node(1, "LikenessOfOld", []))
    with pytest.raises(workflow.WorkflowError, match=r"^LikenessOfOld \(node 1\): This version of Likeness"):
        workflow.to_prompt(ui, {"LikenessCast": definition({})})


OF_A_GROUP = {
    "CLIPTextEncode": definition({"text": ["STRING", {"multiline": True}], "clip": ["CLIP"]}),
    "KSampler": definition({
        "model": ["MODEL"], "seed": ["INT", {"control_after_generate": True}], "steps": ["INT"], "cfg": ["FLOAT"],
        "sampler_name": ["STRING"], "scheduler": ["STRING"], "positive": ["CONDITIONING"],
        "negative": ["CONDITIONING"], "latent_image": ["LATENT"], "denoise": ["FLOAT"],
    }),
    "CheckpointLoaderSimple": definition({"ckpt_name": ["STRING"]}),
    "EmptyLatentImage": definition({"width": ["INT"], "height": ["INT"], "batch_size": ["INT"]}),
    "VAEDecode": definition({"samples": ["LATENT"], "vae": ["VAE"]}),
}  # fmt: skip


@pytest.mark.parametrize("prefix", ["workflow>", "workflow/"])
def test_a_group_of_an_older_editor_is_opened(prefix: str) -> None:
    """Against editors: test_a_group_of_an_older_editor_is_sent_as_the_editor_sends_it."""
    prompt = workflow.to_prompt(old_groups_made.workflow(prefix), OF_A_GROUP)
    assert prompt["5:0"]["inputs"] == {"text": "now, good", "clip": ["1", 1]}
    assert prompt["5:1"]["inputs"] == {"text": "now, bad", "clip": ["1", 1]}
    assert prompt["5:2"]["inputs"] == {
        "model": ["1", 0], "seed": 7, "steps": 12, "cfg": 2.5, "sampler_name": "euler", "scheduler": "karras",
        "positive": ["5:0", 0], "negative": ["5:1", 0], "latent_image": ["2", 0], "denoise": 1.0,
    }  # fmt: skip
    assert prompt["6"]["inputs"]["positive"] == ["5:1", 0] and prompt["8"]["inputs"]["samples"] == ["5:2", 0]


def test_a_group_whose_values_cannot_be_told_apart_is_refused() -> None:
    ui = old_groups_made.workflow()
    ui["nodes"][2]["widgets_values"].pop()
    with pytest.raises(workflow.WorkflowError, match=r"people \(node 5\) has 8 values, and its nodes have 9"):
        workflow.to_prompt(ui, OF_A_GROUP)


def test_where_a_value_of_the_prompt_is_set() -> None:
    """In the widget itself, in a Primitive for several, or in the box around."""
    box = typed(4, "box", ["boxed"], {}) | {"title": "Box"}
    box["inputs"].append({"name": "text", "label": "Words", "link": None, "widget": {"name": "text"}})
    inside = subgraph("text", typed(7, "Named", ["in"], {"text": 1}), [link(1, -10, 0, 7, 0)])
    ui = graph(
        typed(1, "PrimitiveNode", ["said", "fixed"], {}, "STRING") | {"title": "Say"},
        typed(2, "Named", ["own"], {"text": None}),
        typed(3, "Named", ["other"], {"text": 1}),
        typed(5, "Named", ["other"], {"text": 2}),
        box,
        typed(6, "Named", ["unheard"], {"text": 3}),
        typed(8, "Model", [], {}, "STRING"),
        links=([1, 1, 0, 3, 0, "STRING"], [2, 1, 0, 5, 0, "STRING"], [3, 8, 0, 6, 0, "STRING"]),
    ) | {"definitions": {"subgraphs": [inside]}}
    prompt, places = workflow.opened(ui, PLAIN)
    texts = {key: place["inputs"]["text"] for key, place in prompt.items() if place["inputs"]}
    assert texts == {"2": "own", "3": "said", "5": "said", "4:7": "boxed", "6": ["8", 0]}
    assert [(place.node, place.name, place.title, place.label, place.targets) for place in places] == [
        ("2", "text", "Shown", "text", [("2", "text")]),
        ("1", "value", "Say", "value", [("3", "text"), ("5", "text")]),
        ("4", "text", "Box", "Words", [("4:7", "text")]),
    ]


def test_a_box_keeps_values_for_which_it_has_no_slot() -> None:
    """A newer editor keeps a value for each widget that its subgraph shows, and slots for some of them alone."""
    inner = typed(7, "Named", ["in"], {"text": 1})
    inner["inputs"][0]["widget"] = {"name": "text"}
    second_inner = typed(8, "Named", ["in"], {"text": 2})
    second_inner["inputs"][0]["widget"] = {"name": "text"}
    inside = {
        "id": "box",
        "inputs": [{"name": "first"}, {"name": "second"}],
        "nodes": [inner, second_inner],
        "links": [link(1, -10, 0, 7, 0), link(2, -10, 1, 8, 0)],
    }
    box = typed(4, "box", ["one", "two"], {})
    box["inputs"].append({"name": "second", "link": None, "widget": {"name": "second"}})
    ui = graph(box) | {"definitions": {"subgraphs": [inside]}}
    prompt, places = workflow.opened(ui, PLAIN)
    assert prompt["4:7"]["inputs"] == {"text": "one"}
    assert prompt["4:8"]["inputs"] == {"text": "two"}
    assert [(place.node, place.name) for place in places] == [("4", "first"), ("4", "second")]
    box["widgets_values"] = []
    assert workflow.to_prompt(ui, PLAIN)["4:7"]["inputs"] == {"text": "in"}
    # So do those of widgets that are listed, some of which lie inside, in the order of the list.
    third_inner = typed(9, "Named", ["in"], {})
    third_inner["inputs"].append({"name": "text", "link": None, "widget": {"name": "text"}})
    inside["nodes"].append(third_inner)
    listed = [["-1", "second"], ["9", "text"], ["9", "control_after_generate"], ["-1", "first"]]
    box |= {"properties": {"proxyWidgets": listed}, "widgets_values": ["two", "three", "fixed", None]}
    prompt = workflow.to_prompt(ui, PLAIN)
    assert [prompt[f"4:{number}"]["inputs"]["text"] for number in (7, 8, 9)] == ["in", "two", "three"]
    box |= {"widgets_values_named": {"second": "named two", "first": "named one"}}
    prompt = workflow.to_prompt(ui, PLAIN)
    assert [prompt[f"4:{number}"]["inputs"]["text"] for number in (7, 8, 9)] == ["named one", "named two", "in"]
    del box["widgets_values_named"]
    box["properties"] = {"proxyWidgets": [["7", "$$canvas-image-preview"]]}  # which is only shown
    # An older one keeps values for its slots alone.
    box["widgets_values"] = ["two"]
    prompt = workflow.to_prompt(ui, PLAIN)
    assert prompt["4:7"]["inputs"] == {"text": "in"}
    assert prompt["4:8"]["inputs"] == {"text": "two"}


MODES = [
    {"key": "off", "inputs": {"required": {}}},
    {"key": "on", "inputs": {"required": {"heat": ["FLOAT", {"default": 0.7}], "seed": ["INT", {}]}}},
]
WRITER = definition(
    {"clip": ["CLIP"], "text": ["STRING", {}], "mode": ["COMFY_DYNAMICCOMBO_V3", {"options": MODES}]},
    short=["BOOLEAN", {"default": True}],
)


@pytest.mark.parametrize(("widget_values", "expected"), [
    (["a", "on", 0.5, 7, False], {"text": "a", "mode": "on", "mode.heat": 0.5, "mode.seed": 7, "short": False}),
    (["a", "on", 0.5, 7, "fixed", False], {"text": "a", "mode": "on", "mode.heat": 0.5, "mode.seed": 7,
                                           "short": False}),
    (["a", "off", False], {"text": "a", "mode": "off", "short": False}),
    (["a", "off"], {"text": "a", "mode": "off", "short": True}),
], ids=["on", "with a control", "off", "newer input"])  # fmt: skip
def test_what_a_choice_brings_is_read_behind_it(widget_values: list[Any], expected: dict[str, Any]) -> None:
    """Also where the file has no slots for it."""
    prompt = workflow.to_prompt(graph(node(1, "Writer", widget_values)), {"Writer": WRITER})
    assert prompt["1"]["inputs"] == expected


@pytest.mark.parametrize(("inputs", "widget_values", "expected"), [
    ({"rate": ["FLOAT,INT", {"widgetType": "FLOAT"}], "size": ["INT"]}, [25.0, 3], {"rate": 25.0, "size": 3}),
    ({"color": ["COLOR", {"socketless": True}]}, ["#ff0000"], {"color": "#ff0000"}),
    ({"boxes": ["BOUNDING_BOX", {"socketless": True, "forceInput": True}]}, [], {}),
    ({"source": ["*", {}]}, ["shown", "text", False], {}),
    ({"choice": ["COMBO", {"options": []}]}, ["a", 0, "", "b"], {"choice": "a"}),
    ({"method": [["area", "nearest"]], "steps": ["INT", {"default": 2}]}, ["nearest"], {"method": "nearest",
                                                                                     "steps": 2}),
    ({"method": [["area", "nearest"]]}, [], {"method": "area"}),
    ({"view": ["IMAGECOMPARE", {"socketless": True}]}, [], {}),
], ids=["two types", "no socket", "links alone", "a view", "a list of its own", "newer", "first word",
        "no value"])  # fmt: skip
def test_widgets_are_those_of_the_editor(
    inputs: dict[str, Any], widget_values: list[Any], expected: dict[str, Any]
) -> None:
    """Values behind the last widget are the editor's own, and a widget that is newer than the file has its default."""
    prompt = workflow.to_prompt(graph(node(1, "Any", widget_values)), {"Any": definition(inputs)})
    assert prompt["1"]["inputs"] == expected


LORA = {"on": True, "lora": "anna.safetensors", "strength": 0.5}


@pytest.mark.parametrize(("saved", "expected"), [
    ({"widgets_values": {"steps": 7, "view": "x"}}, {"steps": 7, "name": "euler", "view": "x"}),
    ({"widgets_values": ["heun", 9], "widgets_values_named": {"name": "heun", "steps": 9}},
     {"steps": 9, "name": "heun"}),
    ({"widgets_values_named": {"steps": 9, "control_after_generate": "fixed", "lora_1": LORA}},
     {"steps": 9, "name": "euler", "lora_1": LORA}),
    ({"widgets_values": [9, "heun", "", {}, {"type": "header"}, None, "a text that is shown"]},
     {"steps": 9, "name": "heun"}),
    ({"widgets_values": [9, "heun", {}, LORA]}, None),
    ({"widgets_values": [9, "heun", [LORA]]}, None),
    ({"widgets_values": [9, "heun", 0.5]}, None),
], ids=["in a dictionary", "named in another order", "named by a script", "texts", "a LoRA", "LoRAs",
        "a number"])  # fmt: skip
def test_widgets_that_a_pack_makes_in_the_editor(saved: dict[str, Any], expected: dict[str, Any] | None) -> None:
    """Sent where the file has their names, else refused."""
    known = definition({"steps": ["INT"], "name": [["euler", "heun"]]}) | {"python_module": "custom_nodes.a-pack"}
    ui = graph(node(1, "Power", []) | saved)
    if expected is not None:
        assert workflow.to_prompt(ui, {"Power": known})["1"]["inputs"] == expected
        return
    with pytest.raises(workflow.WorkflowError, match=r"Power \(node 1\) has values of widgets that a pack makes"):
        workflow.to_prompt(ui, {"Power": known})


@pytest.mark.parametrize(("widget_values", "names"), [
    (["euler", 20], "['steps', 'name', 'denoise']"),
    ([], "['name', 'denoise', 'steps']"),
], ids=["of another version", "nothing"])  # fmt: skip
def test_values_of_other_widgets_are_refused(widget_values: list[Any], names: str) -> None:
    inputs = {"steps": ["INT"], "name": [["euler", "heun"]], "denoise": ["FLOAT", {"default": 1.0}]}
    with pytest.raises(workflow.WorkflowError, match=r"Old \(node 1\) has \d widget values for 3 widgets") as refused:
        workflow.to_prompt(graph(node(1, "Old", widget_values)), {"Old": definition(inputs)})
    assert names in str(refused.value)
