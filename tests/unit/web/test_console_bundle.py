"""Modules as one script. That the console's own work so is seen in ``tests/e2e/test_console.py``."""

import pytest

from chalicelib.web.console_bundle import script_of, stylesheet_of


def test_a_module_keeps_its_own_names_and_hands_on_what_it_exports():
    files = {
        "a.js": "const SECONDS = 1;\nexport const first = SECONDS;\n",
        "main.js": 'import { first } from "./a.js";\nconst SECONDS = 2;\nawait first;\n',
    }

    assert script_of(files, "main.js") == (
        "const modules = {};\n"
        'modules["a.js"] = (() => {\nconst SECONDS = 1;\nconst first = SECONDS;\n\nreturn { first };\n})();\n'
        'const { first } = modules["a.js"];\nconst SECONDS = 2;\nawait first;\n'
    )


def test_a_module_that_two_others_need_runs_once():
    shared = 'import { c } from "./c.js";\nexport function %s() {}\n'
    files = {
        "a.js": shared % "a",
        "b.js": shared % "b",
        "c.js": "export class c {}\n",
        "main.js": 'import { a } from "./a.js";\nimport { b } from "./b.js";\n',
    }

    assert script_of(files, "main.js").count('modules["c.js"] = (') == 1


@pytest.mark.parametrize(
    "line",
    [
        'import { a as b } from "./a.js";',
        'import a from "./a.js";',
        'import * as a from "./a.js";',
        'import "./a.js";',
        "export default 1;",
        "export let a = 1;",
        "export { a };",
    ],
)
def test_what_is_otherwise_written_is_refused_by_its_line(line):
    with pytest.raises(ValueError, match=r"^main\.js: ") as refused:
        script_of({"a.js": "export const a = 1;", "main.js": f"{line}\n"}, "main.js")

    assert repr(line) in str(refused.value)


def test_modules_that_need_one_another_are_refused():
    files = {"a.js": 'import { b } from "./b.js";\n', "b.js": 'import { a } from "./a.js";\n'}

    with pytest.raises(ValueError, match=r"a\.js imports b\.js imports a\.js"):
        script_of(files, "a.js")


def test_a_later_style_has_the_last_word():
    assert stylesheet_of({"a.css": "a {}", "b.css": "b {}"}, ("b.css", "a.css")) == "b {}\na {}"
