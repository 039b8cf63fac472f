"""Synthetic scans: a conditional 3D GAN, private on request, and what is made with it.

.. code-block:: text

    config         how a generator comes about, and which scans it is asked for
    conditions     what a scan is generated for: site, disease class, sex, age band
    networks       generator and discriminator, and what they minimise
    augmentation   the differentiable augmentation that both kinds of scans go through
    draws          named random streams
    adversaries    both networks of a run with their updates, which steps_tensorflow compiles
    local          updates on one client's scans
    topologies     who trains: all scans in one place; sites whose networks are averaged
    private        DP-SGD of the discriminator
    health         divergence and collapse, and what to do about them
    train          train_generator: config + cohort -> generator folder, which publication writes
    folder         the generator's folder: what may be published, and the private part that auditors keep
    sample         scans from a generator's folder, and pictures of them
    requested      those scans one by one, or why no generator could make them
    cohort         synthesize_cohort: a generator's scans as a cohort, flagged and linked to where they come from
    checks         whether a generator copies patients, and whether its scans are any good

Only the discriminator sees real scans; it never leaves the private part (LOGAN, arXiv:1705.07663, asks it who was
among them).
"""

from flprivacy.core.tensorflow_environment import prepare_tensorflow

prepare_tensorflow()
