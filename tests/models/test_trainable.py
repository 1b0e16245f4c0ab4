"""What learns is a table of patterns, and a pattern that matches nothing is an error."""

from __future__ import annotations

import pytest
from tests.toys import toy_parts

from minna.errors import UsageError
from minna.models import find_family
from minna.models.trainable import set_trainable


def test_a_later_pattern_wins_over_an_earlier_one():
    model = toy_parts().model
    frozen = set_trainable(model, patterns={"layers": False, r"layers\.1\.mlp": True})
    learning = {name for name, p in model.named_parameters() if p.requires_grad}
    assert set(frozen) | learning == {name for name, _ in model.named_parameters()}
    assert any(name.startswith("layers.1.mlp") for name in learning)
    assert not any(name.startswith("layers.0") for name in learning)


def test_the_parts_of_a_family_cover_every_parameter_once():
    model = toy_parts().model
    parts = find_family("gpt_neox").parts
    seen: list[str] = []
    for pattern in parts.values():
        for parameter in model.parameters():
            parameter.requires_grad_(True)
        seen += set_trainable(model, patterns={pattern: False})
    assert sorted(seen) == sorted(name for name, _ in model.named_parameters())


def test_a_pattern_that_matches_nothing_and_a_table_that_freezes_all_are_refused():
    with pytest.raises(UsageError, match="matches none"):
        set_trainable(toy_parts().model, patterns={"layrs": False})
    with pytest.raises(UsageError, match="freezes every parameter"):
        set_trainable(toy_parts().model, patterns={"": False})
