"""How well a model's latents stand, one by one, for the known factors of its data."""

import jax

from gen_jax import evaluate, plots
from gen_jax.autoencoders import Autoencoder
from gen_jax.data import Dataset, Factors
from gen_jax.tasks.latent_models import representation
from gen_jax.tasks.task import CannotError, Outcome, Subject, check_count, draw_examples, refuse
from gen_jax.types import VAE


def perform(subject: Subject, *, data: str | None = None, num: int = 15_000, seed: int = 0) -> Outcome:
    """Score how well single latents stand for single known factors of the data, and draw their mutual information.

    The β-VAE score, the FactorVAE score, MIG, SAP, disentanglement, completeness and informativeness (DCI), and modularity, in
    the protocols of Locatello et al. 2019, of random examples: of the test data if there are as many, else of the training data
    if there are more of those. Latents are posterior means of a VAE, or codes of an autoencoder. Factors are known of sprites,
    and of an .npz file that has integers [N, F] for its examples: factors beside images, train_factors beside train_images.

    Args:
        subject: the run.
        data: Data set with factors; by default, the run's own.
        num: Number of examples, or all if there are fewer.
        seed: Seed of the choice of examples, and of the scores.
    """
    check_count("num", num)
    model = subject.model
    if not isinstance(model, VAE | Autoencoder):
        raise refuse(model, "show what its latents stand for, since it encodes none", "a VAE or an autoencoder")
    if getattr(model, "num_classes", None) is not None:
        raise refuse(model, "be scored if its encoder is told the label", "one that is not conditional")
    dataset = subject.load(data)
    split = "test" if len(dataset.test.x) >= min(num, len(dataset.train.x)) else "train"
    if split == "train":
        dataset = subject.load(data, split="train")
    known = _known(dataset)
    rows_key, encode_key = jax.random.split(subject.key)
    rows, examples = draw_examples(dataset.splits[split], num, rows_key)
    codes = representation(model, subject.view, subject.params, encode_key, examples)
    factors = getattr(known, split)[rows]
    scores = evaluate.disentanglement(codes, factors, seed)
    information = evaluate.mutual_information(codes, factors)
    figure = plots.mutual_information(information, known.names, evaluate.factor_entropies(factors))
    kind = {"train": "training", "test": "test"}[split]
    numbers = {"num_examples": len(rows), "num_latents": codes.shape[1], "split": split}
    return Outcome(
        "disentanglement",
        f"{len(rows)} {kind} examples of {dataset.name}, {len(known.names)} factors ({', '.join(known.names)})",
        {"disentanglement": figure},
        information,
        scores | numbers,
    )


def _known(dataset: Dataset) -> Factors:
    if dataset.factors is None:
        raise CannotError(
            f"The factors of the examples of {dataset.name} are not known: give sprites, or an .npz file with factors."
        )
    return dataset.factors
