"""At which sigmas something of ours works: from the first of its range to the last, both of them."""

import pytest
import torch
from pack.bridge.injections import Injection


@pytest.mark.parametrize(("sigma", "on"), [(8.1, False), (8.0, True), (5.0, True), (2.0, True), (1.9, False)])
def test_a_range_has_both_of_its_ends(sigma: float, on: bool) -> None:
    injection = Injection(object(), (8.0, 2.0), torch.zeros(1, 1, 1), (), None)
    assert injection.is_on(torch.tensor([sigma])) is on
