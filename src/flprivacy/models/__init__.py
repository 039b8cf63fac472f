"""Target models: Keras 3 architectures of a trunk and a head, and their weights files.

:mod:`~flprivacy.models.registry` builds a model by name; :mod:`~flprivacy.models.weights` saves and loads its weights;
:mod:`~flprivacy.models.foreign` reads those that other programs wrote. The folder that a target is kept in is
:mod:`flprivacy.targets.folder`. This package itself imports no Keras, so that reading a target's record stays quick.
"""

from flprivacy.core.tensorflow_environment import prepare_tensorflow

prepare_tensorflow()
