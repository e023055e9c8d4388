"""Every public function with arguments that are wrong, extreme or of another type; see `calls`."""

import call_table
import calls


def test_every_public_name_is_called():
    names = {name.split(" ")[0] for name in call_table.CALLS}
    assert call_table.public_names() <= names | call_table.NOT_CALLED
    for name in names:  # and there is no entry of a name that is gone
        assert name in call_table.public_names() or "." in name


def test_arguments_as_they_should_be(tmp_path, monkeypatch):
    """The table itself is right: with its own arguments nothing is refused."""
    monkeypatch.chdir(tmp_path)
    for name, (function, arguments) in call_table.CALLS.items():
        if name != "load_ensemble":
            result = function(**arguments)
            assert name in call_table.MAY_BE_NAN or not calls.not_finite(result), name


def test_wrong_arguments(effort):
    effort.loop("calls", n_fixed=100)
