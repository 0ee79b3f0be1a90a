"""compare.py in this process, and the host afterwards as it was."""

from collections.abc import Iterator
from contextlib import contextmanager

import comfy.utils
import folder_paths
from comparison.host import host_server


@contextmanager
def host_as_before() -> Iterator[None]:
    """A run sets the host's folders, its bar and its server; no other test here has these."""
    folders = folder_paths.get_input_directory(), folder_paths.get_output_directory()
    before = dict(folder_paths.folder_names_and_paths)
    has_bar = comfy.utils.PROGRESS_BAR_ENABLED
    yield
    if hasattr(host_server().PromptServer, "instance"):
        del host_server().PromptServer.instance
    comfy.utils.set_progress_bar_enabled(has_bar)
    folder_paths.folder_names_and_paths.clear()
    folder_paths.folder_names_and_paths.update(before)
    folder_paths.set_input_directory(folders[0])
    folder_paths.set_output_directory(folders[1])
