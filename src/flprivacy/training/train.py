"""Train one target: from configuration and cohort to a published target folder."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras

from flprivacy.core.cohort import TRAIN, Cohort
from flprivacy.core.digests import digest_json
from flprivacy.core.errors import TrainingError, check
from flprivacy.core.target import TargetRecord
from flprivacy.core.tensorflow_environment import numeric_settings
from flprivacy.core.vocabulary import PROTOCOLS
from flprivacy.models.initialisation import fresh_weights, weights_seed
from flprivacy.models.registry import TargetModel, build
from flprivacy.privacy.compatibility import refuse_batch_statistics
from flprivacy.privacy.events import SITE
from flprivacy.privacy.gradients import prepare_process
from flprivacy.training.alone import initialise_untrained, train_central, train_siloed
from flprivacy.training.canaries import Canaries, insert_canaries
from flprivacy.training.checkpoint import Checkpoints
from flprivacy.training.config import TargetConfig, training_mapping
from flprivacy.training.dp_sgd import dp_sgd
from flprivacy.training.federated import train_federated
from flprivacy.training.gradient_canaries import GradientCanaries
from flprivacy.training.local import Learner
from flprivacy.training.method import ADAM, Method
from flprivacy.training.pool import scan_pool
from flprivacy.training.private_run import PrivateRun, noise_seed, plan_private_run
from flprivacy.training.publication import publish_target
from flprivacy.training.synthetic import with_synthetic
from flprivacy.training.topology import Run, TrainedModel

TRAINERS: dict[str, Callable[[Run], list[TrainedModel]]] = {
    "untrained": initialise_untrained,
    "siloed": train_siloed,
    "central": train_central,
    "federated": train_federated,
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """What a training run ends in.

    Attributes:
        run: the run.
        models: that it trained.
        target: the network to put their weights into.
        canaries: that were among the training data; None for none.
    """

    run: Run
    models: list[TrainedModel]
    target: TargetModel
    canaries: Canaries | None


def train_target(
    name: str,
    config: TargetConfig,
    cohort: Cohort,
    *,
    protocol: str,
    work: Path,
    out: Path,
    method: Method = ADAM,
    private_method: Callable[[PrivateRun, GradientCanaries | None], Method] = dp_sgd,
    synthetic: Cohort | None = None,
) -> TargetRecord:
    """Train a target and publish its folder, or carry on where a killed call with the same arguments stopped.

    On one kind of CPU with the same libraries and settings (:mod:`flprivacy.core.tensorflow_environment`), an
    interrupted and repeated call publishes the same weights, bit for bit, as an undisturbed one. GPU kernels do not
    promise that.

    Args:
        name: the target's name.
        config: topology, network and training.
        cohort: an opened cohort; its training split is trained on, its test split measures utility.
        protocol: preprocessing, ``standard`` or ``flprivacy-2023``.
        work: folder of checkpoints, weights alone once training is over; the caller removes it.
        out: the target folder; one already there is replaced.
        method: what one optimisation step does where no scan or patient is protected.
        private_method: what it does where one is: (plan, gradient canaries) -> method.
        synthetic: an opened cohort of synthetic scans, made from this cohort, where ``config`` asks for some. Utility
            is measured on real scans all the same.

    Raises:
        ConfigError: an unknown protocol or architecture, a privacy budget that cannot be met, or a private batch
            larger than the data.
        TrainingError: nothing to train on, a site without training scans, a loss that is no longer finite, a network
            that cannot be trained privately, a damaged checkpoint, or synthetic scans that are too few, missing, or of
            another cohort. Nothing is published.
        StorageError: ``work`` or ``out`` is not writable.
    """
    trained = train_models(
        name,
        config,
        cohort,
        protocol=protocol,
        work=work,
        method=method,
        private_method=private_method,
        synthetic=synthetic,
    )
    return publish_target(trained.run, trained.models, trained.target, out, trained.canaries)


def train_models(
    name: str,
    config: TargetConfig,
    cohort: Cohort,
    *,
    protocol: str,
    work: Path,
    method: Method = ADAM,
    private_method: Callable[[PrivateRun, GradientCanaries | None], Method] = dp_sgd,
    synthetic: Cohort | None = None,
) -> Trained:
    """Train a target's models and publish nothing; arguments and errors are those of :func:`train_target`."""
    check(protocol in PROTOCOLS, "protocol", protocol, f"must be one of {', '.join(PROTOCOLS)}")
    if config.topology != "untrained" and not len(cohort.rows(TRAIN)):
        raise TrainingError(f"{cohort.folder}: no scan in split 'train'; split the patients again")
    if config.privacy is not None and config.privacy.unit != SITE:
        prepare_process()
    require_deterministic_kernels()
    pool, added = with_synthetic(scan_pool(cohort, protocol=protocol), config, cohort, synthetic)
    target = _build(config, cohort)
    key = run_key(config, cohort, protocol=protocol, method=method, synthetic=synthetic)
    checkpoints = Checkpoints(folder=work, key=key)
    canaries = insert_canaries(config, pool, target.model, sites=len(cohort.meta.site_names))
    private = _private_run(config, cohort, canaries, checkpoints)
    if private is not None and private.site_level:
        refuse_batch_statistics(target.model)
    elif private is not None:
        method = private_method(private, canaries.gradient if canaries else None)
    run = Run(
        name=name,
        config=config,
        cohort=cohort,
        pool=canaries.pool if canaries else pool,
        learner=Learner(target.model, method, config),
        initial_weights=lambda number: fresh_weights(target.model, _weights_seed(config, number)),
        checkpoints=checkpoints,
        private=private,
        members=canaries.members if canaries else None,
        canaries=canaries.gradient if canaries else None,
        synthetic=added,
    )
    return Trained(run=run, models=TRAINERS[config.topology](run), target=target, canaries=canaries)


