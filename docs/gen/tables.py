"""The tables of the site, made of `benchmarks/results/*.json`: a number that was measured is typed nowhere.

`tables.toml` says of most tables which rows and columns of which file they show; the few that need more are functions here. What
others published is in the results, or else in that file, in a column of strings, with its source.
"""

import functools
import json
import re
import shlex
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
MEANS = "mean and standard error over seeds"
USES = "What a model is good for"
SPECIFIED: dict[str, dict[str, Any]] = tomllib.loads(
    Path(__file__).with_name("tables.toml").read_text()
)

EPYC = "AMD EPYC"
XEON = "Intel Xeon, busy; one used; 85 min in all"

ENERGIES = {
    "ring with two bumps": "ring",
    "sine": "sine",
    "two sines": "two-sines",
    "sine with a step": "sine-step",
}
MODELS = {
    "VAE (Bernoulli)": "vae",
    "β-VAE, β = 4": "beta-vae",
    "VAE (Gaussian, learned σ)": "gaussian-vae",
    "VQ-VAE": "vq-vae",
    "autoencoder": "autoencoder",
    "denoising": "autoencoder-denoising",
    "contractive": "autoencoder-contractive",
    "MADE, hidden units": "made",
    "DCGAN, discriminator": "gan",
}


@functools.cache
def results(name: str) -> dict[str, Any]:
    """Return what `benchmarks/results/NAME.json` holds."""
    return json.loads((RESULTS / f"{name}.json").read_text())


def at(name: str, path: str) -> float:
    """Return the number of a file at a path such as `result/test_nll`, of a mean with its error the mean."""
    found: Any = results(name)
    for part in path.split("/"):
        found = found[part]
    return found[0] if isinstance(found, list) else found


def plain(number: float, digits: int) -> str:
    """Return a number with its decimal places, a true minus, and commas in thousands."""
    shown = f"{number:,.{digits}f}".replace("-", "−")
    return shown if shown.strip("−0.,") else shown.lstrip("−")


def cell(
    row: Mapping[str, Any],
    key: str,
    digits: int,
    scale: Any = 1,
    unit: str = "",
    error: bool = True,
) -> str:
    """Return a number of a row, with its standard error where there is one; – where there is no such number."""
    value, beside = row.get(key), row.get(f"{key}_se")
    mean, spread = value if isinstance(value, list) else (value, None)
    spread = spread or (beside[0] if isinstance(beside, list) else beside)
    factor = 1 / 60 if scale == "minutes" else scale
    if mean is None:
        return "–"
    return (
        plain(factor * mean, digits)
        + (f" ± {plain(abs(factor) * spread, digits)}" if error and spread else "")
        + unit
    )


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """Return rows of cells, the first of which is the head, as a table of Markdown."""
    head, *rows = lines
    bars = lambda cells: (
        "| " + " | ".join(text.replace("|", "\\|") for text in cells) + " |"
    )
    return "\n".join(map(bars, (head, ["---"] * len(head), *rows)))


def made(saved: Mapping[str, Any], it: Mapping[str, Any]) -> str:
    """Return the line below a table: how its numbers were made, on what, and whose the others are.

    `machine` in `it` says of the machine what the file does not: which, how much of it was used, and what else it did.
    """
    machine = on(saved) + (f" ({it['machine']})" if "machine" in it else "")
    last = saved.get("seeds", 1) - 1
    seeds = f"seeds 0 to {last}, ±: standard error over seeds" if last else "seed 0"
    command = it.get("command", saved["command"])
    text = f"Made by `{command}` on {machine}, jax {saved['versions']['jax']}, {seeds}."
    added = f"The result says: {saved['note']}." if "note" in saved else ""
    published = f"Published: {it['published']}." if "published" in it else ""
    parts = [it.get("note", ""), text, added, published]
    return "\n\n" + " ".join(part for part in parts if part) + "\n{ .made }\n"


