"""ControlNets that apply nodes attach: how they get into the conditioning, and what they look at while a run computes.

attachment.py          one ControlNet at the end of the chains of both prompts
attached_net.py        our own copy of the user's ControlNet: it checks a run, and sees to it that it fits
person_control_net.py  a ControlNet of FLUX.1 that is run once per person
person_passes.py       what each of its runs is given, and the sum of them
token_control_net.py   a ControlNet that reads image tokens of people instead of the text
per_thread.py          an attribute of one of the host's objects that one thread sees replaced
"""
