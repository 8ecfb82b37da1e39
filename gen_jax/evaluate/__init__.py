"""Evaluation: functions of each example of a data set, likelihood estimates, use of the latents, sample quality."""

from gen_jax.evaluate.annealed import AnnealedEstimate, Schedule, annealed, temperatures
from gen_jax.evaluate.detection import Detection, detection, detection_intervals, neighbour_distances
from gen_jax.evaluate.disentanglement import (
    DCI,
    beta_vae_score,
    dci,
    disentanglement,
    factor_entropies,
    factor_vae_score,
    modularity,
    mutual_information,
    mutual_information_gap,
    sap_score,
)
from gen_jax.evaluate.distances import (
    DensityCoverage,
    PrecisionRecall,
    classifier_score,
    density_coverage,
    frechet_distance,
    kernel_distance,
    precision_recall,
)
from gen_jax.evaluate.image_pairs import ImageErrors, image_errors, partner_ranks, ssim
from gen_jax.evaluate.inference_gap import InferenceGap, inference_gap, optimised_normal
from gen_jax.evaluate.latents import active_units, posterior_mean
from gen_jax.evaluate.likelihood import (
    LikelihoodEstimate,
    WeightedMean,
    estimate_from,
    importance_weighted,
    mean_and_standard_error,
    weighted_mean,
)
from gen_jax.evaluate.modes import LabelCoverage, ModeCoverage, label_coverage, mode_coverage, wilson_interval
from gen_jax.evaluate.parzen import choose_parzen_scale, parzen_log_likelihood
from gen_jax.evaluate.per_example import example_keys, map_examples
from gen_jax.evaluate.probes import principal_components, probe_accuracies
from gen_jax.evaluate.quadrature import kl_on_grid, log_density_on_grid, square_grid
from gen_jax.evaluate.sliced_wasserstein import (
    laplacian_pyramid,
    sliced_wasserstein,
    sliced_wasserstein_of_points,
    wasserstein_2,
)
