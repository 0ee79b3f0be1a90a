"""How people of every age are built: head, trunk, arms and legs of a child of six beside those of an adult.

A build is relative to the adult of bodies.py, for whom postures are drawn.

Lengths are in heads, from crown to chin. "Own heads" are those of the person: postures are in them. Other "heads" are
those of an adult, and in a group those of its tallest person, whose Build.head is 1 there. They are the unit of what
several people share: positions, distances, and Build.head.
"""

from bisect import bisect_left
from dataclasses import dataclass
from typing import NamedTuple

from .bodies import Posture


class _Age(NamedTuple):
    """years: of age. boys, girls: height, cm. heads: in the height. sitting: height when sitting / height."""

    years: float
    boys: float
    girls: float
    heads: float
    sitting: float


_AGES = tuple(
    _Age(*row)
    for row in (
        (1, 75.7, 74.0, 4.50, 0.590), (2, 86.5, 85.0, 4.90, 0.577), (3, 95.0, 93.9, 5.20, 0.567),
        (4, 102.2, 100.8, 5.50, 0.560), (5, 108.9, 107.7, 5.75, 0.555), (6, 115.4, 114.7, 6.00, 0.550),
        (7, 121.8, 121.5, 6.20, 0.545), (8, 127.9, 127.6, 6.35, 0.540), (9, 133.5, 132.9, 6.50, 0.535),
        (10, 138.6, 138.0, 6.65, 0.530), (11, 143.5, 144.0, 6.80, 0.525), (12, 149.1, 151.2, 6.95, 0.522),
        (13, 156.1, 157.2, 7.10, 0.520), (14, 163.8, 160.4, 7.20, 0.519), (15, 169.9, 161.9, 7.30, 0.520),
        (16, 173.5, 162.6, 7.40, 0.521), (17, 175.3, 162.9, 7.45, 0.523), (18, 176.2, 163.1, 7.50, 0.526),
    )
)  # fmt: skip
"""Heights: the medians of the growth charts of the CDC (2000), and at 1 of the WHO's standards (2006). Heads: read
between the figures of drawing manuals (Loomis; NAVEDTRA 14262), newborns 4 and adults 7.5. Sitting: Bundak and others
(2014) from 6 years on, and what continues it below; adults as bodies.STANDING, 0.527 in Huston's tables."""
YOUNGEST, GROWN_UP = _AGES[0].years, _AGES[-1].years
SHORTEST, TALLEST = 75, 230
"""Heights that can be asked for, cm."""
_TOLD, _VERY = 0.04, 0.10
"""From how much more or less than the usual height on somebody is called tall or short, and very tall or very short.
One standard deviation of adults of one sex, and two and a half."""

_NOSE = 0.70  # below the crown, heads
_NOSE_TO_SHOULDER = 0.70  # of an adult; its part below the chin, 0.40, grows as the arms do
_CHIN = 0.30
# Shares of the height: the hip joint below the seat's end of the trunk, and the ankle above the sole.
_HIP_OVER_SEAT, _ANKLE = 0.053, 0.047


@dataclass(frozen=True)
class Build:
    """head: its height, in heads of an adult. limbs, trunk, legs: in own heads, relative to the adult's.

    limbs: neck, arms, and all widths below the head.
    """

    head: float = 1.0
    limbs: float = 1.0
    trunk: float = 1.0
    legs: float = 1.0

    def of(self, posture: Posture) -> Posture:
        """The posture of a person of this build, in own heads. posture: as an adult has it.

        The head stays, as its own height is the unit. Shoulder and hip are not hidden in any posture.
        """
        if self.limbs == self.trunk == self.legs == 1:
            return posture
        eye, ear, shoulder, elbow, wrist, hip, knee, ankle = posture
        assert shoulder is not None
        assert hip is not None
        neck = _Part(_CHIN, _CHIN, self.limbs)
        arm = _Part(shoulder[1], neck.own_y(shoulder[1]), self.limbs)
        trunk = _Part(shoulder[1], arm.own_start, self.trunk)
        leg = _Part(hip[1], trunk.own_y(hip[1]), self.legs)
        below = ((neck, shoulder), (arm, elbow), (arm, wrist), (trunk, hip), (leg, knee), (leg, ankle))
        return (eye, ear, *(joint and (joint[0] * self.limbs, part.own_y(joint[1])) for part, joint in below))


