"""Ways in which a test passes without asking anything, found in its source.

A test that returns early, holds its only assertion under an `if`, or loops over a list that may be empty counts as
passed where it has done nothing. Such a test belongs to the cases that it applies to (parametrize, or `applies_to` of
promised.py), or says with pytest.skip why it cannot ask.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

OTHER_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
SAME_LENGTH = ("enumerate", "sorted", "reversed", "list", "tuple", "set", "zip", "map")
"""Calls whose result has elements where what they are given has some."""


def faults(source: str, strict: bool) -> list[str]:
    """What is wrong with the tests of a module, as `line: function: why`.

    strict: also assertions under an `if` alone, loops that may be empty, alternatives in an assertion, and tests
    without an assertion. Without it: early returns.
    """
    module = ast.parse(source)
    constants = _filled_constants(module)
    checking = _checking_functions(module)
    wrong: list[str] = []
    for test in _tests(module):
        lines = [*_early_returns(test)]
        if strict:
            lines += [
                *_one_sided(test),
                *_maybe_empty(test, constants),
                *_alternatives(test),
                *_without_check(test, checking),
            ]
        wrong += [f"{line}: {test.name}: {why}" for line, why in sorted(lines)]
    return wrong


def _tests(module: ast.Module) -> Iterator[ast.FunctionDef]:
    """Without those that yield what is wrong: a decorator makes tests of them."""
    for node in ast.walk(module):
        if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test_"):
            continue
        if not any(isinstance(inner, (ast.Yield, ast.YieldFrom)) for inner in _inside(node)):
            yield node


def _inside(node: ast.AST) -> Iterator[ast.AST]:
    """Everything below it that runs when it runs: no functions and classes that are defined in it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, OTHER_SCOPES):
            yield child
            yield from _inside(child)


def _is_check(node: ast.AST) -> bool:
    """An assertion, or a block that must raise."""
    if isinstance(node, ast.Assert):
        return True
    if isinstance(node, ast.With):
        return any("raises" in ast.unparse(item.context_expr) for item in node.items)
    return isinstance(node, ast.Expr) and ast.unparse(node.value).startswith(("pytest.fail(", "pytest.skip("))


def _checks(statements: list[ast.stmt]) -> bool:
    nodes: list[ast.AST] = list(statements)
    for statement in statements:
        nodes += _inside(statement)
    return any(_is_check(node) for node in nodes)


def _early_returns(test: ast.FunctionDef) -> Iterator[tuple[int, str]]:
    for node in _inside(test):
        if isinstance(node, ast.Return):
            yield node.lineno, "it returns, and counts as passed"


def _one_sided(test: ast.FunctionDef) -> Iterator[tuple[int, str]]:
    for node in _inside(test):
        if isinstance(node, ast.If) and _checks(node.body) != _checks(node.orelse):
            skips = len(node.body) == 1 and ast.unparse(node.body[0]).startswith(("pytest.skip(", "pytest.fail("))
            if not skips:
                yield node.lineno, "an assertion stands on one side of an if alone"


def _maybe_empty(test: ast.FunctionDef, constants: set[str]) -> Iterator[tuple[int, str]]:
    filled = constants | _asserted(test)
    for node in _inside(test):
        if isinstance(node, ast.For) and _checks(node.body) and not _is_filled(node.iter, filled):
            yield node.lineno, f"{ast.unparse(node.iter)} may be empty: assert it before the loop"
        if isinstance(node, ast.Assert):
            for call in ast.walk(node.test):
                if _is_all(call):
                    source = call.args[0].generators[0].iter
                    if not _is_filled(source, filled):
                        yield node.lineno, f"all() of what may be empty: assert {ast.unparse(source)}"


def _is_all(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and ast.unparse(node.func) == "all"
        and isinstance(node.args[0], (ast.GeneratorExp, ast.ListComp))
    )


def _alternatives(test: ast.FunctionDef) -> Iterator[tuple[int, str]]:
    for node in _inside(test):
        if isinstance(node, ast.Assert):
            for part in _conjuncts(node.test):
                if isinstance(part, ast.BoolOp) and isinstance(part.op, ast.Or):
                    yield node.lineno, "an assertion with an `or`: which side is meant decides what it applies to"


def _without_check(test: ast.FunctionDef, checking: set[str]) -> Iterator[tuple[int, str]]:
    calls = {ast.unparse(node.func) for node in _inside(test) if isinstance(node, ast.Call)}
    if not _checks(test.body) and calls.isdisjoint(checking):
        yield test.lineno, "it asserts nothing"


def _conjuncts(condition: ast.expr) -> list[ast.expr]:
    if isinstance(condition, ast.BoolOp) and isinstance(condition.op, ast.And):
        return [part for value in condition.values for part in _conjuncts(value)]
    return [condition]


def _asserted(test: ast.FunctionDef) -> set[str]:
    """Source of what the test asserts to be true, or to have a length: `assert ways`, `assert len(ways) == 2`."""
    known = set[str]()
    for node in _inside(test):
        if isinstance(node, ast.Assert):
            for part in _conjuncts(node.test):
                known.add(ast.unparse(part))
                if isinstance(part, ast.Compare):
                    left = part.left
                    if isinstance(left, ast.Call) and ast.unparse(left.func) == "len":
                        left = left.args[0]
                    known.add(ast.unparse(left))
    return known


def _filled_constants(module: ast.Module) -> set[str]:
    """Names of the module that stand for a list, tuple, set or dict with something in it."""
    names = set[str]()
    for node in module.body:
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            targets, value = [node.target], node.value
        elif isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        else:
            continue
        if _is_filled(value, names):
            names |= {ast.unparse(target) for target in targets}
    return names


def _is_filled(value: ast.expr, filled: set[str]) -> bool:
    """Whether an iterable has an element for sure. filled: names and expressions that are known to have one."""
    if ast.unparse(value) in filled:
        return True
    if isinstance(value, (ast.Tuple, ast.List, ast.Set)):
        parts = [part.value if isinstance(part, ast.Starred) else None for part in value.elts]
        return any(part is None or _is_filled(part, filled) for part in parts)
    if isinstance(value, ast.Dict):
        return bool(value.keys)
    if isinstance(value, ast.Constant):
        return bool(value.value)
    if isinstance(value, (ast.GeneratorExp, ast.ListComp)):
        without_conditions = not any(one.ifs for one in value.generators)
        return without_conditions and all(_is_filled(one.iter, filled) for one in value.generators)
    if isinstance(value, ast.Call):
        return _call_is_filled(value, filled)
    return False


def _call_is_filled(call: ast.Call, filled: set[str]) -> bool:
    name = ast.unparse(call.func)
    if name == "range":
        return all(isinstance(argument, ast.Constant) for argument in call.args)
    if name in SAME_LENGTH:
        # With strict=True the others are as long.
        return any(_is_filled(argument, filled) for argument in call.args)
    if isinstance(call.func, ast.Attribute) and call.func.attr in ("items", "values", "keys"):
        return _is_filled(call.func.value, filled)
    return False


def _checking_functions(module: ast.Module) -> set[str]:
    """Functions of the module that hold a check themselves."""
    functions = [node for node in module.body if isinstance(node, ast.FunctionDef)]
    return {function.name for function in functions if _checks(function.body)}
