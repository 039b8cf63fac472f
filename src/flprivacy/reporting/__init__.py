"""Figures, the self-contained HTML report and the terminal's summary, all from one ``flprivacy.core.audit.Audit``."""
