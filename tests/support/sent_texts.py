"""Texts in the file of a workflow, and what the editor sends of them: test_workflow_pages.py asks the editor itself."""

PROMPTS = {
    "a // b\nc /* d\n e */ f": "a \nc  f",
    "/* open": "/* open",
    "http://x.y/z": "http:",
    "a /*/ b */ c": "a  c",
    "/* a //*/ b // c": " b ",
    "/* /* */ */": " */",
    "/**//": "/",
    "/*//x": "/*",
    "a // b\r\nc // d\u2028e": "a \r\nc \u2028e",
    "back\\slash \\( \\)": "back\\slash \\( \\)",
    "\\{a\\|b\\}": "{a|b}",
    "\\\\": "\\\\",
    "  \ttext\r\n ": "  \ttext\r\n ",
    "a}b|c": "a}b|c",
    "%date:yyyy% %KSampler.seed%": "%date:yyyy% %KSampler.seed%",
}
"""Texts that may have comments."""
CHOICES = {
    "{red|blue} // dog": "{red|blue} ",
    "{red}": "{red}",
    "\\\\{a\\|b}": "\\\\{a\\|b}",
    "{/*}*/ a": "{ a",
}
"""Of these the editor draws one by lot: what the scripts send in its place."""
FILES = {"%date:yyyy%/a // b": "date/a // b", "a %year% {b|c}": "a %year% {b|c}"}
"""Names of files, with a word where the editor sends the year."""
