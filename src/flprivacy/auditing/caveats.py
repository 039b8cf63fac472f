"""What an interval of years cannot know, as far as the scores themselves tell."""

from flprivacy.auditing.runs import HeldOut

_FEW_PATIENTS = 60  # of fewer, an error that befalls one patient in 20 is missing from more than 5% of samples


def few_patients(held_out: HeldOut) -> str:
    """Return the caveat that errors in years which befall few patients may be missing from the sample, or nothing.

    A mean error may rest on a handful of patients whose age is missed by decades. Where by chance none of them is held
    out, nothing in the sample shows that there are any: of 40 patients one in 20 is missing in 13% of samples, and no
    interval that is computed from the sample covers the truth there.
    """
    n = held_out.n_patients
    if not held_out.attribute.is_regression or n >= _FEW_PATIENTS:
        return ""
    return (
        f"of {n} held-out patients, gross errors that befall one in {round(n / 3)} or fewer may be missing, and the "
        f"interval does not allow for them; hold out {_FEW_PATIENTS} or more"
    )
