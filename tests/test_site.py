"""The site tells the truth: its Python runs, its commands are read, its tables hold what was measured, its pictures are there."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from gen_jax import recipes, tasks
from tests import pages

import fill, reference, tables  # of docs/gen  # isort: skip  # noqa: E401

ELSEWHERE = {"README.md": "tests/test_readme.py", "docs/hosts.md": "tests/train/test_hosts.py"}
WITH_PYTHON = [page for page in pages.PAGES if pages.blocks(page, "python") and page not in ELSEWHERE]
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
@pytest.mark.parametrize("page", WITH_PYTHON)
def test_the_python_of_a_page_runs_in_order(page, here, trained):
    shutil.copytree(trained, "runs/vae")
    exec(compile(pages.python_of(page), page, "exec"), {"__name__": page})


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


def test_a_command_that_is_not_understood_fails():
    for wrong in ("train vae --gamma 3", "train vea", "sample runs/vae --number 3", "sweep vae --vary beat=1", "smaple runs/vae"):
        with pytest.raises((ValueError, AssertionError)):
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
    env = os.environ | {"XLA_FLAGS": f"{os.environ['XLA_FLAGS']} {flags.removeprefix('XLA_FLAGS=')}"}
    small = ["--epochs", "1", "--epoch-steps", "2", "--hidden-sizes", "8", "--num-importance-samples", "2"]
    done = subprocess.run([sys.executable, "-m", "gen_jax", *command, *small], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (here / "runs/vae/result.json").exists()


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
def test_no_number_of_a_table_is_made_up(name):
    """Every number in a column that was measured is one of the file, as it stands, in minutes, in per cent, or its opposite."""
    of_file = tables.SPECIFIED.get(name, {}).get("file", "uses" if name != "energies" else name)
    measured = np.array(list(numbers_of(json.loads((pages.ROOT / f"benchmarks/results/{of_file}.json").read_text()))))
    candidates = np.concatenate([measured * scale for scale in (1, -1, 1 / 60, 100)])
    lines = [line.strip("| ").split(" | ") for line in tables.table(name).splitlines() if line.startswith("|")]
    head, _, *rows = lines
    columns = tables.SPECIFIED.get(name, {}).get("columns", [])
    typed = {title for title, of in columns if isinstance(of, list)}
    found = 0
    for row in rows:
        for title, cell in zip(head[1:], row[1:], strict=False):
            for number in [] if title in typed or title == "size" else re.findall(r"−?[\d,]+(?:\.\d+)?", cell):
                digits = len(number.partition(".")[2])
                value = float(number.replace("−", "-").replace(",", ""))
                assert np.min(np.abs(candidates - value)) <= 0.5001 * 10**-digits, (title, number)
                found += 1
    assert found >= len(rows)


def numbers_of(tree):
    if isinstance(tree, dict | list):
        for part in tree.values() if isinstance(tree, dict) else tree:
            yield from numbers_of(part)
    elif isinstance(tree, int | float):
        yield float(tree)


def test_every_table_names_its_command_its_machine_and_its_seeds():
    for name in ALL_TABLES:
        below = tables.table(name).splitlines()
        (made,) = (line for line in below if "Made by" in line)
        assert re.search(r"Made by `.*(python benchmarks/|gen-jax train).*` on a CPU of .*, jax [\d.]+, seeds? \d", made), name
        has_published = "published" in tables.table(name).partition("\n")[0]
        assert ("Published: " in made) == has_published, name


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
    assert re.search(r"`--objective capacity` brings .*`--gamma 1000.0`, `--capacity 25.0`", page)
    assert re.search(r"- `vae-mnist`: .*`--latent-dim 50`", page)


def test_what_a_package_exports_is_on_its_page():
    made = reference.api_pages()
    assert "::: gen_jax.vae.elbo.elbo_terms\n" in made["api/vae.md"]
    assert "::: gen_jax.flows.planar.planar\n" in made["api/flows.md"]
    assert "::: gen_jax.nets.mlp.MLP\n" in made["api/nets.md"]
    assert "members: null" in made["api/types.md"]


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


@pytest.mark.slow
def test_equations_become_mathml():
    import maths  # of docs/gen, with an extra

    made = maths.in_page('<p><span class="arithmatex">\\(\\log p(x) &lt; \\frac{1}{K}\\)</span></p>')
    assert re.search(r'<math alttext="\\log p\(x\) &lt; \\frac\{1\}\{K\}".*<mi>log</mi><mspace', made)
    assert "<mfrac>" in made
    prose = maths.in_notebook('<p>Of $x$ and $$\\int f$$, $5 each.</p><code>"$a$"</code><img alt="$b$">')
    assert prose.count("<math") == 2
    assert prose.count('display="block"') == 1
    assert prose.endswith(', $5 each.</p><code>"$a$"</code><img alt="$b$">')
