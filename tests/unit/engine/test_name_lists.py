# SPDX-License-Identifier: GPL-2.0-or-later
"""Lists of names with any signs, read back as they were written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unet_segmenter.commands.terminal import entries, names
from unet_segmenter.engine.errors import JobError
from unet_segmenter.engine.evaluate_job import EvaluateJob
from unet_segmenter.engine.fuse_job import named_thresholds
from unet_segmenter.engine.name_lists import (
    join_names,
    quoted,
    split_list,
    split_names,
    split_pair,
)

HARD = ("Developed, Open Space", "a=b", "grass #1", 'the "old" wood', '"', "a;b", "#00ff00", "x\ny")
NAMES = st.text(st.sampled_from('ab ,;=#"\n'), min_size=1).filter(lambda name: name.strip())


@given(st.lists(NAMES, max_size=5))
def test_names_are_read_back_as_they_were_written(given_names: list[str]) -> None:
    assert split_names(join_names(given_names)) == tuple(given_names)


@given(NAMES)
def test_a_pair_is_read_back_whatever_the_name(name: str) -> None:
    entry = f"{quoted(name)}=0.25"
    assert split_list(f"road=1,{entry}, x=2") == ("road=1", entry, "x=2")
    assert split_pair(entry) == split_pair(entry, last=True) == (name, "0.25")


@pytest.mark.parametrize("name", HARD)
def test_thresholds_and_values_take_any_name(name: str) -> None:
    (entry,) = entries([f"{quoted(name)}=0.25"])
    assert named_thresholds((entry,)) == {name: 0.25}
    (entry,) = entries([f"3={quoted(name)}"])
    assert EvaluateJob("a.tif", "b.tif", class_names=(entry,)).names() == {3: name}
    assert names([quoted(name), "road"]) == (name, "road")


def test_plain_names_need_no_quotes() -> None:
    assert names(["road, bald-tree", "Wald über Fels"]) == ("road", "bald-tree", "Wald über Fels")
    assert join_names(["road", 'the "old" wood']) == 'road, the "old" wood'


def test_an_open_quote_is_refused_with_an_example() -> None:
    with pytest.raises(JobError, match="opens a quote that it does not close"):
        split_names('road, "Developed, Open Space')
