"""The editor of a running ComfyUI in a real Chromium, driven by Playwright: what tests of the page are written with.

`launch` starts the browser, `fixtures` gives tests their `visit`, and `visit` is the page of an editor. What is on it
has a class each: `Canvas` and `NodeOnPage`, `CastOnPage`, `PeopleCanvas`, `BoxEditor`, `SubgraphNode`, `Toasts`,
`HelpPanel`, `Gallery` and `AppView`. `failures` keeps a trace and a screenshot of a test that fails.
"""
