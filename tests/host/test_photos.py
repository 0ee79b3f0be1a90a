"""Sort Photos into People: what lies in a folder, and what cannot be used of it."""

import os
import shutil
from pathlib import Path

import folder_paths
import pytest
import real_faces
import torch
from pack.bridge.host import notes
from pack.bridge.host.folders import UnsafePath
from pack.bridge.people import photos as bridge
from pack.core.checks.errors import BadCast, BadPhoto, FaceNotFound
from pack.core.pictures.geometry import area
from pack.nodes import people, photos
from PIL import Image, ImageOps

from nodes import LoadImage


@pytest.fixture(scope="module")
def six(tmp_path_factory):
    return real_faces.six(tmp_path_factory.mktemp("six"))


@pytest.fixture
def album(tmp_path, monkeypatch, six):
    """A folder of the input directory: two photos each of Anna and Ben, one by a camera, and what is no photo."""
    monkeypatch.setattr(folder_paths, "input_directory", str(tmp_path / "input"))
    folder = tmp_path / "input" / "family" / "album"
    folder.mkdir(parents=True)
    with Image.open(six[0]) as anna, Image.open(six[1]) as ben:
        anna.save(folder / "anna 10.jpg", quality=95)
        ImageOps.mirror(anna).save(folder / "anna 9.png")
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned clockwise by 90 degrees
        ben.rotate(90, expand=True).save(folder / "ben.jpg", quality=95, exif=exif)
        ben.convert("RGBA").save(folder / "IMG_2031.webp", lossless=True)
    (folder / "notes.txt").write_text("Anna's birthday")
    (folder / ".hidden.jpg").write_text("")
    for system in ("#recycle", "$RECYCLE.BIN", "@eaDir/anna 10.jpg"):  # deleted photos, and small copies
        (folder / system).mkdir(parents=True)
        (folder / system / "deleted.jpg").write_bytes((folder / "ben.jpg").read_bytes())
    (folder / "below").mkdir()
    return folder


def run(face_model, image=None, folder="family/album", **more):
    settings = {"people": "grouped by face", "names": "", "which_face": "largest", "corrections": "", **more}
    settings = {"same_person_from": 0.4, **settings}
    return photos.SortPhotosIntoPeople.execute(face_model, image, folder, **settings)


def who(output) -> dict[str, int]:
    """How many photos everybody has."""
    return {person.person.name: len(person.person.crops) for person in output.args[0].people}


def test_a_folder_becomes_people_with_several_photos_each(face_model, album):
    output = run(face_model)
    cast, preview, report, count = output.args
    assert who(output) == {"Anna": 2, "Ben": 2}
    assert count == 2
    assert [len(person.person.embeddings["w600k_mbf"]) for person in cast.people] == [2, 2]
    assert preview.shape[0] == 1
    assert preview.std() > 0.1
    assert output.ui["images"]
    lines = report.splitlines()
    # 9 comes before 10, and what is turned or has an alpha channel shows whom it shows.
    starts = ["1 Anna: 2", "  photo 1 anna 9.png: 0.9", "  photo 2 anna 10.jpg: 0.9"]
    starts += ["2 Ben: 2", "  photo 3 ben.jpg: 1.00", "  photo 4 IMG_2031.webp: 1.00"]
    assert [line.startswith(start) for line, start in zip(lines, starts, strict=False)] == [True] * 6, report
    assert lines[-1] == "Left out, no photos: notes.txt"


@pytest.mark.both_hosts
def test_a_photo_of_a_folder_is_what_load_image_and_identity_make_of_it(face_model, album):
    image = LoadImage().load_image("family/album/anna 9.png")[0]
    expected = people.PersonNode.execute(face_model, image, "Anna", "only", "error").args[0]
    cast = run(face_model, corrections="2: -").args[0]
    assert torch.equal(cast.people[0].person.embeddings["w600k_mbf"], expected.embeddings["w600k_mbf"])
    assert torch.equal(cast.people[0].person.crops, expected.crops)


