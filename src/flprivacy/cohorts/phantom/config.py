"""Configuration of a phantom cohort."""

from dataclasses import dataclass

from flprivacy.core.errors import check


@dataclass(frozen=True, kw_only=True)
class PhantomConfig:
    """A procedural chest-CT cohort.

    Attributes:
        name: name of the cohort (the MLflow experiment).
        scans: total number of scans over all sites and both splits.
        sites: number of sites; their sizes follow the reference study's heavy tail.
        shape: (depth, height, width) in voxels, at most (24, 256, 256).
        signature_strength: how different the sites' scanners are; 0 makes them exchangeable.
        case_mix_strength: how different the sites' patients are (disease, age, sex, habitus); 0 makes them alike.
        test_fraction: fraction of the patients held out at each site.
        seed: draws everything.
    """

    name: str = "phantom"
    scans: int = 1600
    sites: int = 21
    shape: tuple[int, int, int] = (16, 64, 64)
    signature_strength: float = 1.0
    case_mix_strength: float = 1.0
    test_fraction: float = 0.25
    seed: int = 0

    def __post_init__(self) -> None:
        check(bool(self.name) and "/" not in self.name, "name", self.name, "give a name without '/'")
        check(1 <= self.sites <= 21, "sites", self.sites, "must be between 1 and 21")
        check(self.scans >= 4 * self.sites, "scans", self.scans, "must be at least 4 per site")
        low, high = (8, 32, 32), (24, 256, 256)
        inside = all(a <= s <= b for a, s, b in zip(low, self.shape, high, strict=True))
        check(inside, "shape", self.shape, f"must lie between {low} and {high} voxels")
        for name in ("signature_strength", "case_mix_strength"):
            check(0.0 <= getattr(self, name) <= 3.0, name, getattr(self, name), "must be between 0 and 3")
        check(0.05 <= self.test_fraction <= 0.5, "test_fraction", self.test_fraction, "must be between 0.05 and 0.5")
        check(self.seed >= 0, "seed", self.seed, "must not be negative")
