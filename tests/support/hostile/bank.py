"""Names of saved people, and people that cannot be saved, put into a cast or loaded."""

import io
import json
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from graphs import value
from pack.bridge.people.saved_people import KEY, folders
from pack.core.cast import Person
from pack.core.persons import saving
from PIL import Image
from safetensors.torch import save, save_file
from sample_values import RECOGNISERS, a_person, nan, normal, portraits

from hostile.cases import Case, bad, good


def saved_people() -> Iterator[Case]:
    yield from names_of_saved_people()
    yield from damaged_people()
    yield from foreign_files()
    embeddings = dict.fromkeys(RECOGNISERS, normal(1, 1, 512))
    shared = Person("Anna", embeddings, torch.zeros(1, 112, 112, 3))
    yield good("LikenessSavePerson", person=shared, filename="shared")
    yield good("LikenessKeepPeople", cast=shared, names="kept, nobody, ,")


def names_of_saved_people() -> Iterator[Case]:
    for name in ("../anna", "/tmp/anna", "..\\anna"):
        yield bad("leads outside", "LikenessSavePerson", filename=name)
    for name in ("  ", "family/"):
        yield bad("empty", "LikenessSavePerson", filename=name)
    yield bad("is empty", "LikenessSavePerson", filename="\ud800")
    for name in ("a" * 300, "名" * 100):
        yield bad("File name too long", "LikenessSavePerson", filename=name)
    of_windows = (
        "...", "a/...", "a./b", "con", "NUL", "aux.txt", "com1/a", "lpt9", "<a>", "a*b?", "a|b", 'a"b', "a:b",
    )  # fmt: skip
    for name in of_windows:
        yield bad("no name of a file on Windows", "LikenessSavePerson", filename=name)
    uploaded = ("nobody.safetensors [input]", "../x.safetensors [input]", "/etc/passwd [input]", " [input]")
    yield bad("File name too long", "LikenessKeepPeople", names="名" * 100)
    for name in ("../anna", "family/", "a:b", "removed/anna", "x/../removed/anna"):
        words = "leads outside|empty|Windows|who were removed"
        yield bad(words, "LikenessKeepPeople", names=name)
        yield bad(words, "LikenessKeptPeople", person="anna", what_to_do="rename", new_name=name)
    for name in ("../anna", "/etc/passwd [input]", "gone", 7):
        yield bad("(?i)outside|not among|is 7", "LikenessCastFromPhotos", person_2=name)
    yield good("LikenessKeptPeople", person="gone", what_to_do="remove", new_name="")
    for name in ("nobody.safetensors", "../x.safetensors", "", *uploaded):
        yield bad("(?i)no saved|outside|not in list", "LikenessLoadPerson", file=name)


def damaged_people() -> Iterator[Case]:
    """Files of people that are refused when they are loaded."""
    without_photos = Person("Anna", {}, torch.zeros(0, 112, 112, 3))
    yield bad("no photo", "LikenessSavePerson", person=without_photos)
    embedding = normal(1, 1, 512)
    damaged = {
        "it contains NaN": a_person(rows=embedding * nan),
        r"its numbers reach \d\S*e\+25": a_person(rows=embedding * 1e25),
        "complex64": a_person(rows=embedding.to(torch.complex64)),
        r"are torch\.float32 of": replace(a_person(), portraits=portraits(1, torch.float32)),
        r"\(2, 224, 224, 3\)": replace(a_person(), portraits=portraits(2)),
    }
    for says, person in damaged.items():
        # The next person in the bank has the same file, so it is written when the graph runs.
        yield bad(says, "LikenessLoadPerson", file=value(in_the_bank, person))


def foreign_files() -> Iterator[Case]:
    """Files of something else among saved people: each is named for what it is."""
    picture, saved_by_torch = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (9, 9)).save(picture, "PNG")
    torch.save({"a": torch.zeros(1)}, saved_by_torch)
    lora = {f"lora_unet_x.lora_{side}.weight": torch.zeros(1, 1) for side in ("up", "down")}
    of_something_else = {
        "is a LoRA; .*models/loras.* Choose a file that Save Person wrote": save(lora),
        r"is a picture \(PNG\), not a model .* Save Person wrote": picture.getvalue(),
        "is text, not a model": b"Anna and Ben",
        "is a pickle, .* could run code, so it was not opened; .* needs a person saved": pickle.dumps({"a": 1}),
        "is a pickle, .* not opened; this": saved_by_torch.getvalue(),
        r"is damaged or cut off while downloading \(20 bytes\)": save(lora)[:20],
    }
    file = saving.to_tensors(a_person())
    of_something_else["is damaged"] = save(file.tensors, {**file.metadata, "loras": "[" * 200_000})
    shape = json.dumps({saving.CROPS_KEY: {"dtype": "F32", "shape": [0, 1 << 63], "data_offsets": [0, 0]}}).encode()
    of_something_else["is damaged .* has the impossible shape"] = len(shape).to_bytes(8, "little") + shape
    for says, contents in of_something_else.items():
        yield bad(says, "LikenessLoadPerson", file=value(bytes_in_the_bank, contents))


def in_the_bank(person: Person) -> str:
    """The name of a file with this person, written without a look at them."""
    file = Path(folders.folders(KEY)[0]) / "by_another_program.safetensors"
    tensors = {f"embedding.{key}": rows.clone() for key, rows in person.embeddings.items()}
    if person.portraits:
        tensors |= {f"portraits.{key}": pictures for key, pictures in vars(person.portraits).items()}
    metadata = {"format": "likeness identity", "version": "1", "name": person.name}
    save_file({**tensors, "crops": person.crops}, file, metadata)
    return file.name


def bytes_in_the_bank(contents: bytes) -> str:
    """The name of a file of anything among saved people."""
    file = Path(folders.folders(KEY)[0]) / "by_another_program.safetensors"
    file.write_bytes(contents)
    return file.name
