"""docs/plan.md: its table is what the command prints, and the command can write it there."""

from __future__ import annotations

import pytest
from tests.conftest import ROOT

from minna import plan
from minna.errors import UsageError
from minna.plan.table import GPUS

PAGE = ROOT / "docs" / "plan.md"
NAME = "minna plan --table --device h100"


@pytest.fixture(scope="module")
def printed() -> str:
    return plan.table(plan.find("h100"), recipes=plan.paper_recipes())


def test_the_table_on_the_page_is_what_the_command_prints(printed):
    page = PAGE.read_text(encoding="utf-8")
    assert f"<!-- {NAME} -->\n{printed}\n<!-- end -->" in page, f"run: {NAME} --into docs/plan.md"


def test_every_recipe_of_the_paper_stands_there_on_every_number_of_devices(printed):
    rows = [line.split("|")[1:-1] for line in printed.splitlines()[2:]]
    assert {len(row) for row in rows} == {9}
    named = [(row[0].strip(), int(row[2])) for row in rows]
    assert named == [(name, gpus) for name in plan.paper_recipes() for gpus in GPUS]
    assert not {name for name, _ in named if name.startswith(("toy-", "modern-"))}


def test_more_devices_never_take_longer(printed):
    for name in plan.paper_recipes():
        speeds = [
            plan.plan(plan_recipe(name), gpus=gpus, device=plan.find("h100")).chosen
            for gpus in (8, 64)
        ]
        assert speeds[0] is not None and speeds[1] is not None
        assert speeds[1].tokens_per_second > speeds[0].tokens_per_second


def plan_recipe(name):
    from minna import recipe

    return recipe.load(name)


def test_a_price_adds_a_column():
    device = plan.find("h100")
    told = plan.table(device, recipes=["japanese-gpt2-small"], price=2.0)
    assert told.splitlines()[0].endswith("| USD |")
    assert {line.count("|") for line in told.splitlines()} == {11}


def test_a_table_is_written_between_its_marks_and_nowhere_else(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- here -->\nold\n<!-- end -->\nb\n", encoding="utf-8")
    plan.write_into(page, name="here", content="new\nlines")
    assert page.read_text(encoding="utf-8") == "a\n<!-- here -->\nnew\nlines\n<!-- end -->\nb\n"
    with pytest.raises(UsageError, match="no line <!-- there -->"):
        plan.write_into(page, name="there", content="")
