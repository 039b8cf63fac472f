"""How scans become a cohort."""

from dataclasses import dataclass

from flprivacy.core.errors import check

SERIES_CHOICES = ("most-slices", "all")
SFORM = "sform"
FORMS = (SFORM, "qform")
UNLABELLED = "unlabelled"
_MAX_VOXELS = 1 << 28


@dataclass(frozen=True, kw_only=True)
class ImportConfig:
    """Settings of an import; they go into its report.

    Attributes:
        name: name of the cohort (the MLflow experiment).
        shape: (depth, height, width) of every volume, in voxels; None keeps the reference study's, and is refused
            elsewhere.
        window_hu: (low, high) intensities that become 0 and 255.
        spacing_mm: (depth, height, width) of a voxel: volumes are cut or filled with air around the scan's centre.
            None stretches each scan's whole field of view over the shape, so that spacing differs between scans.
        site: name of the site of every scan; empty where a table or a tag names it.
        site_tag: DICOM keyword whose value tells sites apart, such as ``InstitutionName``. The value itself does
            not enter the cohort: such sites are named by keyed pseudonyms.
        classes: names of the disease classes, in order; empty takes those of the table, sorted.
        label_tag: DICOM keyword whose value is one of ``classes``; scans with any other value are left out.
        series: which series of a study are taken: the one with ``most-slices``, or ``all``.
        min_slices: series with fewer slices are left out (localizers, thick reformats).
        max_missing: fraction of a series' slices that may be missing and are then interpolated.
        orientation: which of a NIfTI file's two orientations counts where they disagree: ``sform`` or ``qform``.
        patients_per_site: patient ids are unique within a site only; else the same id is the same patient anywhere.
        oldest_age_years: older patients are stored with this age. Ages are whole years.
        test_fraction: fraction of each site's patients held out, where no table gives the split.
        seed: draws them.
    """

    name: str
    shape: tuple[int, int, int] | None = (24, 256, 256)
    window_hu: tuple[float, float] = (-1000.0, 400.0)
    spacing_mm: tuple[float, float, float] | None = None
    site: str = ""
    site_tag: str = ""
    classes: tuple[str, ...] = ()
    label_tag: str = ""
    series: str = "most-slices"
    min_slices: int = 10
    max_missing: float = 0.0
    orientation: str = SFORM
    patients_per_site: bool = False
    oldest_age_years: int = 90
    test_fraction: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        check(bool(self.name.strip()) and "/" not in self.name, "name", self.name, "give a name without '/'")
        if self.shape is not None:
            sized = len(self.shape) == 3 and all(1 <= edge <= 4096 for edge in self.shape)
            voxels = self.shape[0] * self.shape[1] * self.shape[2] if sized else 0
            rule = f"give depth, height and width in voxels, at most {_MAX_VOXELS} in all"
            check(sized and voxels <= _MAX_VOXELS, "shape", self.shape, rule)
        low, high = self.window_hu
        check(-1e5 < low < high < 1e5, "window_hu", self.window_hu, "must be (low, high) in HU with low < high")
        if self.spacing_mm is not None:
            plausible = all(0.01 <= edge <= 100.0 for edge in self.spacing_mm)
            check(plausible, "spacing_mm", self.spacing_mm, "must be millimetres between 0.01 and 100")
        check(not (self.site and self.site_tag), "site_tag", self.site_tag, "give either one site or a tag")
        check(len(set(self.classes)) == len(self.classes), "classes", self.classes, "must not repeat")
        check(not self.label_tag or bool(self.classes), "label_tag", self.label_tag, "needs classes to choose from")
        check(self.series in SERIES_CHOICES, "series", self.series, f"must be one of {', '.join(SERIES_CHOICES)}")
        check(self.orientation in FORMS, "orientation", self.orientation, f"must be one of {', '.join(FORMS)}")
        check(self.min_slices >= 2, "min_slices", self.min_slices, "must be at least 2")
        check(0.0 <= self.max_missing <= 0.5, "max_missing", self.max_missing, "must be between 0 and 0.5")
        check(1 <= self.oldest_age_years <= 130, "oldest_age_years", self.oldest_age_years, "must be from 1 to 130")
        check(0.0 < self.test_fraction < 1.0, "test_fraction", self.test_fraction, "must be between 0 and 1")
        check(self.seed >= 0, "seed", self.seed, "must not be negative")
