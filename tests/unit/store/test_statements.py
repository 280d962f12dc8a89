"""No statement holds what somebody sent: all are constants, put together when a module is loaded."""

import ast
from pathlib import Path

import pytest

ENGINE = Path(__file__).parents[3] / "chalicelib"
MODULES = sorted(path for folder in ("store", "venues") for path in (ENGINE / folder).rglob("*.py"))


def calls(tree):
    """Return each call of a method, with the function it stands in."""
    return [
        (function, call)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for call in ast.walk(function)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)
    ]


def is_constant(expression, function):
    match expression:
        case ast.Constant():
            return True
        case ast.IfExp(body=one, orelse=other):
            return is_constant(one, function) and is_constant(other, function)
        case ast.Name(id=name) | ast.Attribute(attr=name) if name.isupper():
            return True
        case ast.Name(id=name):
            values = [set_to.value for set_to in ast.walk(function) if sets(set_to, name)]
            return bool(values) and all(is_constant(value, function) for value in values)
    return False


def sets(statement, name):
    match statement:
        case ast.Assign(targets=targets):
            return name in map(ast.unparse, targets)
        case ast.AugAssign(target=target):
            return name == ast.unparse(target)
    return False


def passed_on(expression, function):
    """Whether it is a parameter of the function, so that whoever calls that has to give a constant."""
    return isinstance(expression, ast.Name) and expression.id in [argument.arg for argument in function.args.args]


def unsafe_statements(tree):
    found = calls(tree)
    unchecked = [(f, c) for f, c in found if c.func.attr == "run" and ast.unparse(c.func.value).endswith("database")]
    looked_at, unsafe = set(), []
    while unchecked:
        function, call = unchecked.pop()
        if passed_on(call.args[0], function):
            if function.name not in looked_at:
                looked_at.add(function.name)
                unchecked += [(f, c) for f, c in found if c.func.attr == function.name]
        elif not is_constant(call.args[0], function):
            unsafe.append(ast.unparse(call))
    return unsafe


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ENGINE)))
def test_every_statement_that_is_run_is_a_constant(module):
    assert unsafe_statements(ast.parse(module.read_text())) == []


@pytest.mark.parametrize(
    "body",
    [
        "self._database.run(f'SELECT {user}', {})",
        "self._database.run('SELECT ' + user, {})",
        "self._database.run('SELECT %s' % user, {})",
        "self.database.run(text(user), {})",
        "statement = _FIND\n  statement += user\n  self._database.run(statement, {})",
        "self._database.run(_FIND if user else user, {})",
        "statement = user\n  self._database.run(statement, {})",
    ],
)
def test_a_statement_made_of_what_was_sent_would_be_found(body):
    assert unsafe_statements(ast.parse(f"class Store:\n def find(self):\n  {body}"))


def test_a_statement_that_is_handed_on_is_looked_at_where_it_comes_from():
    store = "class Store:\n def _run(self, statement):\n  self._database.run(statement, {})\n def find(self, user):\n  "

    assert unsafe_statements(ast.parse(store + "self._run(_FIND)")) == []
    assert unsafe_statements(ast.parse(store + "self._run(f'SELECT {user}')"))
