"""A ComfyUI of the scripts that is listened to while it makes a prompt: what it keeps does not say all that it did."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from shared.host_server import HostServer, Run
from shared.workflow import Prompt

_NOTE = "likeness_note"
"""What notes of our nodes come under: beside what a node shows, and while a sampler runs."""


@dataclass
class Heard(Run):
    """executed: the nodes that ran, in their order. notes: what our nodes said: (node, text)."""

    executed: list[str] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)


class ListeningServer(HostServer):
    def _command(self) -> list[str]:
        # The host's own way drops what has run where less than a tenth of the memory is free, and runs it again: then
        # what runs again would say how full the machine is.
        return [*super()._command(), "--cache-classic"]

    def run(self, prompt: Prompt, *arguments: Any, **options: Any) -> Heard:
        run = super().run(prompt, *arguments, **options)
        assert isinstance(run, Heard)
        return run

    def attempt(self, prompt: Prompt, timeout: float = 900, *_: Any, **__: Any) -> Heard:
        return asyncio.run(self._listened(prompt, timeout))

    async def _listened(self, prompt: Prompt, timeout: float) -> Heard:
        client = uuid.uuid4().hex
        address = f"{self.url}/ws?clientId={client}"
        async with aiohttp.ClientSession() as session, session.ws_connect(address, max_msg_size=2**27) as messages:
            run = await asyncio.to_thread(super().attempt, prompt, timeout, client)
            heard = Heard(**vars(run))
            while run.status:
                message = await messages.receive()
                if message.type == aiohttp.WSMsgType.BINARY:  # a picture, or a text beneath a node
                    continue
                event = message.json()
                if event.get("data", {}).get("prompt_id") == run.id and _is_last(event, heard):
                    break
        return heard


def _is_last(event: dict[str, Any], heard: Heard) -> bool:
    """Note what a message says; whether it is the one that comes after the history has been written."""
    kind, data = event["type"], event["data"]
    if kind == "executing" and data["node"] is None:
        return True
    if kind == "executing":
        heard.executed.append(data["node"])
    elif kind == "executed":
        heard.notes += [(data["node"], text) for text in (data["output"] or {}).get(_NOTE, ()) if text]
    elif kind == _NOTE:
        heard.notes.append((data["node"], data["text"]))
    return False
