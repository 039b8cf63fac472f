"""Names of the files that steps hand on to each other."""

SCORES_FILE = "scores.parquet"
CURVES_FILE = "curves.parquet"
ANSWERS_FILE = "answers.npz"  # what a target answers for the scans that attacks are scored on
REFERENCE_FILE = "reference.npz"  # what one reference model answers for every scan of the cohort
MEMBERSHIP_FOLDER = "membership"  # within a target's scores: what tells its training scans, or why nothing does
MEMBERSHIP_FILE = "membership.scores.parquet"
EXPOSED_FILE = "exposed.json"  # within an audit: who is most exposed, by pseudonym; never shown nor filed
COMPUTE_FILE = "compute.txt"  # the processor and settings that scores depend on
AUDIT_FILE = "audit.json"
CHECK_FILE = "dp_check.json"
GENERATOR_AUDIT_FILE = "generator_audit.json"
PATIENTS_PAGE = "patients.html"  # within the audit of a generator: pictures of patients; never shown nor filed
REPORT_FILE = "report.html"
VERDICTS_FILE = "verdicts.md"  # beside the report: its first lines and the verdicts as a table
FIGURES_FOLDER = "figures"
SCORES_FOLDER = "scores"  # within an audit: score tables without pseudonyms
CHANGE_FILE = "change.json"
FOUND_FILE = "found.json"
AUDITORS_ONLY = (EXPOSED_FILE, PATIENTS_PAGE, MEMBERSHIP_FILE)  # of a result: stays where it was found
