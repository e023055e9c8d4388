"""What is wrong in a study file is named before any work, with what is allowed."""

import re
import tomllib

import pytest
from support.studies import GOOD, written

from chaosphere.cli.main import main
from chaosphere.ensembles import study_file


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"attention.beta" = [0.5, 4.0]', "n_tokens = [2, 4]", r"\[sweep\] n_tokens must not be given in \[tokens\]"),
        (
            '"attention.beta" = [0.5, 4.0]\n',
            "n_tokens = [2, 4.5]\n",
            r"\[sweep\] n_tokens must be an integer >= 1, got 4.5",
        ),
    ],
)
def test_bad_numbers_of_tokens(tmp_path, capsys, old, new, message):
    path = written(tmp_path, GOOD.replace(old, new))
    assert main(["run", str(path)]) == 2
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers", "2"], "--workers and --scheduler need --executor"),
        (["--executor", "mpi", "--workers", "2"], "workers is for executor 'processes'"),
        (["--executor", "processes", "--workers", "0"], "workers must be an integer >= 1, got 0"),
        (["--executor", "none", "--scheduler", "tcp://a:1"], "scheduler is for executor 'dask'"),
        (["--threads", "0"], "threads must be an integer >= 1, got 0"),
        (["--seed", "-1"], "--seed must be an integer >= 0, got -1"),
    ],
)
def test_bad_options(tmp_path, capsys, arguments, message):
    assert main(["run", str(written(tmp_path)), "--dry-run", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_memory_limit(tmp_path, capsys):
    text = GOOD.replace('executor = "none"', 'executor = "none"\nmemory_limit_gb = 1e-6')
    for more in ([], ["--dry-run"]):
        assert main(["run", str(written(tmp_path, text)), "--out", str(tmp_path / "out"), *more]) == 2
        assert "30 runs would take about" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"depth": "0"}, r"\[model\] depth must be an integer >= 1, got 0"),
        ({"depth": '"ten"'}, r"\[model\] depth must be an integer >= 1, got 'ten'"),
        ({"depth": None}, r"\[model\] depth must be given"),
        ({"horizon": "-1.0"}, r"\[model\] horizon must be a finite number > 0, got -1.0"),
        ({"type": '"transfomer"'}, r"\[model\] type: unknown 'transfomer'; did you mean 'transformer'\? allowed"),
        ({"type": '"limit"'}, r"\[model\] unknown key 'depth'; .*allowed: type, attention, field, horizon"),
        (
            {"value_scale": '1.0\ntype = "unnormalised"'},
            r"\[model.attention\] type: unknown 'unnormalised'; did you mean 'unnormalized'\? allowed: softmax, unnorm",
        ),
        ({"value_scale": "1.0\ntype = 1"}, r"\[model.attention\] type: unknown 1; allowed: softmax, unnormalized"),
        ({"value_scale": "1.0\nrescaled = true"}, r"\[model.attention\] unknown key 'rescaled'; .*allowed: beta"),
        (
            {"value_scale": '1.0\ntype = "unnormalized"\nrescaled = 1'},
            r"\[model.attention\] rescaled must be True or False, got 1",
        ),
        ({"value_scale": "1.0\nresclaed = true"}, r"\[model.attention\] unknown key 'resclaed'"),
        ({'"attention.beta"': '[1.0]\n"attention.type" = ["softmax"]'}, r"unknown parameter 'attention.type'"),
        ({"value_scale": "inf"}, r"\[model.attention\] value_scale must be a finite number, got inf"),
        ({"width": "1.5"}, r"\[model.mlp\] width must be an integer >= 1, got 1.5"),
        ({"activation": '"sigmiod"'}, r"\[model.mlp\] .*'sigmiod'.*did you mean 'sigmoid'"),
        ({"n_tokens": "0"}, r"\[tokens\] n_tokens must be an integer >= 1, got 0"),
        ({"n_tokens": None}, r"\[tokens\] n_tokens must be given"),
        ({"law": '"unifrom"'}, r"\[tokens\] law: unknown 'unifrom'; did you mean 'uniform'\?"),
        ({"dim": "1"}, r"\[tokens\] dim must be an integer >= 2, got 1"),
        ({"dim": None}, r"\[tokens\] dim must be given"),
        ({'"attention.beta"': "[-1e15]"}, r"\[model.attention\] the size of beta must be <= 4.5e\+13"),
        ({'"attention.beta"': '[1.0, "a"]'}, r"\[sweep\] attention.beta must be a list of numbers or of strings, got"),
        ({'"attention.beta"': "[[1.0], [2.0]]"}, r"\[sweep\] attention.beta must be a list of numbers or of strings"),
        (
            {'"attention.beta"': "[1.0, 1.0]"},
            r"\[sweep\] attention.beta must be distinct and not NaN, got \[1.0, 1.0\]",
        ),
        ({'"attention.beta"': "[1.0, nan]"}, r"\[sweep\] attention.beta must be distinct and not NaN"),
        (
            {"noise_scale": "[1.0, -2.0]"},
            r"\[model\] noise_scale must be .* >= 0, got -2.0 \(with \[sweep\] attention.beta = 0.5, noise_scale",
        ),
        (
            {"value_scale": "1.0\nbeta = 2.0"},
            r"\[sweep\] attention.beta must not be given in \[model.attention\] as well",
        ),
        ({"horizon": "1.0\nnoise_scale = 2.0"}, r"\[sweep\] noise_scale must not be given in \[model\] as well"),
        ({"n_tokens": "1"}, r"\[observe.met\] x must hold at least two tokens"),
        ({"n_tokens": "1000000000"}, r"memory_limit: 30 runs would take about .* GB here.*; take fewer tokens"),
        ({"law": '"von-mises-fisher"\nmean_direction = "z"', "dim": None}, r"\[tokens\] concentration must be given"),
        (
            {"law": '"von-mises-fisher"\nmean_direction = "z"\nconcentration = 1.0', "dim": None},
            r"\[tokens\] mean_direction must be d numbers, got 'z'",
        ),
        ({"save_at": "[true]"}, r"\[run\] save_at must be a real number, got True"),
        ({"save_at": "[[0.5]]"}, r"\[run\] save_at must be a real number, got \[0.5\]"),
        ({"save_at": "1.0"}, r"\[run\] save_at must be a list or \{from"),
        ({"first_seed": str(2**63 - 1)}, r"\[run\] first_seed must be below 2\*\*63 less the replicas"),
        ({'"attention.beta"': "[]"}, r"\[sweep\] attention.beta must not be empty"),
        ({'"attention.beta"': "3"}, r"\[sweep\] attention.beta must be a list or \{from"),
        ({"noise_scale": "{ from = 1.0, to = 2.0 }"}, r"\[sweep\] noise_scale.count must be given"),
        ({"noise_scale": "{ form = 1.0, count = 2 }"}, r"noise_scale: unknown key 'form'; did you mean 'from'"),
        ({"noise_scale": '{ from = 0, to = 2, count = 2, scale = "log" }'}, r"noise_scale.from must be .* > 0"),
        ({"noise_scale": '{ from = 1, to = 2, count = 2, scale = "lin" }'}, r"scale: unknown 'lin'.*linear, log"),
        ({"noise_scale": "{ from = 1, to = 2, count = 0 }"}, r"noise_scale.count must be an integer >= 1"),
        (
            {"measure": '"enrgy"'},
            r"\[observe.energy\] measure: unknown 'enrgy'; did you mean 'energy'\? allowed: energy",
        ),
        ({"beta": "-1.0"}, r"\[observe.energy\] beta must be a finite number > 0"),
        ({"above": None}, r"\[observe.met\] above must be given"),
        ({"above": "2.0"}, r"\[observe.met\] above must be a finite number >= -1 and <= 1"),
        ({"replicas": "0"}, r"\[run\] replicas must be an integer >= 1, got 0"),
        ({"replicas": None}, r"\[run\] replicas must be given"),
        ({"first_seed": "-1"}, r"\[run\] first_seed must be an integer >= 0"),
        ({"save_at": "[0.5, 0.1]"}, r"\[run\] save_at must increase within \[0, 1\], got \[0.5, 0.1\]"),
        ({"save_at": "[0.5, 2.0]"}, r"\[run\] save_at must increase within \[0, 1\]"),
        ({"executor": '"slurm"'}, r"\[run\] executor: unknown 'slurm'; allowed: none, processes, dask, mpi"),
        ({"executor": '"none"\nworkers = 2'}, r"workers is for executor 'processes'"),
        ({"executor": '"processes"\nworkers = 0'}, r"\[run\] workers must be an integer >= 1"),
        ({"executor": '"none"\nthreads = 0'}, r"\[run\] threads must be an integer >= 1"),
        ({"executor": '"none"\nscheduler = "tcp://a:1"'}, r"scheduler is for executor 'dask'"),
        ({"executor": '"dask"\nscheduler = 3'}, r"\[run\] scheduler must be a string"),
        ({"executor": '"none"\nmemory_limit_gb = 0'}, r"\[run\] memory_limit_gb must be a finite number > 0"),
        ({"executor": '"none"\nexecuter = 0'}, r"\[run\] unknown key 'executer'; did you mean 'executor'\?"),
        ({"value": '"metal"'}, r"\[picture\] value: unknown 'metal'; did you mean 'met'\? allowed: energy, met"),
        ({"x": '"betta"'}, r"\[picture\] x: unknown 'betta'; did you mean 'beta'\? allowed: time, beta, noise_scale"),
        ({"y": '"beta"'}, r"\[picture\] y: unknown 'beta'"),
        ({"y": '"time"'}, r"\[picture\] x and y must leave .* left over: noise_scale"),
        ({"critical": "3"}, r"\[picture\] critical must be true or false"),
        ({"title": "3"}, r"title must be a string"),
    ],
)
def test_errors_name_the_key_and_what_is_allowed(tmp_path, capsys, replaced, message):
    assert main(["run", str(written(tmp_path, **replaced)), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert "small.toml: " in error or "memory_limit" in error
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[model]", "[modell]", r"unknown key 'modell'; did you mean 'model'\? allowed: title, model, tokens"),
        ('"attention.beta"', '"attention.beat"', r"\[sweep\] unknown parameter 'attention.beat'; did you mean"),
        ('"attention.beta"', "attention.beta", r"attention must be a list or \{from, to, count\}; write dotted names"),
        ("[observe.met]", "[observe]\nmet = 3\n[observe.other]", r"observe.met must be a table"),
        ("noise_scale = {", '"mlp.noise_scale" = {', r"\[sweep\] unknown parameter 'mlp.noise_scale'"),
        ("[model.mlp]", "[model.attention.mlp]", r"\[model.attention\] unknown key 'mlp'; allowed: beta"),
        ("[run]", "[run", "not a TOML file"),
        ("depth = 4", "depth = 4\ndepth = 5", "not a TOML file: Cannot overwrite a value"),
        ("[run]", "[runs]", r"unknown key 'runs'; did you mean 'run'\?"),
        ("[sweep]", "[[sweep]]", r"sweep must be a table, \[sweep\], got"),
        ('"attention.beta"', '"beta"', r"\[sweep\] unknown parameter 'beta'; did you mean 'attention.beta'\?"),
        (
            "[observe.met]",
            "[observe.time]",
            r"names other than replica, time, seed, finished, hitting_times and without /, got 'time'",
        ),
        ("[observe.met]", "[observe.beta]", r"sweep and observe must not share names, got \['beta'\]"),
        (GOOD, "", r"a table \[tokens\] must be given"),
        (
            '[model.mlp]\nwidth = 8\nactivation = "sigmoid"\n',
            "",
            r"\[picture\] critical needs a model with attention.value_scale and one random mlp",
        ),
        ("[picture]", "[picture]\ncolour = 1", r"\[picture\] unknown key 'colour'; allowed: value, x, y, critical"),
    ],
)
def test_errors_of_structure(tmp_path, capsys, old, new, message):
    assert old in GOOD
    path = written(tmp_path, GOOD.replace(old, new))
    assert main(["run", str(path)]) == 2
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (GOOD, "a = " + "[" * 1000 + "]" * 1000, "not a study: its values are nested too deeply"),
        ("depth = 4\n", "depth = 1000000000000000000\n", r"\[model\] depth must be an integer <= 9007199254740992"),
        ("depth = 4\n", "depth = 1000000000000000\n", r"memory_limit: 30 runs would take about"),
        ("count = 3", "count = 10000000000", r"\[sweep\] noise_scale.count must be at most 100000, got 10000000000"),
        ("replicas = 5", "replicas = 100000000", r"memory_limit: 600000000 runs would take about"),
        (
            '"none"',
            '"none"\nmemory_limit_gb = 1e308',
            r"\[run\] memory_limit_gb must be a finite number > 0 and <= 1e\+09",
        ),
        ('"none"', '"none"\nthreads = 2147483648', r"threads must be at most 2147483647, got 2147483648"),
        ('"processes"', '"processes"\nworkers = 100000', r"workers must be at most 1024, got 100000"),
        ("[observe.met]", '[observe.".zarray"]', r"a name in observe must be a printable name .* got '.zarray'"),
        ("[observe.met]", '[observe."a\\\\b"]', r"a name in observe must be a printable name"),
        (
            "[observe.met]",
            "[observe.energy_mean]",
            r"'energy_mean' is observe\['energy_mean'\] and the mean of observe",
        ),
        ("A study", "$\\\\frac{a$", r"title must be text that can be drawn, with formulas .*, got '\$.*Expected"),
        ("A study", "a\\u0000b", r"title must be Unicode text without null characters, got 'a\\x00b'"),
    ],
)
def test_what_is_out_of_all_proportion_is_refused_at_once(tmp_path, capsys, old, new, message):
    """Before memory is asked for, a worker started, or an output found out not to be writable at the end."""
    text = GOOD.replace("save_at = [0.0, 0.5, 1.0]\n", "") if old.startswith("depth") else GOOD
    text = text.replace('"none"', '"processes"') if "processes" in old else text
    path = tmp_path / "small.toml"
    path.write_text(text.replace(old, new))
    assert text.replace(old, new) != text
    assert main(["run", str(path), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("title", ["costs 5 $", r"a \\$ b \\$", "E at $\\\\beta_{1}$", "two\\nlines of $x$"])
def test_titles_that_can_be_drawn(tmp_path, title):
    assert study_file.read(written(tmp_path, GOOD.replace("A study", title))).picture is not None


def test_a_link_to_a_study_has_its_own_name(tmp_path):
    written(tmp_path, GOOD)
    (tmp_path / "other.toml").symlink_to("small.toml")
    assert study_file.read(tmp_path / "other.toml").name == "other"
    with pytest.raises(ValueError, match=r"file must be a path on this machine, got the URL"):
        study_file.read("https://example.org/a.toml")


def test_every_key_of_the_file_was_driven():
    """Whatever `GOOD` holds is in a test of errors above, so that a new key needs one."""
    content, keys = tomllib.loads(GOOD), set()

    def collect(table):
        for key, value in table.items():
            if isinstance(value, dict) and "from" not in value:
                collect(value)
            else:
                keys.add(key)

    collect(content)
    marks = test_errors_name_the_key_and_what_is_allowed.pytestmark[0].args[1]
    assert keys <= {key.strip('"') for replaced, _ in marks for key in replaced}


def test_missing_file(tmp_path, capsys):
    assert main(["run", str(tmp_path / "none.toml")]) == 2
    assert "No such file" in capsys.readouterr().err


def test_a_byte_order_mark_is_no_part_of_a_study(tmp_path):
    plain, marked = tmp_path / "plain.toml", tmp_path / "marked.toml"
    plain.write_text(GOOD, encoding="utf-8")
    marked.write_text(GOOD, encoding="utf-8-sig")
    assert marked.read_bytes().startswith(b"\xef\xbb\xbf")
    studies = [study_file.read(path) for path in (plain, marked)]
    for name in ("law", "n_tokens", "sweep", "observe", "picture", "title"):
        assert getattr(studies[0], name) == getattr(studies[1], name)


SCHEDULED = re.sub(r"\[sweep\]\n.*\nnoise_scale.*\n", "", GOOD.split("[picture]")[0])


@pytest.mark.parametrize(
    ("key", "entry", "values"),
    [
        ("noise_scale", "[1.0, 0.5, 0.25, 0]", (1.0, 0.5, 0.25, 0.0)),
        ("noise_scale", "{ from = 1, to = 2.5 }", (1.0, 1.5, 2.0, 2.5)),
        (
            "attention.value_scale",
            "{ from = -1, to = -0.001, scale = 'linear', count = 4 }",
            (-1, -0.667, -0.334, -0.001),
        ),
        ("attention.beta", "{ from = 1, to = 8, scale = 'log' }", (1.0, 2.0, 4.0, 8.0)),
    ],
)
def test_parameters_that_change_over_the_layers(tmp_path, key, entry, values):
    part, _, name = key.rpartition(".")
    above = "[model.attention]\n" if part else "horizon = 1.0\n"
    text = SCHEDULED.replace("value_scale = -1.0\n", "").replace(above, f"{above}{name} = {entry}\n")
    model = study_file.read(written(tmp_path, text)).model()
    assert getattr(model.attention if part else model, name) == values


@pytest.mark.parametrize("entry", ["[1.0, 2.0, 4.0, 8.0]", "{ from = 1, to = 8, scale = 'log' }"])
@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ("type = 'unnormalized'", "beta"),
        ("type = 'unnormalized'\nrescaled = true", "value_scale"),
        ("type = 'sinkhorn'", "beta"),
        ("type = 'sinkhorn'", "value_scale"),
        ("type = 'l2'\nquery = [[1, 0, 0]]\nkey = [[0, 1, 0]]", "value_scale"),
    ],
)
def test_every_interaction_may_change_over_the_layers(tmp_path, settings, name, entry):
    text = SCHEDULED.replace("value_scale = -1.0\n", f"{settings}\n{name} = {entry}\n")
    model = study_file.read(written(tmp_path, text)).model()
    assert getattr(model.attention, name) == (1.0, 2.0, 4.0, 8.0)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("[1.0, 2.0]", r"\[model\] noise_scale must have one number for each of the 4 steps, got 2"),
        ("{ from = 1.0, to = 2.0, count = 3 }", r"\[model\] noise_scale must have one number for each of the 4 steps"),
        ("{ from = 1.0 }", r"\[model\] noise_scale.to must be given"),
        ("{ from = 1.0, to = -2.0 }", r"\[model\] noise_scale\[2\] must be a finite number >= 0"),
        ("'exp(-t)'", r"\[model\] noise_scale must be a real number"),
    ],
)
def test_bad_schedules(tmp_path, capsys, entry, message):
    path = written(tmp_path, SCHEDULED.replace("horizon = 1.0\n", f"horizon = 1.0\nnoise_scale = {entry}\n"))
    assert main(["run", str(path)]) == 2
    assert re.search(message, capsys.readouterr().err)


def test_random_attention_has_one_beta(tmp_path, capsys):
    text = SCHEDULED.replace("value_scale = -1.0\n", "type = 'random'\nbeta = [1.0, 2.0, 3.0, 4.0]\n")
    assert main(["run", str(written(tmp_path, text))]) == 2
    assert "the layers of random attention are draws of one law" in capsys.readouterr().err
