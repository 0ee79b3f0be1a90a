"""The people nodes over HTTP: files of saved people, and the text of a shared workflow."""

import json
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from prompts import node
from safetensors import safe_open
from safetensors.torch import save_file
from shared.host_server import HostError, HostServer

EVIL = "An\ud800na\x1b[2J\n[INFO] all is well"
CLEAN = r"An na \[2J \[INFO\] all is well"


def bank(server: HostServer, name: str) -> Path:
    """The file of a saved person in the first folder of saved people."""
    return server.base / "models" / "likeness_faces" / f"{name}.safetensors"


@pytest.fixture
def people(host_server):
    """Two nodes that load Anna and Ben, made without photos."""
    nodes = {}
    for number, name in enumerate(("anna", "ben"), 1):
        file = bank(host_server, f"made/{name}")
        file.parent.mkdir(parents=True, exist_ok=True)
        tensors = {"embedding.antelopev2": torch.full((1, 512), float(number)), "crops": torch.zeros(1, 112, 112, 3)}
        save_file(tensors, file, {"format": "likeness identity", "version": "1", "name": name.title()})
        nodes[name] = node("LikenessLoadPerson", file=f"made/{name}.safetensors")
    return nodes


def save(person: str, filename: object):
    return node("LikenessSavePerson", person=[person, 0], filename=filename)


def test_a_person_is_saved_again_only_when_the_file_was_deleted(host_server, people):
    file = bank(host_server, "deleted by hand")
    people |= {"save": save("anna", "deleted by hand"), "view": node("PreviewAny", source=["save", 1])}
    del people["ben"]
    assert set(host_server.run(people).executed) == {*people}
    for _ in range(2):
        assert host_server.run(people).executed == []
        file.unlink()
        assert "save" in host_server.run(people).executed
        assert file.is_file()
    assert host_server.run(people).executed == []


def test_a_person_is_saved_again_where_another_program_has_written_to_the_file(host_server, people):
    file = bank(host_server, "copied over")
    graph = {"anna": people["anna"], "save": save("anna", "copied over")}
    host_server.run(graph)
    saved = file.read_bytes()
    file.write_bytes(bank(host_server, "made/ben").read_bytes())
    assert "save" in host_server.run(graph).executed
    assert len(file.read_bytes()) == len(saved)
    assert host_server.run(graph).executed == []


@pytest.mark.parametrize("filename", ["in turn", ["one", 0]], ids=["typed", "linked"])
def test_a_file_holds_the_person_who_was_saved_last(host_server, people, filename):
    """Also where ComfyUI still has the result of an earlier run."""
    held = []
    for name in ("anna", "ben", "anna", "ben", "ben"):
        graph = {"who": people[name], "save": save("who", filename)}
        add_names(graph, filename)
        host_server.run(graph)
        with safe_open(bank(host_server, "in turn" if filename == "in turn" else "twins"), "pt") as file:
            held.append(file.metadata()["name"])
    assert held == ["Anna", "Ben", "Anna", "Ben", "Ben"]
    assert host_server.run(graph).executed == []


@pytest.mark.both_hosts
def test_a_kept_person_needs_neither_the_photo_nor_the_face_model_that_are_linked(host_server, people):
    """Kept from a cast and chosen in the next prompt; the run after a file was deleted keeps the person again."""
    bank(host_server, "Carla").unlink(missing_ok=True)
    cast = {**people, "cast": node("LikenessCast", person_1=["anna", 0], person_2=["ben", 0])}
    keep = {**cast, "keep": node("LikenessKeepPeople", cast=["cast", 0], names=", Carla")}
    assert "keep" in host_server.run(keep).executed
    assert host_server.run(keep).executed == []
    bank(host_server, "Carla").unlink()
    assert "keep" in host_server.run(keep).executed
    assert bank(host_server, "Carla").is_file()
    photo = {"photo": node("LoadImage", image="likeness_anna.png")}
    without = {"pack": "none (faces from landmarks)", "recognisers": "none (pictures alone)", "provider": "auto"}
    photo["faces"] = node("LikenessLoadFaceEmbedder", **without)
    linked = {"face_model": ["faces", 0], "photo_1": ["photo", 0], "names": "", "which_face": "only"}
    chosen = {**photo, "cast": node("LikenessCastFromPhotos", **linked, person_1="Carla")}
    chosen["view"] = node("PreviewImage", images=["cast", 1])
    assert set(host_server.run(chosen).executed) == {"cast", "view"}
    here = photo["faces"]["inputs"].copy()
    photo["faces"]["inputs"].update(pack="a pack that is not here", recognisers="all found")
    assert host_server.run(chosen).status == "success"
    chosen["photo_2"], chosen["cast"]["inputs"]["photo_2"] = photo["photo"], ["photo_2", 0]
    with pytest.raises(HostError, match="The face pack a pack that is not here"):  # the second photo is read
        host_server.run(chosen)
    del chosen["photo_2"], chosen["cast"]["inputs"]["photo_2"]
    photo["faces"]["inputs"] = here
    more = {
        "cast": node("LikenessCastFromPhotos", names="", which_face="only", person_2="Carla", more_kept="Carla, Carla")
    }
    more["view"] = node("PreviewImage", images=["cast", 1])
    assert host_server.run(more).status == "success"
    more["cast"]["inputs"]["more_kept"] = "Carla, Zoe"
    with pytest.raises(HostError, match=r"names Zoe, and nobody of this name is among the kept people .*Carla"):
        host_server.run(more)
    bank(host_server, "Carla").unlink()
    with pytest.raises(HostError, match="no detector"):  # the photo is read
        host_server.run(chosen)
    del chosen["cast"]["inputs"]["photo_1"]
    with pytest.raises(HostError, match=r"'Carla' is not among the kept people .*, and no photo is linked"):
        host_server.run(chosen)
    keep["keep"]["inputs"]["names"] = "a:b"
    with pytest.raises(HostError, match="no name of a file on Windows"):
        host_server.run(keep)


