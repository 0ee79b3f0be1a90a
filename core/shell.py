"""Words of commands that are printed, to be pasted into a shell."""

import os
import re
import shlex

WINDOWS = "nt"
_ACTS_IN_QUOTES = re.compile(r'["$`\\!]')
"""What a shell does not take as it is between double quotes."""
_ACTS_IN_POWERSHELL = re.compile('["$`\u201c-\u201e]')
"""As above. PowerShell takes curly quotes for straight ones."""
_SINGLE_QUOTES_OF_POWERSHELL = re.compile("['\u2018-\u201b]")


def quoted(word: object, system: str = os.name) -> str:
    """A path or another word of a command, in quotes for a shell, on Windows for PowerShell. system: as os.name."""
    text = str(word)
    acts = _ACTS_IN_POWERSHELL if system == WINDOWS else _ACTS_IN_QUOTES
    if not acts.search(text):
        return f'"{text}"'  # cmd knows no others
    if system != WINDOWS:
        return shlex.quote(text)
    doubled = _SINGLE_QUOTES_OF_POWERSHELL.sub(r"\g<0>\g<0>", text)
    return f"'{doubled}'"
