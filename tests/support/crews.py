"""Workers of batch.py that are asked again soon, so that no test waits for one that is out."""

import pytest
from batch.one_worker import DrivenWorkers


def quicken(patch: pytest.MonkeyPatch, times: float = 100) -> None:
    ask = DrivenWorkers._ask
    patch.setattr(DrivenWorkers, "_ask", lambda self, one, pause: ask(self, one, pause / times))
