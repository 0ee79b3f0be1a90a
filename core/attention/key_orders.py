"""Orders of keys in which what a group of queries reads stands together, so that a slice of them is all it needs.

Two groups, A and B, share an order:

    [own keys of A] [keys of both] [own keys of B]

A reads the first two parts, and B the last two. Other groups read slices of it, too: one that reads the keys of both,
and one that reads all own keys of A (or of B) and some keys of both, if these can stand beside them. So one copy of the
keys serves two people's regions, their words, and the text of everybody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any, cast

import torch
from torch import Tensor

_Keys = int
"""A set of classes of keys (see _Classes), a bit for each: much faster than sets, of which many are compared."""


@dataclass(frozen=True, eq=False)
class KeyOrder:
    """Keys in an order in which some groups read a slice each.

    keys: (n,), their numbers. slices: what a group reads of them, by the number of the group.
    """

    keys: Tensor
    slices: Mapping[int, slice]


def key_orders(times: Tensor) -> list[KeyOrder]:
    """Orders of keys, so that every group reads a slice of one of them.

    times: (groups, keys), how often each group reads each key. A key that a group reads twice stands there twice. No
    order is longer than all keys, each as often as the group that reads it most. The first order is that in which the
    keys stand already, where it serves a group.
    """
    as_they_stand = _as_they_stand(times)
    orders: list[KeyOrder] = [as_they_stand] if as_they_stand.slices else []
    classes = _Classes.of(times)
    left: list[int] = [group for group in range(len(times)) if group not in as_they_stand.slices]
    while left:
        # The two groups whose order serves most of those that are left, and of these the two with the shortest order.
        pairs = [_Pair.of(first, second, classes, left) for first, second in combinations_with_replacement(left, 2)]
        best = max(pairs, key=lambda pair: (len(pair.served), -pair.length))
        order = best.order()
        orders.append(order)
        left = [group for group in left if group not in order.slices]
    return orders


def _as_they_stand(times: Tensor) -> KeyOrder:
    """All keys in their own order, for the groups that read a slice of these. times: as of key_orders."""
    slices: dict[int, slice] = {}
    for group, of_group in enumerate(times):
        keys = of_group.nonzero()[:, 0]
        run = slice(int(keys[0]), int(keys[-1]) + 1)
        if bool((of_group[run] == 1).all()):
            slices[group] = run
    return KeyOrder(torch.arange(times.shape[1]), slices)


@dataclass(frozen=True, eq=False)
class _Classes:
    """Keys in classes: those of a class are read by the same groups.

    members: the numbers of the keys of each class, ascending; of keys that are read twice there are classes of their
    own for the second time. sizes: how many keys each class has. read: the classes that each group reads.
    """

    members: Sequence[Tensor]
    sizes: Sequence[int]
    read: Sequence[_Keys]

    @classmethod
    def of(cls, times: Tensor) -> _Classes:
        """times: as of key_orders."""
        members: list[Tensor] = []
        read: list[_Keys] = [0] * len(times)
        for time in range(int(times.max())):
            is_read = (times > time).T  # (keys, groups) bool: whether a group reads a key for one more time
            patterns, pattern_of = cast("Any", is_read).unique(dim=0, return_inverse=True)
            for number, pattern in enumerate(patterns.tolist()):
                if not any(pattern):
                    continue
                for group, reads in enumerate(pattern):
                    if reads:
                        read[group] |= 1 << len(members)
                members.append((pattern_of == number).nonzero()[:, 0])
        return cls(members, [len(keys) for keys in members], read)

    def count(self, keys: _Keys) -> int:
        return sum(size for number, size in enumerate(self.sizes) if keys >> number & 1)


@dataclass(frozen=True, eq=False)
class _Pair:
    """Two groups that share an order, and the others that read a slice of it.

    firsts, both, lasts: the keys of the first group alone, of both, and of the second alone. served: of each group that
    reads a slice, the classes that it reads. beginnings: sets of keys of both, of which each holds the smaller ones;
    the keys of each have to stand before all others of both.
    """

    classes: _Classes
    firsts: _Keys
    both: _Keys
    lasts: _Keys
    served: Mapping[int, _Keys]
    beginnings: Sequence[_Keys]

    @classmethod
    def of(cls, first: int, second: int, classes: _Classes, left: Sequence[int]) -> _Pair:
        """left: groups that have no order yet, the two among them."""
        of_first, of_second = classes.read[first], classes.read[second]
        both = of_first & of_second
        firsts, lasts = of_first & ~both, of_second & ~both
        served: dict[int, _Keys] = {}
        beginnings: list[_Keys] = []
        for group in dict.fromkeys((first, second, *left)):
            read = classes.read[group]
            if read in (both, of_first | of_second):
                served[group] = read
                continue
            if not read & ~of_first and not firsts & ~read:  # it reads from the beginning of the order
                beginning = read & both
            elif not read & ~of_second and not lasts & ~read:  # it reads to the end of the order
                beginning = both & ~read
            else:
                continue
            if all(beginning & other in (beginning, other) for other in beginnings):
                served[group] = read
                beginnings.append(beginning)
        return cls(classes, firsts, both, lasts, served, beginnings)

    @property
    def length(self) -> int:
        return self.classes.count(self.firsts | self.both | self.lasts)

    def order(self) -> KeyOrder:
        parts: list[_Keys] = [self.firsts]
        taken = self.firsts
        for beginning in sorted([*self.beginnings, self.both], key=int.bit_count):
            parts.append(beginning & ~taken)
            taken |= beginning
        parts.append(self.lasts)
        keys = torch.cat([self._keys(part) for part in parts])
        slices: dict[int, slice] = {}
        for group, read in self.served.items():
            # Parts are read whole or not at all, and those that are read follow each other.
            before = 0
            for part in parts:
                if part & read:
                    break
                before += self.classes.count(part)
            slices[group] = slice(before, before + self.classes.count(read))
        return KeyOrder(keys, slices)

    def _keys(self, part: _Keys) -> Tensor:
        """The numbers of the keys of some classes, ascending."""
        numbers = [keys for number, keys in enumerate(self.classes.members) if part >> number & 1]
        return torch.cat(numbers).sort().values if numbers else torch.empty(0, dtype=torch.long)
