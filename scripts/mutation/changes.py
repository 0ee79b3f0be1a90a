"""One small change in a module's code, as a slip of the hand would be: a mutant. Standard library only.

Numbers, signs, comparisons, conditions, the parts of a key, the order and the names of arguments, what is returned, and
whole statements. What is written for readers stays: annotations, docstrings, the words of errors and of the log.
"""

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

SIGNS: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.LShift: ast.RShift,
    ast.RShift: ast.LShift, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or,
    ast.Or: ast.And,
}  # fmt: skip
NAMES = {
    "min": "max", "max": "min", "any": "all", "all": "any", "floor": "ceil", "ceil": "floor", "round": "floor",
    "minimum": "maximum", "maximum": "minimum", "amin": "amax", "amax": "amin", "argmin": "argmax", "argmax": "argmin",
    "mean": "sum", "sum": "mean",
}  # fmt: skip
"""Functions and methods that are taken for each other."""
BUILTINS = ("min", "max", "any", "all")
SYMMETRIC = ("min", "max", "minimum", "maximum", "hypot", "dist", "equal")
"""Functions whose first two arguments may be exchanged."""
_COMPUTED = (ast.Name, ast.Attribute, ast.Call)
"""What one of a tuple's elements is, such as a cache's key; a colour, a size or an index has other changes."""
READ_BY_PEOPLE = ("annotation", "returns", "decorator_list", "exc", "msg")
"""Fields whose code says nothing of what is computed; `exc`: which error it is, and its words."""
TYPES = ("tuple", "dict", "list", "set", "frozenset", "type")
WRITES = ("log", "logger", "logging", "warnings")
"""What a call's first name is where it tells people something."""


@dataclass(frozen=True)
class Mutant:
    path: str
    function: str
    """Its qualified name, "" in the body of the module or of a class."""
    kind: str
    line: int
    """Where its statement begins, which must run for the change to be seen."""
    statement: str
    """The first line of the code that is changed."""
    before: str
    after: str
    which: int
    """The number of its statement with this kind, before and after."""
    changed: Callable[[], ast.Module]
    """The module's code with the change; it is made in place."""

    @property
    def name(self) -> str:
        place = f"{self.path}::{self.function}" if self.function else self.path
        return f"{place}: {self.before} -> {self.after}" + (f" ({self.which + 1})" if self.which else "")

    @property
    def identity(self) -> str:
        """What stays where other code comes or goes."""
        return "|".join((self.path, self.statement, self.kind, self.before, self.after, str(self.which)))


@dataclass(frozen=True)
class Place:
    """Where code stands. put: writes other code there."""

    node: ast.AST
    put: Callable[[Any], None]
    function: str
    statement: ast.stmt | None


def mutants_of(root: Path, path: str) -> list[Mutant]:
    """Every mutant of a module, in the order of its code."""
    tree = ast.parse((root / path).read_text("utf-8"))
    seen: dict[str, int] = {}
    found: list[Mutant] = []
    for place in _places(tree, "", "", None):
        for kind, after in _changes(place.node):
            statement = ast.unparse(place.statement).split("\n")[0] if place.statement else ""
            before, other = _line(place.node), _line(after)
            identity = "|".join((statement, kind, before, other))
            which = seen[identity] = seen.get(identity, -1) + 1
            changed = partial(_changed, tree, place.put, after)
            line = place.statement.lineno if place.statement else 1
            found.append(Mutant(path, place.function, kind, line, statement, before, other, which, changed))
    return found


def _changed(tree: ast.Module, put: Callable[[Any], None], after: ast.AST) -> ast.Module:
    put(after)
    return ast.fix_missing_locations(tree)


