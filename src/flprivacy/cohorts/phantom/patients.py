"""The patients: demographics, habitus and how the chest changes with sex and age.

Every trait is a tendency with spread, so that sex and age can be inferred from a scan but not read off one voxel.
"""

from dataclasses import dataclass

import numpy as np

CLASS_NAMES = ("normal", "covid", "pneumonia")
NORMAL, COVID, PNEUMONIA = range(3)

# Disease prevalence, share of women, mean age and body-mass index of an average site.
CLASS_SHARES = (0.40, 0.33, 0.27)
FEMALE_SHARE = 0.45
AGE_MEAN_YEARS, AGE_SD_YEARS = 57.0, 17.0
AGE_RANGE_YEARS = (18.0, 94.0)
BMI_MEAN, BMI_SD = 26.5, 4.3
BMI_RANGE = (17.0, 45.0)

# Change per year of age, about the age of 50, and the spread between people of the same age.
LUNG_HU_MEAN, LUNG_HU_PER_YEAR, LUNG_HU_SD = -838.0, -0.85, 17.0
BONE_HU_MEAN, BONE_HU_PER_YEAR, BONE_HU_SD = 190.0, -2.0, 26.0
AORTA_MM_MEAN, AORTA_MM_PER_YEAR, AORTA_MM_SD = 14.5, 0.09, 1.0
CALCIUM_AT_50, CALCIUM_DOUBLING_YEARS = 0.5, 7.0


@dataclass(frozen=True, kw_only=True)
class CaseMix:
    """What kind of patients a site sees."""

    class_shares: tuple[float, ...] = CLASS_SHARES  # prevalence of each disease class, summing to 1
    female_share: float = FEMALE_SHARE  # share of women, in (0, 1)
    age_mean_years: float = AGE_MEAN_YEARS
    bmi_mean: float = BMI_MEAN  # mean body-mass index in kg/m2


@dataclass(frozen=True, kw_only=True)
class Patient:
    """One patient: what the manifest says and what the anatomy is built from (reference millimetres, HU)."""

    sex: str  # ``F`` or ``M``
    age_years: float
    label: int  # index into CLASS_NAMES
    bmi: float  # body-mass index in kg/m2
    size: tuple[float, float, float]  # (x, y, z) scale of the chest against the reference man
    kyphosis: float  # roundness of the back, 0 (none) to about 1.5; it deepens the chest
    fat_mm: float  # thickness of the subcutaneous fat
    visceral: float  # fat in the mediastinum and around the heart, about 1
    muscle: float  # thickness of the muscles against the reference man
    muscle_hu: float  # intensity of muscle; falls with fatty change
    breast: float  # size of the breasts; about 0.1 in men and 1 in women
    gland: float  # share of glandular tissue in the breast, in [0, 1]
    lung_hu: float  # mean intensity of the parenchyma
    emphysema: float  # extent of emphysema, in [0, 1]
    bone_hu: float  # intensity of trabecular bone
    calcium: float  # expected number of calcified plaques in the aorta and coronary arteries
    aorta_mm: float  # radius of the ascending aorta
    heart: float  # scale of the heart
    airway: float  # scale of trachea and bronchi
    liver_hu: float  # intensity of the liver; falls with fatty change


def draw_patient(rng: np.random.Generator, mix: CaseMix) -> Patient:
    """Draw a patient of a site's case mix."""
    sex = "F" if rng.random() < mix.female_share else "M"
    label = int(rng.choice(len(CLASS_NAMES), p=np.asarray(mix.class_shares)))
    older = {NORMAL: -3.0, COVID: 1.0, PNEUMONIA: 3.0}[label]
    age = float(np.clip(rng.normal(mix.age_mean_years + older, AGE_SD_YEARS), *AGE_RANGE_YEARS))
    bmi = float(np.clip(rng.normal(mix.bmi_mean, BMI_SD), *BMI_RANGE))
    return build_patient(rng, sex=sex, age_years=age, label=label, bmi=bmi)


def build_patient(rng: np.random.Generator, *, sex: str, age_years: float, label: int, bmi: float) -> Patient:
    """Draw everything else about a patient of given sex, age, disease class and body-mass index."""
    woman = sex == "F"
    years = age_years - 50.0
    kyphosis = max(0.0, rng.normal(0.15 + 0.012 * max(years, 0.0) * (1.25 if woman else 1.0), 0.15))
    return Patient(
        sex=sex,
        age_years=age_years,
        label=label,
        bmi=bmi,
        kyphosis=kyphosis,
        size=_size(rng, woman=woman, bmi=bmi, kyphosis=kyphosis),
        **_habitus(rng, woman=woman, years=years, bmi=bmi),
        **_ageing(rng, woman=woman, years=years, bmi=bmi),
    )


