"""The page of benchmarks: a section for each part, replaced when that part is measured again."""

from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from bench.figures import judged, table_with_goals
from bench.report import PAGE, Chart, Section, as_markdown, draw, page_of, read_sections, shown, table, write_section

ORDER = ["first", "second"]


def test_a_part_that_is_measured_again_replaces_its_section_and_no_other(tmp_path: Path):
    write_section(tmp_path, "second", Section("Second", "of the first run"), ORDER)
    write_section(tmp_path, "first", Section("First", "of the second run"), ORDER)
    write_section(tmp_path, "first", Section("First", "of the third run"), ORDER)

    page = (tmp_path / PAGE).read_text()

    assert "of the second run" not in page
    assert page.index("of the third run") < page.index("of the first run"), "the parts' own order"
    assert page.count("## First") == page.count("## Second") == 1


def test_each_section_says_when_and_where_it_was_measured(tmp_path: Path):
    write_section(tmp_path, "first", Section("First", "text"), ORDER)

    assert "Measured on 20" in read_sections((tmp_path / PAGE).read_text())["first"]


def test_the_section_of_a_part_that_is_no_more_is_left_out():
    assert "old text" not in page_of({"first": "## First", "old": "old text"}, ORDER)


def test_what_a_part_prints_becomes_its_table():
    def show(console: Console) -> None:
        printed = table_with_goals("Speed", "value")
        printed.add_row("orders a minute", "1,200", judged("≥ 1,000", met=True), "by|hand")
        printed.add_row("p99", "9 ms", judged("≤ 5 ms", met=False), "")
        console.print(printed)
        console.print("not a table")

    assert shown(show).splitlines() == [
        "**Speed**",
        "",
        "| measured | value | goal | how |",
        "| --- | ---: | --- | --- |",
        r"| orders a minute | 1,200 | ≥ 1,000 ✓ | by\|hand |",
        "| p99 | 9 ms | ≤ 5 ms ✗ |  |",
    ]


def test_a_table_without_rows_is_a_table_still():
    assert as_markdown(Table("a", "b")).splitlines() == ["| a | b |", "| --- | --- |"]


def test_numbers_are_aligned_to_the_right():
    assert table(["what", "how much"], [["a", 1]]).splitlines()[1] == "| --- | ---: |"


def test_the_same_figures_give_the_same_picture(tmp_path: Path):
    pytest.importorskip("matplotlib", reason="only `make bench` installs it")
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
        draw(Chart("a-chart", lambda axes: axes.bar(["a", "b"], [1, 2])), folder)

    one, two = ((folder / "bench-a-chart.svg").read_bytes() for folder in folders)

    assert one == two
    assert b"<svg" in one
