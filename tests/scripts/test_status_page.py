"""docs/status.md by made-up results of a run: what ran, what was skipped and why, and what was not shown."""

import subprocess
import sys
from pathlib import Path
from xml.sax.saxutils import quoteattr

import pytest
import status
from pack.core.methods import methods

ROOT = Path(__file__).resolve().parents[2]
OFF = "tests.promises.test_off"
OFF_ROW = "switched off is the picture without it, bit for bit"
PARITY_ROW = "equals an independent implementation"


def junit(file: str, name: str, inside: str = "") -> str:
    return f"<testcase classname={quoteattr(file)} name={quoteattr(name)} time='0.1'>{inside}</testcase>"


def skipped(reason: str) -> str:
    return f"<skipped type='pytest.skip' message={quoteattr(reason)}>test_off.py:1: {reason}</skipped>"


def without(row: str, reason: str) -> str:
    return f"<properties><property name='does not apply' value={quoteattr(f'{row}: {reason}')}/></properties>"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results.xml"


def page_of(results: Path, *cases: str) -> str:
    results.write_text(f"<testsuites><testsuite name='pytest'>{''.join(cases)}</testsuite></testsuites>", "utf-8")
    return status.rendered(status.tests_of(status.cases_of(results)))


def cells(page: str, promise: str) -> dict[str, str]:
    """By method's title: the cells of a row."""
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith(f"| {promise} |")]
    (row,) = rows
    return dict(zip([method.title for method in methods()], row[1:], strict=True))


def test_what_passed_is_counted_by_method_and_promise(results: Path) -> None:
    page = page_of(
        results,
        junit(OFF, "test_weight_zero[id_patch, ApplyIDPatch]"),
        junit(OFF, "test_weight_zero[id_patch, ApplyIDPatch, by region]"),
        junit(OFF, "test_weight_zero[PromptPerPerson]"),
        junit("tests.promises.test_other_packs_texts", "test_regions[id_patch, ApplyIDPatch-a row per region]"),
    )
    assert cells(page, OFF_ROW)["ID-Patch"] == "[2](../tests/promises/test_off.py)"
    assert cells(page, OFF_ROW)["InstantID"] == "[not shown](../tests/promises/test_off.py)"
    assert cells(page, "beside other packs, before or after")["ID-Patch"].startswith("[1](")


def test_a_method_with_skipped_tests_alone_is_not_shown_as_kept(results: Path) -> None:
    page = page_of(
        results,
        junit(OFF, "test_weight_zero[id_patch, ApplyIDPatch]", skipped("it has no model here")),
        junit(OFF, "test_absent[id_patch, ApplyIDPatch]", skipped("it has no model here")),
    )
    assert cells(page, OFF_ROW)["ID-Patch"] == "[not shown: 2 skipped](../tests/promises/test_off.py)"
    assert f"- ID-Patch, {OFF_ROW}: 2 skipped: it has no model here" in page


def test_skipped_tests_stand_beside_those_that_ran(results: Path) -> None:
    page = page_of(
        results,
        junit(OFF, "test_weight_zero[id_patch, ApplyIDPatch]"),
        junit(OFF, "test_absent[id_patch, ApplyIDPatch]", skipped("no server")),
    )
    assert cells(page, OFF_ROW)["ID-Patch"] == "[1, 1 skipped](../tests/promises/test_off.py)"


@pytest.mark.parametrize("element", ["<failure message='x'/>", "<error message='x'/>"])
def test_a_test_that_fails_is_no_promise_kept(results: Path, element: str) -> None:
    page = page_of(
        results,
        junit(OFF, "test_weight_zero[id_patch, ApplyIDPatch]"),
        junit(OFF, "test_absent[id_patch, ApplyIDPatch]", element),
    )
    assert cells(page, OFF_ROW)["ID-Patch"] == "[not kept: 1 of 2 failed](../tests/promises/test_off.py)"


def test_parity_is_the_tests_of_tests_parity_themselves(results: Path) -> None:
    page = page_of(
        results,
        junit("tests.parity.test_instant_id_parity", "test_sampling_equals_diffusers[case0]"),
        junit("tests.parity.test_instant_id_parity", "test_golden_sampling_of_the_authors"),
        junit("tests.parity.test_story_maker_parity", "test_tokens", skipped("no diffusers")),
        junit("tests.parity.test_timesteps", "test_few_steps_are_the_published_ones[lcm-4]"),
    )
    row = cells(page, PARITY_ROW)
    assert row["InstantID"] == "[2](../tests/parity/test_instant_id_parity.py)"
    assert row["StoryMaker"] == "[not shown: 1 skipped](../tests/parity/test_story_maker_parity.py)"
    assert row["ID-Patch"] == "[not shown](../tests/parity/test_id_patch_parity.py)"


