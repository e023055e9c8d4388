"""Damaged files of every kind; see `damage`."""


def test_damaged_files(effort):
    effort.loop("damage", n_fixed=15)