def test_pictures_come_before_the_folder_and_every_face_may_count(face_model, album):
    group = real_faces.image(real_faces.SIX_FRIENDS)
    output = run(face_model, group, which_face="every")
    assert who(output) == {"Anna": 3, "Ben": 3, **{f"person {n}": 1 for n in (3, 4, 5, 6)}}
    assert "  photo 1.1: 0.9" in output.args[2]
    assert "  photo 2 anna 9.png: 0.9" in output.args[2]
    assert who(run(face_model, group, folder="none", which_face="every", corrections="1.2: -")) == {
        f"person {n}": 1 for n in (1, 3, 4, 5, 6)
    }


def test_the_largest_face_is_one_of_all(face_model):
    group = real_faces.picture(real_faces.SIX_FRIENDS)
    (largest,) = bridge.faces_in(face_model, group, "the photo", largest=True)
    everybody = bridge.faces_in(face_model, group, "the photo", largest=False)
    assert len(everybody) == 6
    assert largest.box == max((face.box for face in everybody), key=area)


def test_what_cannot_be_used_is_left_out_and_named(face_model, album):
    shutil.copy(real_faces.COFFEE, album / "cup.png")
    (album / "broken.jpg").write_bytes((album / "anna 10.jpg").read_bytes()[:3000])
    (album / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    (album / "program.jpg").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    Image.new("1", (12_000, 11_000)).save(album / "wall.png")
    report = run(face_model).args[2]
    assert (
        "Left out, photo 4 broken.jpg: broken.jpg cannot be read: it is cut off: its last pixels are missing" in report
    )
    assert "cup.png: No face found in cup.png (600x400 px)" in report
    assert "phone.heic cannot be read: it is a HEIC photo, as iPhones save them" in report
    assert "program.jpg cannot be read: it is a text." in report
    assert "wall.png has 12000x11000 px; 120 million are read at most." in report
    for name in ("anna 9.png", "anna 10.jpg", "ben.jpg", "broken.jpg", "IMG_2031.webp"):
        (album / name).unlink()
    with pytest.raises(FaceNotFound, match=r"cup\.png \(600x400 px\)"):
        run(face_model)


@pytest.fixture
def by_person(album):
    """A folder with a folder for each person and a photo of both, and with much that is not read, or not again."""
    folder = album.parent.parent / "by person"
    for person, names in {"anna": ("anna 9.png", "anna 10.jpg"), "Ben K.": ("ben.jpg", "IMG_2031.webp")}.items():
        (folder / person / "old").mkdir(parents=True)
        for number, name in enumerate(names, 1):
            shutil.copy(album / name, folder / person / f"{number}{Path(name).suffix}")
    shutil.copy(real_faces.SIX_FRIENDS, folder / "group.jpg")
    (folder / "anna" / "list.txt").write_text("")
    os.symlink(folder, folder / "all")
    os.symlink("anna", folder / "Ann")
    with Image.open(album / "anna 9.png") as anna:
        anna.save(folder / "anna" / "dance.gif", save_all=True, append_images=[anna.rotate(90)])
    return folder


def test_the_folder_of_a_photo_is_named_after_the_person(face_model, by_person):
    assert "by person" in bridge.names()
    output = run(face_model, folder="by person", which_face="every")
    assert who(output) == {"Anna": 4, "Ben K": 3, **{f"person {n}": 1 for n in (3, 4, 5, 6)}}
    lines = output.args[2].splitlines()
    assert [line.split(": ")[0] for line in lines[:3]] == ["1 Anna", "  photo 1 anna/1.png", "  photo 2 anna/2.jpg"]
    assert lines[-3:] == [
        "Left out, no photos: anna/list.txt",
        "Left out, folders in a person's folder: anna/old, Ben K./old",
        "Several pictures in the file, the first is read alone: anna/dance.gif",
    ]
    corrected = run(face_model, folder="by person", corrections="anna/1.png: -, anna/2: Ben K")
    assert who(corrected) == {"Ben K": 3, "Anna": 1, "person 3": 1}


@pytest.fixture
def outside(album, tmp_path):
    """A folder that is not in the input directory. Links there lead to it and to what is gone."""
    outside = tmp_path / "outside"
    shutil.copytree(album, outside)
    (album.parent / "empty").mkdir()
    os.symlink(outside, album.parent / "link")
    os.symlink(outside / "ben.jpg", album / "linked.jpg")
    os.symlink(tmp_path / "gone.jpg", album / "dead.jpg")
    os.symlink(tmp_path / "gone", album.parent / "dead")
    (album.parent / "away").mkdir()
    os.symlink(outside / "ben.jpg", album.parent / "away" / "ben.jpg")
    (album.parent / "gone away").mkdir()
    os.symlink(tmp_path / "gone.jpg", album.parent / "gone away" / "ben.jpg")
    return outside


@pytest.mark.both_hosts
def test_only_folders_of_the_input_directory_are_offered(outside, monkeypatch):
    looked = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: looked.append(str(path)) or scandir(path))
    assert bridge.names() == ["family", "family/album", "family/away", "family/gone away", "drawn examples"]
    assert looked and not any("link" in path for path in looked)  # it may be a whole disk