def _line(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 100 else f"{text[:97]}..."


def _places(node: ast.AST, function: str, scope: str, statement: ast.stmt | None) -> Iterator[Place]:
    """Every place below a node whose code is not for readers alone."""
    for field, value in ast.iter_fields(node):
        if field in READ_BY_PEOPLE or isinstance(node, ast.JoinedStr):
            continue
        children = cast(list[Any], value) if isinstance(value, list) else [value]
        for number, child in enumerate(children):
            if not isinstance(child, ast.AST) or _is_for_people(child) or _is_strict(child):
                continue
            put = partial(value.__setitem__, number) if isinstance(value, list) else partial(setattr, node, field)
            inner, around = function, scope
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                around = f"{scope}.{child.name}".lstrip(".")
                inner = around if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else function
            within = child if isinstance(child, ast.stmt) else statement
            # The defaults and bases of a definition are computed where it stands.
            yield Place(child, put, function if isinstance(child, ast.stmt) else inner, within)
            yield from _places(child, inner, around, within)


def _is_for_people(node: ast.AST) -> bool:
    if isinstance(node, ast.Subscript):  # a type
        return isinstance(node.value, ast.Name) and (node.value.id in TYPES or _is_type(node.value.id))
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    if not isinstance(node, ast.Expr):
        return False
    if isinstance(node.value, ast.Constant):
        return True
    if not isinstance(node.value, ast.Call):
        return False
    return any(isinstance(inner, ast.Name) and inner.id in WRITES for inner in ast.walk(node.value.func))


def _is_strict(node: ast.AST) -> bool:
    """Whether this is `strict` of zip: it makes a slip raise, and changes nothing where there is none."""
    return isinstance(node, ast.keyword) and node.arg == "strict"


def _changes(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """What else could stand there, with the kind of change."""
    match node:
        case ast.Constant(value=bool(value)):
            yield "boolean", ast.copy_location(ast.Constant(not value), node)
        case ast.Constant(value=int(value)):
            yield "number", ast.copy_location(ast.Constant(value + 1), node)
        case ast.Constant(value=float(value)):
            yield "number", ast.copy_location(ast.Constant(value * 2 or 1.0), node)
        case ast.BinOp(op=sign) | ast.BoolOp(op=sign) if type(sign) in SIGNS:
            yield "sign", _with(node, op=SIGNS[type(sign)]())
        case ast.Compare():
            for number, sign in enumerate(node.ops):
                yield "comparison", _with(node, ops=_other(node.ops, number, [SIGNS[type(sign)]()]))
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield "sign", node.operand
        case ast.IfExp():
            yield "condition", _with(node, body=node.orelse, orelse=node.body)
        case ast.Tuple(ctx=ast.Load()) if len(node.elts) > 1 and any(isinstance(one, _COMPUTED) for one in node.elts):
            for number in range(len(node.elts)):
                yield "element", _with(node, elts=_other(node.elts, number, []))
        case ast.Call():
            yield from _calls(node)
        case ast.stmt():
            yield from _statements(node)


def _calls(node: ast.Call) -> Iterator[tuple[str, ast.AST]]:
    match node.func:
        case ast.Name(id=name) if name in BUILTINS:
            yield "function", _with(node, func=ast.Name(NAMES[name], ast.Load()))
        case ast.Attribute(attr=name) if name in NAMES:
            yield "function", _with(node, func=_with(node.func, attr=NAMES[name]))
    symmetric = ast.unparse(node.func).rpartition(".")[2] in SYMMETRIC
    if len(node.args) > 1 and not symmetric and not any(isinstance(one, ast.Starred) for one in node.args[:2]):
        yield "order", _with(node, args=[node.args[1], node.args[0], *node.args[2:]])
    for number in (number for number, keyword in enumerate(node.keywords) if not _is_strict(keyword)):
        yield "argument", _with(node, keywords=_other(node.keywords, number, []))


def _statements(node: ast.stmt) -> Iterator[tuple[str, ast.AST]]:
    nothing = ast.copy_location(ast.Pass(), node)
    match node:
        case ast.If() | ast.While() if not isinstance(node.test, ast.Compare | ast.BoolOp):
            opposite = ast.copy_location(ast.UnaryOp(ast.Not(), node.test), node.test)
            yield "condition", _with(node, test=opposite)
        case ast.AugAssign():
            yield "sign", _with(node, op=SIGNS.get(type(node.op), ast.Add)())
            yield "sum", ast.copy_location(ast.Assign([node.target], node.value), node)
        case ast.Return(value=ast.expr()) if not isinstance(node.value, ast.Constant):
            yield "returned", _with(node, value=ast.Constant(None))
        case ast.Expr(value=ast.Call()) | ast.Raise() | ast.Continue() | ast.Break():
            yield "statement", nothing
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield "statement", nothing


def _with(node: Any, **fields: Any) -> Any:
    other = copy.copy(node)
    for name, value in fields.items():
        setattr(other, name, value)
    return other


def _other(items: list[Any], number: int, put: list[Any]) -> list[Any]:
    return [*items[:number], *put, *items[number + 1 :]]


def _is_type(name: str) -> bool:
    """Callable and Sequence, not A_CONSTANT."""
    return name[0].isupper() and not name.isupper()
