"""The categories of nodes in ComfyUI's menu: the three systems, the steps of a graph, and the other methods.

Menus sort categories by name, so each has a number.
"""

IN_ID_PATCH = "likeness/1 ID-Patch"
IN_INSTANT_ID = "likeness/2 InstantID"
IN_PARTS = "likeness/3 Parts"
IN_FILES = "likeness/4 files"
IN_PEOPLE = "likeness/5 people"
IN_PLACES = "likeness/6 places"
IN_PROMPTS = "likeness/7 prompts and LoRAs"
IN_MEASURE = "likeness/8 measure and second pass"
IN_OTHER_METHODS = "likeness/9 other methods"
