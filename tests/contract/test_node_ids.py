"""Node ids are an API, and ComfyUI-Manager finds a pack for a missing node only by reading them from the source."""

from __future__ import annotations

import re

Scanned = list[tuple[str, str, str | None]]


def test_every_node_class_has_a_literal_id(scanned_nodes: Scanned) -> None:
    assert scanned_nodes
    assert [f"{file}: {name}" for file, name, node_id in scanned_nodes if node_id is None] == []


def test_ids_are_unique_and_prefixed(scanned_nodes: Scanned) -> None:
    ids = [node_id for _, _, node_id in scanned_nodes]
    assert len(ids) == len(set(ids))
    assert [node_id for node_id in ids if not re.fullmatch(r"Likeness[A-Z][A-Za-z0-9]+", node_id or "")] == []


def test_class_is_named_like_its_id(scanned_nodes: Scanned) -> None:
    assert [(name, node_id) for _, name, node_id in scanned_nodes if node_id != f"Likeness{name}"] == []
