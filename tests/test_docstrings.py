"""Examples in docstrings run and print what they say, each as a reader would paste it: with nothing imported before.

(`pytest --doctest-modules` would give each the names of its module, so that a missing import would go unnoticed, and would import
the whole package to collect them.)
"""

import ast
import doctest
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.small import fast_first

ROOT = Path(__file__).parents[1]

# what README, notebooks and examples call most often
CALLED_FIRST = {
    "data": ("Dataset", "load_dataset"),
    "densities": ("density_loss",),
    "distributions": ("Bernoulli", "Mixture", "Normal", "VonMisesFisher", "kl_divergence"),
    "evaluate": ("annealed", "importance_weighted"),
    "flows": ("chain", "coupling", "flow_density", "invert", "masked_autoregressive", "planar", "stack"),
    "gan": ("adversarial_losses", "dirac_gan_eigenvalues", "generative_adversarial_network", "jensen_shannon"),
    "made": ("ensemble", "made"),
    "nets": ("MLP", "batch_net"),
    "plots": ("image_grid",),
    "recipes": ("change",),
    "tasks": ("complete", "evaluate", "reconstruct", "sample"),
    "train": ("fit", "make_game_step", "make_step", "scan_epoch"),
    "vae": (
        *("bernoulli_likelihood", "elbo_loss", "elbo_terms", "gaussian_vae", "iwae_bound", "log_weight", "negative_elbo"),
        "variational_autoencoder",
    ),
}


def documented(node: ast.AST, name: str = "") -> Iterator[tuple[str, ast.Module | ast.ClassDef | ast.FunctionDef]]:
    """Yield a module, and the classes and functions in it, with their names, such as `Class.method`."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
        yield name, node
    for child in ast.iter_child_nodes(node):
        yield from documented(child, f"{name}.{getattr(child, 'name', '')}".strip("."))


def examples() -> dict[str, doctest.DocTest]:
    """Return the doctest of each docstring that has one, by its file, class and function."""
    found: dict[str, doctest.DocTest] = {}
    for path in sorted((ROOT / "gen_jax").rglob("*.py")):
        for name, node in documented(ast.parse(path.read_text())):
            docstring = ast.get_docstring(node)
            if docstring is None or ">>>" not in docstring:
                continue
            file, line = str(path.relative_to(ROOT)), node.body[0].lineno - 1
            assert f"{file}:{name}" not in found
            found[f"{file}:{name}"] = doctest.DocTestParser().get_doctest(docstring, {}, name, file, line)
    return found


EXAMPLES = examples()


@pytest.mark.parametrize("name", fast_first(EXAMPLES, 4))
def test_an_example_prints_what_it_says(name):
    said: list[str] = []
    failed, attempted = doctest.DocTestRunner(verbose=False).run(EXAMPLES[name], out=said.append)
    assert attempted > 0
    assert failed == 0, "".join(said)


def test_each_example_has_a_name_of_its_own():
    """Methods of one name in two classes of a file, and functions in functions."""
    code = ast.parse("class A:\n  def f(self): ...\nclass B:\n  def f(self): ...\ndef g():\n  def h(): ...")
    assert [name for name, _ in documented(code)] == ["", "A", "A.f", "B", "B.f", "g", "g.h"]


def test_what_is_called_first_has_an_example():
    without = [
        f"{room}.{name}"
        for room, names in CALLED_FIRST.items()
        for name in names
        if ">>>" not in (getattr(importlib.import_module(f"gen_jax.{room}"), name).__doc__ or "")
    ]
    assert without == []


def test_exported_functions_say_what_they_raise():
    """Those whose own code raises an InputError; one that is raised by what they call goes unseen."""
    names = [path.parent.name for path in (ROOT / "gen_jax").glob("*/__init__.py")]
    names += ["autoencoders", "densities", "plots", "runs", "types"]
    rooms = [importlib.import_module(f"gen_jax.{name}") for name in names]
    functions = {inspect.unwrap(one) for room in rooms for one in vars(room).values() if inspect.isfunction(one)}
    ours = {one for one in functions if one.__module__.startswith("gen_jax") and not one.__name__.startswith("_")}
    raising = {one for one in ours if "raise InputError" in inspect.getsource(one)}
    assert len(raising) > 40
    assert {f"{one.__module__}.{one.__name__}" for one in raising if "InputError" not in one.__doc__} == set()
