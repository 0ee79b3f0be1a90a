"""The icons of the templates: drawings of what goes into each template and what comes out of it.

pen.py            shapes and letters with soft edges on a square sheet
colours.py        the colours of all icons
people.py         who is drawn: heads, people down to the chest and in full length
clothes.py        clothes, on a person and alone
things.py         tiles, badges, arrows, speech bubbles, folders and other signs
scenes.py         pictures with a sky or a wall behind the people
skeletons.py      the pictures that ControlNets read: joints, outlines, depth, body surface
start.py, id_patch.py, instant_id.py, parts.py, cast.py, methods.py, flux.py
                  a function for each template
table.py          which function draws which template
"""