@pytest.mark.both_hosts
def test_who_is_renamed_is_not_renamed_again(host_server, people):
    host_server.run({**people, "save": save("anna", "Dora")})
    bank(host_server, "Doris").unlink(missing_ok=True)
    rename = {"list": node("LikenessKeptPeople", person="Dora", what_to_do="rename", new_name="Doris")}
    for _ in range(2):
        host_server.run(rename)
        assert bank(host_server, "Doris").is_file() and not bank(host_server, "Dora").exists()
    assert host_server.run(rename).executed == []


CALLED_TWINS = {
    "typed twice": ("twins", " twins.safetensors "),
    "typed with capitals": ("twins", "Twins"),
    "linked twice": (["one", 0], ["one", 0]),
    "from two nodes": (["one", 0], ["another", 0]),
    "from a node that joins texts": (["one", 0], ["joined", 0]),
}
"""What gives the name "twins" to Anna's node 5 and to Ben's node 7."""
NAMES = {name: node("PrimitiveString", value="twins") for name in ("one", "another")} | {
    name: node("StringConcatenate", string_a="twi", string_b="ns", delimiter="") for name in ("joined", "joined too")
}


def add_names(people, *sources):
    """The nodes from which names are linked."""
    for name, source in NAMES.items():
        if [name, 0] in sources:
            people[name] = source


@pytest.mark.parametrize(
    ("first", "second"),
    [*CALLED_TWINS.values(), (["joined", 0], ["joined too", 0])],
    ids=[*CALLED_TWINS, "joined twice"],
)
def test_two_people_are_never_saved_to_one_file(host_server, people, first, second):
    add_names(people, first, second)
    people["5"] = save("anna", first)
    people["7"] = save("ben", second)
    bank(host_server, "twins").unlink(missing_ok=True)
    with pytest.raises(HostError, match=r"(?i)(Anna|Ben) \(node [57]\) .*node [57].*twins"):
        host_server.run(people)


@pytest.mark.both_hosts
def test_a_node_that_another_one_becomes_is_called_by_the_id_in_the_graph(host_server, people):
    """The page knows no other; also by its picture, and in what two of one kind have to do with each other."""

    def becoming(who, file):
        inner = {"who": people[who], "last": save("who", file)}
        return node("Expanding", nodes=json.dumps(inner))

    for file in ("twins", "pair"):
        bank(host_server, file).unlink(missing_ok=True)
    views = {f"view {number}": node("PreviewAny", source=[number, 0]) for number in ("4", "5")}
    both = {"4": becoming("anna", "twins"), "5": becoming("ben", "twins"), **views}
    with pytest.raises(HostError, match=r"(Anna|Ben) \(node [45]\) and (Anna|Ben) \(node [45]\) are to be"):
        host_server.run(both)
    one = {"5": becoming("ben", "pair"), "view 5": views["view 5"]}
    with pytest.raises(HostError, match=r"Anna \(node 7\) and Ben \(node 5\)|Ben \(node 5\) and .*node 7"):
        host_server.run({**one, "who": people["anna"], "7": save("who", "pair")})


