"""A file of another method at the socket of an adapter: the message names both methods and the field to set."""

import pytest
from pack.core.errors import BadInput
from pack.nodes.id_patch.nodes import IDPatch
from pack.nodes.instant_id.nodes import NODES


def test_a_file_of_another_method_names_both_methods_and_the_field():
    (apply,) = (node for node in NODES if node.define_schema().node_id == "LikenessApplyInstantID")
    with pytest.raises(BadInput) as raised:
        apply.execute(instant_id=IDPatch(None))
    message = str(raised.value)
    assert "is a file of ID-Patch; a file of InstantID is needed." in message
    assert "Choose a file of InstantID in File (file) of the Load Adapter that is linked to it." in message
