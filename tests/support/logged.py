"""What the pack has logged."""

import pytest


def messages_of_the_pack(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Without the host's, which warns of models of other tests."""
    return [record.getMessage() for record in caplog.records if record.name == "likeness"]