def on(saved: Mapping[str, Any]) -> str:
    """Return the devices of a file in words: of `cpu: cpu, 2 cores`, `a CPU, 2 cores`."""
    found = []
    for device in saved.get("devices", [saved.get("device")]):
        platform, *parts = re.split(": |, ", device)
        found.append(
            ", ".join(
                [f"a {platform.upper()}", *(part for part in parts if part != platform)]
            )
        )
    return " and ".join(dict.fromkeys(found))


def of_rows(it: Mapping[str, Any]) -> str:
    """Return a table of rows and columns of a file."""
    saved = results(it["file"])
    part = it.get("part", MEANS)
    numbers = saved[part] if part else saved
    lines = [[it["head"], *(title for title, _ in it["columns"])]]
    for i, (name, key) in enumerate(it["rows"]):
        shown = (
            cell(numbers[key], **of) if isinstance(of, dict) else of[i]
            for _, of in it["columns"]
        )
        lines.append([name, *shown])
    return markdown(lines) + made(saved, it)


def side_by_side(it: Mapping[str, Any]) -> str:
    """Return a table of times, or rates, of two programs, with their ratio."""
    saved = results(it["file"])
    medians, ratios = saved["medians"], saved["ratios"]
    lines = [[it["head"], *(f"{name}, {it['unit']}" for name in it["names"]), "ratio"]]
    for name, (ours, other, ratio) in it["side_by_side"]:
        times = (plain(medians[key], it["digits"]) for key in (ours, other))
        lines.append([name, *times, plain(ratios[ratio], 2) if ratio else "–"])
    peers = [
        f"{library} {version}"
        for library, version in saved["versions"].items()
        if library in ("torch", "zuko")
    ]
    note = f"Medians{'; ' if peers else ''}{', '.join(peers)}."
    return markdown(lines) + made(saved, {**it, "note": note})


def flat(tree: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return the leaves of nested dictionaries by their paths, such as `result/test_nll`."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        found |= (
            flat(value, f"{above}{name}/")
            if isinstance(value, dict)
            else {f"{above}{name}": value}
        )
    return found


def of_trials(it: Mapping[str, Any]) -> str:
    """Return a table of single runs, each a trial and the name of its run folder; a column is of any file that is in that."""
    saved = results("trials")
    lines = [[it["head"], *(title for title, _ in it["columns"])]]
    for name, trial, run in it["trials"]:
        numbers = flat(saved[trial]["found"][run])
        lines.append([name, *(cell(numbers, **of) for _, of in it["columns"])])
    return markdown(lines) + single(it, [trial for _, trial, _ in it["trials"]])


def single(it: Mapping[str, Any], trials: Sequence[str]) -> str:
    """Return the line below a table of single runs."""
    saved = [results("trials")[trial] for trial in trials]
    how = [
        f"{on(trial)} ({trial['cores']} used), jax {trial['versions']['jax']}"
        for trial in saved
    ]
    command = shlex.join(
        ["python", "benchmarks/trials.py", "--only", *dict.fromkeys(trials)]
    )
    made = " and ".join(dict.fromkeys(how))
    text = f"Made by `{command}` on {made}, seed 0 where none is named: single runs."
    notes = dict.fromkeys(trial["note"] for trial in saved if "note" in trial)
    parts = [it.get("note", ""), text, *(f"The result says: {note}." for note in notes)]
    return "\n\n" + " ".join(part for part in parts if part) + "\n{ .made }\n"


def study() -> str:
    """Return the table of a study's trials."""
    found = results("trials")["tune"]["found"]["vae-tune"]["trials"]
    metric, settings = found["metric"], ("epochs", "hidden_sizes", "latent_dim")
    lines = [["trial", "state", metric, *settings]]
    for row in found["trials"]:
        best = "**" if row["trial"] == found["best"] else ""
        value = f"{best}{plain(row[metric], 2)}{best}"
        shown = (str(row[name]).strip("[]") for name in settings)
        lines.append([str(row["trial"]), row["state"], value, *shown])
    return markdown(lines) + single({}, ["tune"])


