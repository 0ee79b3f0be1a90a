"""The ComfyUI that the scripts and these tests drive."""

import pytest
from shared.host_server import HostServer
from shared.workflow import Prompt


@pytest.mark.thorough
@pytest.mark.both_hosts
def test_nothing_made_before_is_taken_after_free(host_server: HostServer) -> None:
    """Also when a prompt follows at once, before ComfyUI has looked at its flags by itself: many times, because it is a
    race that the prompt wins now and then."""
    prompt: Prompt = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}},
        "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
    }
    host_server.run(prompt)
    assert sorted(host_server.run(prompt).cached) == ["1", "2"]
    cached_after_free: list[list[str]] = []
    for _ in range(20):
        host_server.free()
        cached_after_free.append(host_server.run(prompt).cached)
    assert cached_after_free == [[]] * 20