def test_no_other_folder_is_read(face_model, outside):
    bad = {"../outside": UnsafePath, str(outside): UnsafePath, "family/gone": BadPhoto}
    bad |= {"family/link": bridge.LinkedAway, "family/link/below": bridge.LinkedAway, "family/dead": bridge.LinkedAway}
    bad |= {"family/\0": BadPhoto, "family/\ud800": BadPhoto, "C:\\family": BadPhoto, ".": UnsafePath}
    for folder, error in bad.items():
        with pytest.raises(error):
            photos.SortPhotosIntoPeople.validate_inputs(folder)
        with pytest.raises(error):
            run(face_model, folder=folder)
    with pytest.raises(BadPhoto, match=r"'family/empty' .*, which has 0 files"):
        run(face_model, folder="family/empty")


def test_where_a_link_leads_is_named(face_model, outside, tmp_path):
    for folder, words in {
        "link": rf"'family/link' is a link to {outside}, outside of ComfyUI's input folder\. Copy its photos into",
        "link/below": rf"'family/link/below' lies behind a link, in {outside}/below, outside of",
        "dead": rf"'family/dead' is a link to {tmp_path}/gone, and there is no folder\. Connect the disk",
        "away": rf"which has 1 file\. .*away/ben\.jpg is a link to {outside}/ben\.jpg, outside of .* Put the photos",
        "gone away": rf"which has 1 file\. .*ben\.jpg is a link to {tmp_path}/gone\.jpg, and there is no file\.",
    }.items():
        with pytest.raises(BadPhoto, match=words):
            run(face_model, folder=f"family/{folder}")
    assert run(face_model).args[2].splitlines()[-3:] == [
        "Left out, links out of ComfyUI's input folder: linked.jpg",
        "Left out, links to no file: dead.jpg",
        "Left out, no photos: notes.txt",
    ]


def test_no_folder_is_chosen(face_model):
    for folder in ("none", ""):
        assert photos.SortPhotosIntoPeople.validate_inputs(folder) is True
        with pytest.raises(BadCast, match="no folder is chosen"):
            run(face_model, folder=folder)


def test_drawn_people_come_with_the_pack(face_model, monkeypatch):
    notes_shown: list[str] = []
    monkeypatch.setattr(notes, "tell", notes_shown.append)
    assert who(run(face_model, folder="drawn examples")) == {"Anna": 3, "Farid": 3}
    assert notes_shown == ["These people are drawn examples: choose a folder of your own."]