def _size(rng: np.random.Generator, *, woman: bool, bmi: float, kyphosis: float) -> tuple[float, float, float]:
    plump = bmi - 26.0
    build = rng.normal(0.0, 0.04)
    base = 0.935 if woman else 1.0
    return (
        float(base * (1.0 + build + 0.004 * plump + rng.normal(0.0, 0.02))),
        float(base * (1.0 + build + 0.006 * plump + 0.05 * kyphosis + rng.normal(0.0, 0.025))),
        float(base * (1.0 + build - 0.03 * kyphosis + rng.normal(0.0, 0.03))),
    )


def _habitus(rng: np.random.Generator, *, woman: bool, years: float, bmi: float) -> dict[str, float]:
    """Fat, muscle and breasts."""
    plump = bmi - 26.0
    fat = (12.0 if woman else 10.0) * np.exp(0.085 * plump + rng.normal(0.0, 0.18))
    visceral = (0.75 if woman else 1.05) * np.exp(0.05 * plump + 0.008 * years + rng.normal(0.0, 0.2))
    muscle = (0.80 if woman else 1.0) * np.exp(0.012 * plump - 0.005 * max(years, -20.0) + rng.normal(0.0, 0.12))
    breast = rng.normal(0.72 + 0.045 * plump, 0.32) if woman else rng.normal(0.07 + 0.025 * plump, 0.12)
    gland = 1.0 / (1.0 + np.exp(0.07 * years + rng.normal(0.3, 0.8))) if woman else rng.uniform(0.0, 0.1)
    return {
        "fat_mm": float(np.clip(fat, 3.0, 48.0)),
        "visceral": float(np.clip(visceral, 0.3, 2.5)),
        "muscle": float(np.clip(muscle, 0.4, 1.6)),
        "breast": float(np.clip(breast, 0.05 if woman else 0.0, 2.0)),
        "gland": float(gland),
    }


def _ageing(rng: np.random.Generator, *, woman: bool, years: float, bmi: float) -> dict[str, float]:
    """What the years do: lungs, bone, vessels, heart and the fat content of muscle and liver."""
    smoker = rng.random() < (0.25 if woman else 0.4)
    emphysema = rng.gamma(1.2, 0.012 * max(years + 15.0, 0.0)) if smoker else rng.gamma(1.0, 0.015)
    late_bone_loss = -0.7 * max(years, 0.0) if woman else 0.0
    bone = rng.normal(BONE_HU_MEAN + BONE_HU_PER_YEAR * years + late_bone_loss, BONE_HU_SD)
    calcium = CALCIUM_AT_50 * 2.0 ** (years / CALCIUM_DOUBLING_YEARS) * (0.7 if woman else 1.2)
    lung = rng.normal(LUNG_HU_MEAN + LUNG_HU_PER_YEAR * years + (8.0 if woman else 0.0), LUNG_HU_SD)
    aorta = rng.normal(AORTA_MM_MEAN + AORTA_MM_PER_YEAR * years, AORTA_MM_SD)
    heart = (1.0 + 0.002 * years + 0.003 * (bmi - 26.0)) * np.exp(rng.normal(0.0, 0.05))
    return {
        "lung_hu": float(np.clip(lung, -915.0, -760.0)),
        "emphysema": float(np.clip(emphysema, 0.0, 1.0)),
        "bone_hu": float(np.clip(bone, 50.0, 330.0)),
        "calcium": float(min(calcium * np.exp(rng.normal(0.0, 0.6)), 60.0)),
        "aorta_mm": float(np.clip(aorta, 11.0, 22.0)),
        "heart": float(np.clip(heart, 0.82, 1.25)),
        "airway": float((0.92 if woman else 1.0) * np.exp(rng.normal(0.0, 0.07))),
        "muscle_hu": float(rng.normal(54.0 - 0.3 * years, 5.0)),
        "liver_hu": float(np.clip(rng.normal(58.0 - 0.7 * (bmi - 26.0), 7.0), 10.0, 75.0)),
    }
