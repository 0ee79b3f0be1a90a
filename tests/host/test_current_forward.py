"""What a thread knows of the forward that is on in it: it ends with the call of the network, whatever happens.

And what is read of a call, and of what stands in a layer."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch
from pack.bridge.loras.layer_hooks import begin_additions
from pack.bridge.networks.layers import can_read_some_pixels
from pack.bridge.sampling.current_forward import called_for, current, layers_are_given
from pack.bridge.sampling.forward import Batch, argument, call_network
from pack.core.attention.spans import NO_TOKENS, Tokens

X = torch.zeros(1, 4, 2, 2)


class Adds(Batch):
    row_count = 1

    def __init__(self, name, error=None):
        super().__init__()
        self.name = name
        self.error = error

    def network_arguments(self, args, kwargs):
        begin_additions(self.name)
        return args, kwargs

    def options_for_network(self, options, tokens):
        layers_are_given(tokens)
        if self.error:
            raise self.error
        return options


def known():
    """Whose additions are on, and how many tokens their layers are given."""
    return None if current.additions is None else (current.additions.mark, current.additions.tokens.count)


def test_a_network_called_in_anothers_forward_leaves_that_one_what_it_knew():
    seen = []

    def inner(x, **options):
        seen.append(known())
        with called_for(Tokens.of_one(1, "Anna")):
            raise KeyError

    def outer(x, **options):
        with ThreadPoolExecutor(1) as other_thread:
            seen.append(other_thread.submit(known).result())
        with pytest.raises(KeyError):
            call_network([Adds("Ben")], Tokens.of_one(2, None), inner, x)
        with called_for(Tokens.of_one(1, "Anna")):
            seen.append(known())
        seen.append(known())

    call_network([Adds("Anna")], Tokens.of_one(3, None), outer, X)
    assert seen == [None, ("Ben", 2), ("Anna", 1), ("Anna", 3)]
    assert known() is None


def test_a_batch_that_raises_before_the_network_is_called_leaves_nothing_behind():
    with pytest.raises(KeyError):
        call_network([Adds("Anna", KeyError())], NO_TOKENS, lambda x, **options: x, X)
    assert known() is None


def test_the_text_of_a_call_is_its_third_argument_or_has_its_name():
    assert argument((X,), 1, {"context": "a text"}, "context") == "a text"
    assert argument((X, "a text", None), 1, {}, "context") == "a text"
    assert argument((X,), 1, {}, "context") is None


def test_what_another_pack_put_into_a_layer_reads_no_pixels_alone():
    assert can_read_some_pixels(None)
    assert not can_read_some_pixels(print)
    assert not can_read_some_pixels(partial(print, 0, None))
    assert not can_read_some_pixels(partial(Adds("Anna").options_for_network, {}))