def energies() -> str:
    """Return the table of fits to an energy: a row for each, a column for each number of layers."""
    saved, ks = results("energies"), (2, 8, 32)
    lines = [
        ["KL(q ‖ p) of planar flows fitted to an energy, nats", *(f"K = {k}" for k in ks)]
    ]
    lines += [
        [name, *(cell(saved[MEANS][f"{key} {k}"], "kl", 3) for k in ks)]
        for name, key in ENERGIES.items()
    ]
    note = "An integral over a grid of 1,000 × 1,000 points, on which every flow has mass 1.000."
    return markdown(lines) + made(saved, {"note": note, "machine": EPYC})


def representation(data: str) -> str:
    """Return the table of what classifiers make of the models' representations, and of pixels."""
    found = results("uses")["representation"]

    def line(name: str, model: str, what: str = "model") -> list[str]:
        label, numbers = next(
            item for item in found[f"{data}-{model}"].items() if item[0].startswith(what)
        )
        both = lambda labels: (
            plain(numbers[f"{probe}, {labels} labels"], 3)
            for probe in ("neighbours", "linear")
        )
        return [
            name,
            label.split("(")[1].rstrip(")"),
            *(" / ".join(both(labels)) for labels in (100, 1000, 10000)),
        ]

    title = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST"}[data]
    lines = [
        [
            f"{title}: 10 nearest neighbours / linear",
            "size",
            "100 labels",
            "1,000 labels",
            "10,000 labels",
        ]
    ]
    lines += [line(name, model) for name, model in MODELS.items()]
    for seen, model in (("grey", "gaussian-vae"), ("binary", "vae")):
        lines += [
            line(f"{seen} pixels", model, "pixels"),
            line(f"components of {seen} pixels", model, "components"),
        ]
    note = "Accuracy on 5,000 test images, standard errors 0.002 to 0.007; models trained for 1 to 6 epochs."
    return markdown(lines) + made(results("uses"), {"note": note, "machine": XEON})


def novelty() -> str:
    """Return the table of scores of novelty, both ways."""
    found = results("uses")["novelty"]
    models = {name: key for name, key in MODELS.items() if f"mnist-{key}" in found}

    def both(score: str, key: str) -> str:
        ways = [found[f"{data}-{key}"].get(score) for data in ("mnist", "fashion_mnist")]
        if not any(ways):
            return ""
        return " / ".join("–" if way is None else plain(way["auroc"], 3) for way in ways)

    shown = lambda score: (
        score.replace("-", "−", 1).replace("_", " ")
        if score[0] == "-"
        else score.replace("_", " ")
    )
    scores = dict.fromkeys(
        name
        for numbers in found.values()
        for name, value in numbers.items()
        if isinstance(value, dict)
    )
    lines = [["AUROC: MNIST against Fashion / Fashion against MNIST", *models]]
    lines += [
        [shown(score), *(both(score, key) for key in models.values())] for score in scores
    ]
    note = "1,000 test images of the model's own data against 1,000 of the other set; 95 % intervals within ± 0.03."
    return markdown(lines) + made(results("uses"), {"note": note, "machine": XEON})


FUNCTIONS: dict[str, tuple[str, Callable[[], str]]] = {
    "study": ("VAEs", study),
    "energies": ("Flows", energies),
    "representation_mnist": (USES, lambda: representation("mnist")),
    "representation_fashion": (USES, lambda: representation("fashion_mnist")),
    "novelty": (USES, novelty),
}


def table(name: str) -> str:
    """Return a table by its name."""
    if name in FUNCTIONS:
        return FUNCTIONS[name][1]()
    it = SPECIFIED[name]
    if "trials" in it:
        return of_trials(it)
    return side_by_side(it) if "side_by_side" in it else of_rows(it)


def groups() -> dict[str, list[str]]:
    """Return the names of all tables by the family that they are of, in order."""
    found: dict[str, list[str]] = {}
    for name, group in [(n, it["group"]) for n, it in SPECIFIED.items()] + [
        (n, group) for n, (group, _) in FUNCTIONS.items()
    ]:
        found.setdefault(group, []).append(name)
    return found