class _Part(NamedTuple):
    """A part of a body from its upper end down.

    start, own_start: the height of that end in the posture of an adult, and in that of a person of another build.
    length: relative to the adult's.
    """

    start: float
    own_start: float
    length: float

    def own_y(self, y: float) -> float:
        """Where a joint is that an adult has at this height."""
        return self.own_start + (y - self.start) * self.length


ADULT = Build()


def build(years: float, sex: str, centimetres: float) -> Build:
    """The build at an age. sex: "m", "f" or "" for the mean. centimetres: height, 0 for the usual one of the age."""
    age = _age(years)
    grown_up = _AGES[-1]
    height = centimetres or _height(age, sex)
    # Relative to the adult of the mean of both sexes. The height changes the size of the head alone: all other lengths
    # are in own heads. Limbs are taken as the same share of the height at every age: then they go with the heads in it.
    return Build(
        head=(height / age.heads) / (_height(grown_up) / grown_up.heads),
        limbs=age.heads / grown_up.heads,
        trunk=_trunk(age) / _trunk(grown_up),
        legs=_leg(age) / _leg(grown_up),
    )


def stature(years: float, sex: str, centimetres: float) -> str:
    """What a height is called beside the usual one: "very tall", "tall", "short", "very short", or "" for a usual one.

    Arguments as of `build`.
    """
    more = centimetres / _height(_age(years), sex) - 1 if centimetres else 0.0
    if abs(more) < _TOLD:
        return ""
    word = "tall" if more > 0 else "short"
    return f"very {word}" if abs(more) >= _VERY else word


def usual_height(years: float, sex: str) -> float:
    """cm. Arguments as of `build`."""
    return _height(_age(years), sex)


def usual_age(centimetres: float) -> float:
    """The age at which this is the usual height, in years, between YOUNGEST and GROWN_UP."""
    index = bisect_left(_AGES, centimetres, key=_height)
    if index == 0:
        return YOUNGEST
    if index == len(_AGES):
        return GROWN_UP
    before, after = _AGES[index - 1], _AGES[index]
    share = (centimetres - _height(before)) / (_height(after) - _height(before))  # of the way between the two rows
    return before.years + share * (after.years - before.years)


def _age(years: float) -> _Age:
    """The row of an age, interpolated between two rows of the table; of grown-ups the last row."""
    if years >= GROWN_UP:
        return _AGES[-1]
    # From 1 on, so that there is a row before; ages below YOUNGEST continue the line of the first two rows.
    after = bisect_left(_AGES, years, lo=1, key=lambda age: age.years)
    first, second = _AGES[after - 1], _AGES[after]
    share = (years - first.years) / (second.years - first.years)  # of the way between the two rows
    return _Age(*(start + share * (end - start) for start, end in zip(first, second, strict=True)))


def _height(age: _Age, sex: str = "") -> float:
    """cm."""
    return {"m": age.boys, "f": age.girls}.get(sex, (age.boys + age.girls) / 2)


def _leg(age: _Age) -> float:
    """From hip to ankle, in own heads."""
    return (1 - age.sitting + _HIP_OVER_SEAT - _ANKLE) * age.heads


def _trunk(age: _Age) -> float:
    """From shoulder to hip, in own heads: what head, neck and legs leave of the height."""
    shoulder = _CHIN + (_NOSE_TO_SHOULDER - _CHIN) * age.heads / _AGES[-1].heads
    return age.heads - _NOSE - shoulder - _leg(age) - _ANKLE * age.heads