@pytest.mark.both_hosts
@pytest.mark.parametrize(("second", "is_lost"), [("anna", False), ("ben", True)])
def test_turns_of_a_loop_may_save_one_person_to_one_file_and_no_two(host_server, people, second, is_lost):
    bank(host_server, "turns").unlink(missing_ok=True)
    turns = {"one": people["anna"], "two": people[second], "first": save("one", "turns"), "last": save("two", "turns")}
    prompt = {"5": node("Expanding", nodes=json.dumps(turns)), "view": node("PreviewAny", source=["5", 0])}
    lost = pytest.raises(HostError, match=r"(Anna|Ben) \(node 5\) and (Anna|Ben) \(node 5\) .*turn of a loop")
    with lost if is_lost else nullcontext():
        host_server.run(prompt)
    assert bank(host_server, "turns").is_file()


@pytest.mark.parametrize(("first", "second"), CALLED_TWINS.values(), ids=CALLED_TWINS)
def test_a_saved_person_is_not_lost_to_another_though_its_node_does_not_run_again(host_server, people, first, second):
    add_names(people, first)
    people["5"] = save("anna", first)
    people["7"] = save("ben", "ben")
    for _ in range(2):  # the run after one in which somebody was replaced saves once more
        host_server.run(people)
    file_of_anna = bank(host_server, "twins").read_bytes()
    add_names(people, second)
    people["7"] = save("ben", second)
    with pytest.raises(HostError, match=r"Ben \(node 7\) and .*node 5\b"):
        host_server.run(people)
    assert bank(host_server, "twins").read_bytes() == file_of_anna


def test_messages_with_any_text_reach_console_and_user(host_server, people):
    placed = {"cast": ["cast", 0], "layout": ["layout", 0]}
    people |= {
        "text": node("PrimitiveString", value=EVIL),
        "blend": node("LikenessBlendTwoPeople", a=["anna", 0], b=["ben", 0], amount=0.5, method="slerp", name=EVIL),
        "cast": node("LikenessCast", person_1=["blend", 0]),
        "layout": node("LikenessLayoutForAGroup", count=1, framing="half", rows=0, width=512, height=512),
        "name": node("LikenessMaskOfAPersonsPlace", cast=["cast", 0], person=1, extent="body", margin=0.25, feather=32),
        "order": node("LikenessPlaceCast", **placed, order="custom", custom_order=["text", 0]),
    }
    saved = {"5": save("anna", EVIL), "6": node("PreviewAny", source=["5", 1])}
    for kind, added, message in (("name", saved, f" {CLEAN} has no place"), ("order", {}, "is neither a number")):
        with pytest.raises(HostError, match=message):
            host_server.run({**people, **added, "view": node("PreviewAny", source=[kind, 0])}, timeout=60)
    assert host_server.run({"1": node("PreviewAny", source="still there")}, timeout=60).status == "success"
    assert "\x1b[2J" not in host_server.log
    assert "\n[INFO] all is well" not in host_server.log


def test_boxes_that_an_old_prompt_has_drawn_count_before_its_text(host_server):
    drawn = [{"x": 100, "y": 10, "width": 90, "height": 180, "metadata": {"desc": "Ben"}}]
    options = {"width": 384, "height": 256, "fit": "crop", "boxes_show": "person", "body": "half"}
    for source, boxes, name in (("drawn", {"__value__": drawn}, "Ben"), ("drawn", [], "Anna"), ("text", drawn, "Anna")):
        graph = {
            "1": node("LikenessLayoutFromBoxes", **options, boxes_from=source, text="Anna: 20, 20, 150, 230",
                      boxes=boxes, last_incoming={"__value__": []}),
            "2": node("PreviewAny", source=["1", 2]),
        }  # fmt: skip
        assert host_server.run(graph).outputs["2"]["text"] == [name]


def test_onnxruntime_that_is_not_installed_is_named_before_anything_runs(host_server):
    """Chosen by its name it is an error; the word of old workflows falls back to torch and says so."""
    packs = host_server.object_info()["LikenessLoadFaceEmbedder"]["input"]["required"]["pack"]
    pack = (packs[1].get("options") or packs[0])[0] if len(packs) > 1 and packs[0] == "COMBO" else packs[0][0]
    chosen = {"pack": pack, "recognisers": "all found", "provider": "CUDA"}
    graph = {
        "image": node("LoadImage", image="likeness_anna.png"),
        "faces": node("LikenessLoadFaceEmbedder", **chosen, backend="onnxruntime"),
        "who": node("LikenessDetectFaces", face_model=["faces", 0], image=["image", 0], order="largest", min_size=0,
                    max_faces=0),
        "count": node("PreviewAny", source=["who", 2]),
    }  # fmt: skip
    words = (
        r"onnxruntime is not installed in ComfyUI's Python.*Backend \(backend\) to torch.*pip install onnxruntime-gpu"
    )
    with pytest.raises(HostError, match=words):
        host_server.run(graph)