def test_tests_of_other_folders_do_not_count(results: Path) -> None:
    """Their files may begin with the name of a promise, and their cases with a method."""
    page = page_of(
        results,
        junit("tests.host.test_masks_by_words", "test_x[id_patch, ApplyIDPatch]"),
        junit("tests.unit.test_doctor", "test_x[id_patch]"),
        junit("tests.scripts.test_instant_id_parity", "test_x"),
    )
    assert cells(page, "masks of nothing, a half, everything")["ID-Patch"].startswith("[not shown]")
    assert cells(page, "the doctor names its files")["ID-Patch"].startswith("[not shown]")
    assert cells(page, PARITY_ROW)["InstantID"].startswith("[not shown]")


def test_a_file_without_a_known_promise_is_none(results: Path) -> None:
    """The name of a promise ends with its last letter."""
    assert status.promise_of("test_off") == "off"
    assert status.promise_of("test_other_packs_texts") == "other_packs"
    assert status.promise_of("test_official") == ""


def test_what_does_not_apply_says_why(results: Path) -> None:
    """Whatever ran: the record decides."""
    page = page_of(results, junit("tests.promises.test_rows", "test_who_cannot_says_so[photo_maker]"))
    cell = cells(page, "a batch is its pictures; a row each")["PhotoMaker"]
    letter = cell.removeprefix("does not apply (").removesuffix(")")
    assert cell == f"does not apply ({letter})"
    assert len(letter) == 1
    assert f"- **{letter}** PhotoMaker, a batch is its pictures; a row each: Its words are one text" in page


def test_nodes_that_a_test_asks_nothing_of_are_listed_with_the_reason(results: Path) -> None:
    property_of_both = without("references, PeopleAsReferences", "It has no mask.")
    page = page_of(
        results,
        junit(OFF, "test_absent[id_patch, ApplyIDPatch]", property_of_both + without("PromptPerPerson", "None.")),
        junit(OFF, "test_absent[instant_id, ApplyInstantID]", property_of_both),
    )
    assert page.count("PeopleAsReferences") == 1
    assert f"- {OFF_ROW}, *absent*: not references, PeopleAsReferences. It has no mask." in page
    assert "PromptPerPerson" not in page, "it is no method of the table"


def test_the_script_writes_the_page_from_results_of_promises_and_parity_alone(results: Path, tmp_path: Path) -> None:
    page = tmp_path / "status.md"
    parity = tmp_path / "parity.xml"
    expected = page_of(parity, junit("tests.parity.test_instant_id_parity", "test_x"))
    assert "[1](../tests/parity/test_instant_id_parity.py)" in expected
    page_of(results, junit(OFF, "test_weight_zero[id_patch, ApplyIDPatch]"))
    command = [sys.executable, str(ROOT / "scripts" / "status.py"), "--page", str(page)]
    subprocess.run([*command, str(results), str(parity)], check=True, capture_output=True)
    written = page.read_text("utf-8")
    assert cells(written, PARITY_ROW)["InstantID"] == "[1](../tests/parity/test_instant_id_parity.py)"
    assert cells(written, OFF_ROW)["ID-Patch"] == "[1](../tests/promises/test_off.py)"


def test_a_test_that_ran_again_counts_once_as_it_ended_last(results: Path, tmp_path: Path) -> None:
    page = tmp_path / "status.md"
    later_results = tmp_path / "again.xml"
    name = "test_weight_zero[id_patch, ApplyIDPatch]"
    page_of(results, junit(OFF, name, "<failure message='x'/>"))
    page_of(later_results, junit(OFF, name))
    command = [sys.executable, str(ROOT / "scripts" / "status.py"), "--page", str(page)]
    subprocess.run([*command, str(results), str(later_results)], check=True, capture_output=True)
    assert cells(page.read_text("utf-8"), OFF_ROW)["ID-Patch"] == "[1](../tests/promises/test_off.py)"


def test_results_of_something_else_leave_the_page_alone(results: Path, tmp_path: Path) -> None:
    page = tmp_path / "status.md"
    page_of(results, junit("tests.unit.test_boxes", "test_x"))
    command = [sys.executable, str(ROOT / "scripts" / "status.py"), "--page", str(page), str(results)]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 1
    assert "stays as it is" in process.stdout
    assert not page.exists()


def test_no_results_are_no_tests(tmp_path: Path) -> None:
    assert status.cases_of(tmp_path / "nothing.xml") == []
