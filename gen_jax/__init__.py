"""gen_jax: generative models as pure functions in JAX.

Importing the package initialises no device and imports neither TensorFlow, matplotlib nor scikit-learn.
"""

__version__ = "0.1.0"
