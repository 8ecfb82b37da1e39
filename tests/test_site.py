"""The site tells the truth: its Python runs, its commands are read, its tables hold what was measured, its pictures are there."""

import dataclasses
import importlib
import json
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import tomllib

import numpy as np
import pytest
from PIL import Image

from gen_jax import recipes, tasks
from tests import pages
from tests.train.test_hosts import ended, free_port

import fill, links, reference, tables  # of docs/gen  # isort: skip  # noqa: E401

MANY = {"docs/hosts.md", "docs/sharding.md"}  # they run in processes of their own, with two devices each
WITH_PYTHON = [page for page in pages.PAGES if pages.blocks(page, "python") and page != "README.md"]
PIPES = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
CELLS = tomllib.loads((pages.ROOT / "tests/cells.toml").read_text())
ALL_TABLES = [name for names in tables.groups().values() for name in names]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to be in, but for the examples and some photos."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(pages.ROOT / "examples", "examples")
    rng = np.random.default_rng(0)
    for label in ("cats", "dogs"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(30):
            Image.fromarray(rng.integers(0, 256, (16, 16), np.uint8)).save(f"photos/{label}/{number}.png")
    return tmp_path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of a VAE of two latents, of a few steps."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    pages.run(["train", "vae", "--latent-dim", "2", "--num-importance-samples", "2", "--out", str(folder)])
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("page", sorted({*WITH_PYTHON} - MANY))
def test_the_python_of_a_page_runs_in_order(page, here, trained):
    shutil.copytree(trained, "runs/vae")
    exec(compile(pages.python_of(page), page, "exec"), {"__name__": page})


@pytest.mark.slow
def test_two_processes_train_as_the_page_about_hosts_says(here):
    """Its program runs as written, in two processes, but for the address, the folder and fewer epochs."""
    code = pages.python_of("docs/hosts.md")
    address = f"127.0.0.1:{free_port()}"
    for written, instead in {"10.0.0.1:12345": address, "/shared/runs/mine": str(here / "mine")}.items():
        assert code.count(written) == 1
        code = code.replace(written, instead)
    (here / "mine.py").write_text(code + "\nprint(len(jax.devices()), fitted.history[-1]['epoch'])")
    started = [subprocess.Popen([sys.executable, "mine.py", index], env=with_devices(2), text=True, **PIPES) for index in "01"]
    for status, said, errors in ended(started):
        assert status == 0, errors
        assert said.split()[-2:] == ["4", "1"]
    assert len((here / "mine/metrics.jsonl").read_text().splitlines()) == 1


@pytest.mark.slow
def test_the_python_of_the_page_about_sharding_runs_on_two_devices(here):
    """Both meshes are of two devices, and each of the three ways gives what one device does."""
    check = """
import numpy as np
assert num == 2 and len(cut.x.sharding.device_set) == len(of_shares(state.params, keys, batch.x).sharding.device_set) == 2
alone, metrics_alone = jax.jit(step)(state, batch)
for found, said in ((state_auto, metrics_auto), (state_explicit, metrics)):
    assert abs(said["elbo"] / metrics_alone["elbo"] - 1) < 1e-5
    for one, two in zip(jax.tree.leaves(alone.params), jax.tree.leaves(found.params), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)
one = jax.vmap(lambda key, x: elbo_terms(vae, state.params, key, x).elbo)(keys, batch.x).mean()
assert abs(elbo / one - 1) < 1e-5
"""
    auto, *others = pages.blocks("docs/sharding.md", "python")
    code = "\n".join([auto, "metrics_auto = metrics", *others, check])
    done = subprocess.run([sys.executable, "-c", code], env=with_devices(2), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def with_devices(number):
    return os.environ | {"XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={number}"}


def test_the_pages_that_people_start_with_have_python():
    of_family = {f"docs/families/{name}.md" for name in ("vae", "flows", "made", "gan", "cyclegan", "style", "autoencoders")}
    others = {f"docs/{name}.md" for name in ("index", "how-do-i", "concepts", "tasks", "extend", "scale", "coming-from")}
    assert of_family | others <= set(WITH_PYTHON)


@pytest.mark.parametrize("page", pages.PAGES)
def test_the_commands_of_a_page_are_understood(page, monkeypatch):
    """Each is read by the parser of the command line, and its settings are checked, as if it was to be done."""
    monkeypatch.chdir(pages.ROOT)
    for command in pages.commands(page):
        pages.parse(command)
    assert set(re.findall(r"`gen-jax\s+([^\s`]+)`", pages.text_of(page))) <= {*pages.COMMANDS, *pages.PLACEHOLDERS}


ODD = ("smaple runs/vae", "runs a b", "runs --all", "recipes vae", "sample", "sample --num 3", "train", "train vae --epoch 3")


def test_a_command_that_is_not_understood_fails():
    for wrong in (
        "train vae --gamma 3",
        "train vea",
        "sample runs/vae --number 3",
        "sweep vae --vary beat=1",
        "smaple runs/vae",
        *ODD,
    ):
        with pytest.raises((ValueError, AssertionError, IndexError)):
            pages.parse(wrong.split())
    assert sum(len(list(pages.commands(page))) for page in pages.PAGES) > 60


def test_every_setting_that_a_page_names_is_one():
    known = set(re.findall(r"--[a-z][\w-]*", reference.command_line()))
    own = recipes.find_recipe(f"{pages.ROOT}/examples/own_vae.py:RECIPE").settings
    known |= {f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(own)}
    of_programs = {"--set", "--seeds", "--only", "--save", "--rounds", "--strict", "--version"}
    of_programs |= {"--nodes", "--ntasks-per-node", "--gpus-per-node", "--worker", "--command"}  # SLURM's and gcloud's
    known.add("--xla_force_host_platform_device_count")
    for page in pages.PAGES:
        code = " ".join(re.findall(r"`[^`]+`", pages.text_of(page)))
        assert set(re.findall(r"(?<![\w-])--[a-z][\w-]*", code)) <= known | of_programs, page


@pytest.mark.slow
def test_the_tasks_and_sweeps_of_the_pages_run(here, trained):
    """Those of the page of tasks and of the page about scale, but for those that the README has too, whose test runs them."""
    shutil.copytree(trained, "runs/plane")
    tasks_of_page = [line.split("#")[0].split()[1:] for line in pages.blocks("docs/tasks.md", "")[0].splitlines()]
    sweeps = [command for command in pages.commands("docs/scale.md") if command[0] == "sweep"]
    in_readme = list(pages.commands("README.md"))
    left = [command for command in [*tasks_of_page, *sweeps] if command not in in_readme]
    names = ["reconstruct", "interpolate", "traverse", "latents", "quality", "sweep", "sweep"]
    assert [command[0] for command in left] == names
    for command in left:
        pages.run(command)
    assert {"reconstructions-test.png", "quality-valid.json"} <= {path.name for path in (here / "runs/plane").iterdir()}
    assert len(list((here / "runs/rates").glob("*/config.json"))) == 4


@pytest.mark.slow
def test_a_folder_of_images_is_trained_on_and_resumed(here, trained):
    """The commands and the Python of the page, in its order, in one folder, beside what it says that one needs: photos, a run.

    The command for eight devices is left out: those of the page about scale are run with eight.
    """
    shutil.copytree(trained, "runs/vae")
    shutil.rmtree("photos")
    rng = np.random.default_rng(0)
    for number in range(60):  # of two sizes and modes
        shape = (18, 22, 3) if number % 3 else (30, 20)
        path = here / f"originals/{('cats', 'dogs')[number % 2]}/{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(path)
    fewer = {
        "vae": ["--hidden-sizes", "8", "--num-importance-samples", "2", "--batch-size", "10"],
        "dcgan-mnist": ["--channels", "4", "8", "--batch-size", "8"],
    }
    names, logs = {}, []
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```$", pages.text_of("docs/how-do-i.md"), re.MULTILINE | re.DOTALL):
        if language == "python":
            exec(compile(block.replace("epochs=10", "epochs=1").replace("samples=100", "samples=5"), "how-do-i", "exec"), names)
            continue
        for line in block.splitlines():
            _, *command = line.split()
            if "--devices" not in command:
                pages.run([*command, *fewer[command[1]]])
            if "runs/mine" in command:
                logs.append((here / "runs/mine/metrics.jsonl").read_text())
    result = lambda run: json.loads((here / f"runs/{run}/result.json").read_text())
    assert json.loads((here / "runs/photos/config.json").read_text())["event_shape"] == [32, 32, 3]
    assert result("photos")["num_examples"] > 0
    assert {path.name for path in (here / "runs/photos-gan").iterdir()} >= {"result.json", "figures"}
    first, both = logs  # with the seconds of each epoch, so that no other training has the same
    assert both.startswith(first)
    assert len(both.splitlines()) == 2


@pytest.mark.slow
def test_eight_devices_train_as_the_page_says(here):
    (line,) = (line for line in pages.text_of("docs/scale.md").splitlines() if line.startswith("XLA_FLAGS="))
    flags, _, *command = line.split()
    assert flags == "XLA_FLAGS=--xla_force_host_platform_device_count=8"
    small = ["--epochs", "1", "--epoch-steps", "2", "--hidden-sizes", "8", "--num-importance-samples", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "gen_jax", *command, *small], env=with_devices(8), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (saved,) = (here / "runs/vae/checkpoints").glob("*/_sharding")  # Orbax writes the mesh of each array
    for array in json.loads(saved.read_text()).values():
        assert len(json.loads(array)["device_mesh"]["mesh"]) == 8


def test_the_tables_hold_the_numbers_of_the_results():
    """A few, read by hand."""
    read = lambda name: json.loads((pages.ROOT / f"benchmarks/results/{name}.json").read_text())
    flow = read("flow_vae")["mean and standard error over seeds"]["iaf"]["test_nll"]
    assert f"| {flow[0]:.2f} ± {flow[1]:.2f} |" in tables.table("flow_vae")
    vae = read("vae_mnist")["result"]
    assert f"| {-vae['test_elbo']:.2f} ± {vae['test_elbo_se']:.2f} | {vae['test_nll']:.2f} ±" in tables.table("vae_mnist")
    sphere = read("sphere")["mean and standard error over seeds"]["von-mises-fisher-5"]
    assert f"| −{-sphere['log_prob'][0]:.2f} | −{-sphere['published'][0]:.2f} |" in tables.table("sphere")
    speed = read("gan_speed")
    assert f"| {speed['ratios']['WGAN-GP_vs_torch_eager']:.2f} |" in tables.table("gan_speed")
    novelty = read("uses")["novelty"]
    ways = " / ".join(f"{novelty[f'{data}-made']['-log_prob']['auroc']:.3f}" for data in ("mnist", "fashion_mnist"))
    assert ways in tables.table("novelty")
    annealed = read("annealed")["mean over 100 test images"]["annealed, 10000"]["over_importance_weights"]
    assert f"by {annealed:.2f} nats" in fill.expanded(pages.text_of("docs/families/vae.md"))


@pytest.mark.parametrize("name", ALL_TABLES)
def test_the_cells_of_a_table_are_those_that_were_read_by_hand(name):
    lines = [re.split(r" \| ", line[2:-2]) for line in tables.table(name).splitlines() if line.startswith("|")]
    (_, *columns), _, *rows = lines
    shown = {row: dict(zip(columns, cells, strict=True)) for row, *cells in rows}
    read = CELLS[name]
    assert {row: {column: shown[row][column] for column in cells} for row, cells in read.items()} == read
    assert list(read) == list(shown)
    assert {column for cells in read.values() for column in cells} == set(columns)


def test_a_cell():
    row = {"a": [0.25, 0.031], "alone": [-1234.5, None], "b": 90.0, "b_se": 3.0, "zero": -0.001, "empty": None}
    assert tables.cell(row, "a", 2) == "0.25 ± 0.03"
    assert tables.cell(row, "a", 1, scale=100, unit=" %") == "25.0 ± 3.1 %"
    assert tables.cell(row, "a", 2, scale=-1, error=False) == "−0.25"
    assert tables.cell(row, "alone", 1) == "−1,234.5"
    assert tables.cell(row, "b", 1, scale="minutes") == "1.5 ± 0.1"  # 90 s, 3 s
    assert tables.cell(row, "zero", 2) == "0.00"
    assert tables.cell(row, "empty", 2) == tables.cell(row, "absent", 2) == "–"


def test_a_table_of_rows(monkeypatch):
    saved = {"command": "python a.py", "devices": ["gpu: H200"], "versions": {"jax": "0.1"}, "seeds": 3}
    saved |= {tables.MEANS: {"key of b": {"x": [2.0, 0.5], "y": 4.0}, "key of a": {"x": [1.0, 0.25], "y": 3.0}}}
    monkeypatch.setattr(tables, "results", {"tiny": saved}.get)
    columns = [["X", {"key": "x", "digits": 2}], ["published X", ["7", "8"]], ["Y", {"key": "y", "digits": 0}]]
    it = {"head": "data", "file": "tiny", "rows": [["A", "key of a"], ["B", "key of b"]], "columns": columns}
    table, below = tables.of_rows(it | {"published": "Someone 2000", "note": "Small."}).split("\n\n")
    head, _, first, second = table.splitlines()
    assert head == "| data | X | published X | Y |"
    assert first == "| A | 1.00 ± 0.25 | 7 | 3 |"
    assert second == "| B | 2.00 ± 0.50 | 8 | 4 |"
    made = "Made by `python a.py` on a GPU, H200, jax 0.1, seeds 0 to 2, ±: standard error over seeds."
    assert below.strip() == f"Small. {made} Published: Someone 2000.\n{{ .made }}"


def test_a_table_of_trials(monkeypatch):
    kept = {"device": "cpu: cpu, 2 cores, AMD EPYC", "cores": 1, "versions": {"jax": "0.1"}}
    one = kept | {"found": {"vae": {"result": {"nll": 2.5, "nll_se": 0.25}, "quality": {"model": {"recall": 0.5}}}}}
    two = kept | {"cores": 2, "found": {"vae": {"result": {"nll": 3.5}}}}
    monkeypatch.setattr(tables, "results", {"trials": {"one": one, "two": two}}.get)
    columns = [["NLL", {"key": "result/nll", "digits": 1}], ["recall", {"key": "quality/model/recall", "digits": 2}]]
    it = {"head": "run", "trials": [["A", "one", "vae"], ["B", "two", "vae"]], "columns": columns}
    table, below = tables.of_trials(it).split("\n\n")
    assert table.splitlines() == ["| run | NLL | recall |", "| --- | --- | --- |", "| A | 2.5 ± 0.2 | 0.50 |", "| B | 3.5 | – |"]
    machines = "a CPU, 2 cores, AMD EPYC (1 used), jax 0.1 and a CPU, 2 cores, AMD EPYC (2 used), jax 0.1"
    made = f"Made by `python benchmarks/trials.py --only one two` on {machines}, seed 0 where none is named: single runs."
    assert below == f"{made}\n{{ .made }}\n"
    two["note"] = "made by hand"
    assert tables.of_trials(it).split("\n\n")[1] == f"{made} The result says: made by hand.\n{{ .made }}\n"
    del two["note"]
    assert tables.of_trials(it | {"note": "Small."}).split("\n\n")[1] == f"Small. {made}\n{{ .made }}\n"


def test_the_table_of_a_study_marks_its_best(monkeypatch):
    rows = [
        {"trial": 0, "state": "pruned", "valid_elbo": -3.0, "epochs": 1, "hidden_sizes": [4, 2], "latent_dim": 5},
        {"trial": 1, "state": "complete", "valid_elbo": -2.0, "epochs": 9, "hidden_sizes": [4], "latent_dim": 6},
    ]
    kept = {"device": "cpu: cpu, 2 cores, AMD EPYC", "cores": 1, "versions": {"jax": "0.1"}}
    found = {"vae-tune": {"trials": {"metric": "valid_elbo", "best": 1, "trials": rows}}}
    monkeypatch.setattr(tables, "results", {"trials": {"tune": kept | {"found": found}}}.get)
    assert tables.study().splitlines()[2:4] == [
        "| 0 | pruned | −3.00 | 1 | 4, 2 | 5 |",
        "| 1 | complete | **−2.00** | 9 | 4 | 6 |",
    ]


@pytest.mark.parametrize("name", ALL_TABLES)
def test_a_table_names_its_command_its_machine_and_its_seeds(name):
    lines = tables.table(name).splitlines()
    (made,) = (line for line in lines if "Made by" in line)
    machine = r"a CPU, 2 cores(, | \(.*)(AMD EPYC|Intel).*"
    assert re.search(rf"Made by `.*(python benchmarks/|gen-jax train).*` on {machine}, jax [\d.]+, seeds? \d", made)
    assert ("Published: " in made) == ("published" in lines[0])
    if any(re.search(r"\d ± \d", line) for line in lines if line.startswith("|")):
        assert "±: " in made


def test_a_machine_in_words():
    assert tables.on({"device": "cpu: cpu, 2 cores, AMD EPYC"}) == "a CPU, 2 cores, AMD EPYC"
    assert tables.on({"devices": ["gpu: NVIDIA H200, 16 cores"] * 2}) == "a GPU, NVIDIA H200, 16 cores"


def test_the_table_of_recipes_is_the_recipes():
    listed = re.findall(r"^\| `([\w-]+)` \| `[\w:-]+` \|", fill.expanded(pages.text_of("docs/recipes.md")), re.MULTILINE)
    assert listed == list(recipes.RECIPES)
    listed = re.findall(r"^\| `gen-jax (\w+) RUN` \|", fill.expanded(pages.text_of("docs/tasks.md")), re.MULTILINE)
    assert listed == list(tasks.TASKS)


def test_the_page_of_the_command_line_has_every_command_and_every_setting():
    page = reference.command_line()
    for name in (*recipes.RECIPES, *tasks.TASKS):
        assert f"`{name}`" in page or f"`gen-jax {name}`" in page
    assert "--num-importance-samples INT" in page
    options = {"sweep": ["--num-seeds", "--vary", "--at-once", "--out", "--to"], "tune": ["--out", "--vary", "--trials"]}
    for command, adds in options.items():
        section = page.partition(f"## `gen-jax {command} RECIPE`")[2].partition("\n## ")[0]
        assert re.findall(r"^  (--[\w-]+)", section, re.MULTILINE) == [*adds, "--debug"]
    assert re.search(r"`--objective capacity` brings .*`--gamma 1000.0`, `--capacity 25.0`", page)
    assert re.search(r"- `vae-mnist`: .*`--latent-dim 50`", page)


def test_what_a_package_exports_is_on_its_page():
    made = reference.api_pages()
    assert "::: gen_jax.vae.elbo.elbo_terms\n" in made["api/vae.md"]
    assert "::: gen_jax.flows.planar.planar\n" in made["api/flows.md"]
    assert "::: gen_jax.nets.mlp.MLP\n" in made["api/nets.md"]
    assert "members: null" in made["api/types.md"]


def test_every_package_has_a_page():
    of_the_command_line = {"__main__", "arguments", "cli"}
    there = {module.name for module in pkgutil.iter_modules([str(pages.ROOT / "gen_jax")]) if not module.name.startswith("_")}
    assert there - of_the_command_line == set(reference.FACES)
    index = reference.api_pages()["api/index.md"]
    assert "- [`gen_jax.runs`](runs.md). The run folder: train a recipe into it, load what was trained" in index


def test_the_constants_of_a_package_are_on_its_page():
    page = reference.api_pages()["api/gan.md"]
    losses = ("MINIMAX", "NON_SATURATING", "LEAST_SQUARES", "WASSERSTEIN", "HINGE")
    assert all(f"::: gen_jax.gan.losses.{name}\n" in page for name in losses)
    assert "::: gen_jax.gan.cycle.CYCLE_LOSS\n" in page
    assert "::: gen_jax.gan.penalties.PENALTIES\n" in page
    assert "::: gen_jax.data.toy.ENERGIES\n" in reference.api_pages()["api/data.md"]


def test_what_the_pages_name_is_in_the_reference():
    """Each `package.name` of the pages, by the object that it is."""
    listed = []
    for package in reference.FACES:
        module = importlib.import_module(f"gen_jax.{package}")
        listed += [getattr(module, path.rpartition(".")[2]) for path in reference.exported(package)] or vars(module).values()
    known = {id(thing) for thing in listed}
    names = set(
        re.findall(rf"`(?:gen_jax\.)?((?:{'|'.join(reference.FACES)})\.\w+)\b[^`]*`", "\n".join(map(pages.text_of, pages.PAGES)))
    )
    assert len(names) > 15
    missing = []
    for name in sorted(names):
        package, _, member = name.partition(".")
        if (thing := getattr(importlib.import_module(f"gen_jax.{package}"), member, None)) is None or id(thing) not in known:
            missing.append(name)
    assert missing == []


@pytest.mark.parametrize("page", [page for page in pages.PAGES if page != "README.md"])
def test_pictures_have_words_and_are_there(page):
    for alt, path in re.findall(r"!\[([^\]]*)\]\(([^)\s]+)\)", pages.text_of(page)):
        assert len(alt) > 15, path
        assert ((pages.ROOT / page).parent / path).is_file(), path


def test_every_picture_is_shown():
    text = "".join(pages.text_of(page) for page in pages.PAGES)
    assert [path.name for path in (pages.DOCS / "images").iterdir() if f"images/{path.name}" not in text] == []


def test_the_navigation_has_every_page():
    listed = re.findall(r"[\w/-]+\.md", (pages.ROOT / "mkdocs.yml").read_text().partition("\nnav:")[2])
    there = {path.relative_to(pages.DOCS).as_posix() for path in pages.DOCS.rglob("*.md")}
    assert sorted(listed) == sorted(there | {"command-line.md"})


def test_links_that_lead_nowhere_and_what_comes_from_elsewhere_are_found(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "index.html").write_text('<h2 id="there">x</h2><a href="/index.html#top">x</a>')
    (tmp_path / "index.html").write_text(
        """<link rel="stylesheet" href="https://a.org/a.css"><link rel="canonical" href="https://a.org/"><p id="top">
        <script src="//a.org/a.js"></script><script>import a from "https://a.org/b.js"</script>
        <img src="data:image/png;base64,AA">
        <a href="https://a.org/c">x</a><a href="b/#there">x</a><a href="#top">x</a><a href="b/#gone">x</a><a href="c/">x</a>"""
    )
    assert sorted(links.faults(tmp_path)) == [
        "index.html links to b/#gone, which has no such anchor",
        "index.html links to c/, which is not there",
        "index.html loads //a.org/a.js from elsewhere",
        'index.html loads from "https:// from elsewhere',
        "index.html loads https://a.org/a.css from elsewhere",
    ]


@pytest.mark.slow
def test_equations_become_mathml():
    import maths  # of docs/gen, with an extra

    made = maths.in_page('<p><span class="arithmatex">\\(\\log p(x) &lt; \\frac{1}{K}\\)</span></p>')
    assert re.search(r'<math alttext="\\log p\(x\) &lt; \\frac\{1\}\{K\}".*<mi>log</mi><mspace', made)
    assert "<mfrac>" in made
    assert "<msup><mi>tanh</mi><mn>2</mn></msup>" in maths.mathml(r"\tanh^2 x", display=False)  # no space within
    prose = maths.in_notebook('<p>Of $x$ and $$\\int f$$, $5 each.</p><code>"$a$"</code><img alt="$b$">')
    assert prose.count("<math") == 2
    assert prose.count('display="block"') == 1
    assert prose.endswith(', $5 each.</p><code>"$a$"</code><img alt="$b$">')
