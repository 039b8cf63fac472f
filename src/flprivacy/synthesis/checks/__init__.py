"""Checks of a generator: arrays of real and of synthetic scans in, frozen findings out.

.. code-block:: text

    memorisation  does it return its training patients? an exact test over patients: audit_memorisation
    neighbours    the nearest patients of a scan
    likeness      a space in which copies stay near though they were shifted, mirrored or blurred
    planting      copies to plant
    sensitivity   who was trained on, drawn again, and what the test would have found
    resampling    intervals over patients
    membership    was a scan trained on? from distances and from the discriminator
    fidelity      Frechet distance, with a floor
    diversity     density and coverage: density_and_coverage
    agreement     does a scan show what it was asked for?
    anatomy       lungs and outline, which nobody conditioned on
    judge         the network whose features fidelity and diversity are measured in
"""
