"""Target models: Keras 3 architectures of a trunk and a head, their weights files and target folders.

:mod:`~flprivacy.models.registry` builds a model by name; :mod:`~flprivacy.models.weights` saves and loads its weights;
:mod:`~flprivacy.targets.folder` reads and writes the folder that a target is kept in. This package itself
imports no Keras, so that reading a target's record stays quick.
"""

from flprivacy.core.tensorflow_environment import prepare_tensorflow

prepare_tensorflow()