def _private_run(
    config: TargetConfig, cohort: Cohort, canaries: Canaries | None, checkpoints: Checkpoints
) -> PrivateRun | None:
    """Return the plan of private training with its secret, which is kept with the checkpoints."""
    if config.privacy is None:
        return None
    return plan_private_run(
        config,
        cohort,
        seed=noise_seed(config.privacy, checkpoints.path("").parent),
        members=canaries.scan_members if canaries else None,
        canaries=canaries.gradient if canaries else None,
    )


def _build(config: TargetConfig, cohort: Cohort) -> TargetModel:
    """Return the network with the fresh weights of the target's first model."""
    shape, n_classes = cohort.meta.shape, len(cohort.meta.class_names)
    return build(config.architecture, shape=shape, n_classes=n_classes, seed=_weights_seed(config, 0))


def _weights_seed(config: TargetConfig, model: int) -> int:
    """Return what the fresh weights of the target's model of this number are drawn from."""
    return weights_seed(config.seed, model, baseline=config.topology == "untrained")


def run_key(
    config: TargetConfig, cohort: Cohort, *, protocol: str, method: Method, synthetic: Cohort | None = None
) -> str:
    """Return the digest of all that the trained weights depend on, which checkpoints are kept under."""
    versions = {"keras": keras.__version__, "backend": keras.backend.backend()}
    return digest_json(
        {
            "config": training_mapping(config),
            "cohort": cohort.meta.digest,
            "protocol": protocol,
            "method": method.name,
            "settings": numeric_settings(),
            **({} if synthetic is None else {"synthetic": synthetic.meta.digest}),
            **versions,
        }
    )


def require_deterministic_kernels() -> None:
    """Keep TensorFlow on a CPU to deterministic kernels, for the rest of the process; some 3D GPU kernels have none."""
    if keras.backend.backend() == "tensorflow" and not keras.distribution.list_devices("gpu"):
        import tensorflow as tf  # not at the top: another Keras backend does without it

        tf.config.experimental.enable_op_determinism()
