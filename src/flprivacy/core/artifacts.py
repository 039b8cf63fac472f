"""Names of the files that steps hand on to each other."""

SCORES_FILE = "scores.parquet"
CURVES_FILE = "curves.parquet"
COMPUTE_FILE = "compute.txt"  # the processor and settings that scores depend on
AUDIT_FILE = "audit.json"
CHECK_FILE = "dp_check.json"
REPORT_FILE = "report.html"
FIGURES_FOLDER = "figures"
SCORES_FOLDER = "scores"  # within an audit: score tables without pseudonyms
CHANGE_FILE = "change.json"
FOUND_FILE = "found.json"
