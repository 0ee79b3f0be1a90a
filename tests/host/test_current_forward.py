"""What a thread knows of the forward that is on in it: it ends with the call of the network, whatever happens.

And what is read of a call, and of what stands in a layer."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch
from pack.bridge.networks.layers import can_read_some_pixels
from pack.bridge.sampling.current_forward import CurrentTexts, called_alone, current
from pack.bridge.sampling.forward import Batch, argument, call_network

X = torch.zeros(1, 4, 2, 2)


class Words(Batch):
    row_count = 1

    def __init__(self, name, error=None):
        super().__init__()
        self.name = name
        self.error = error

    def options_for_network(self, options):
        current.texts = CurrentTexts((self.name,), (1,))
        if self.error:
            raise self.error
        return options


def names():
    return None if current.texts is None else current.texts.names


def test_a_network_called_in_anothers_forward_leaves_that_one_what_it_knew():
    seen = []

    def inner(x, **options):
        seen.append(names())
        with called_alone(1):
            raise KeyError

    def outer(x, **options):
        with ThreadPoolExecutor(1) as other_thread:
            seen.append(other_thread.submit(names).result())
        with pytest.raises(KeyError):
            call_network([Words("Ben")], inner, x)
        seen.append(names())
        return current.texts.alone

    assert call_network([Words("Anna")], outer, X) is None
    assert seen == [None, ("Ben",), ("Anna",)]
    assert names() is None


def test_a_batch_that_raises_before_the_network_is_called_leaves_nothing_behind():
    with pytest.raises(KeyError):
        call_network([Words("Anna", KeyError())], lambda x, **options: x, X)
    assert names() is None


def test_the_text_of_a_call_is_its_third_argument_or_has_its_name():
    assert argument((X,), 1, {"context": "a text"}, "context") == "a text"
    assert argument((X, "a text", None), 1, {}, "context") == "a text"
    assert argument((X,), 1, {}, "context") is None


def test_what_another_pack_put_into_a_layer_reads_no_pixels_alone():
    assert can_read_some_pixels(None)
    assert not can_read_some_pixels(print)
    assert not can_read_some_pixels(partial(print, 0, None))
    assert not can_read_some_pixels(partial(Words("Anna").options_for_network, {}))
