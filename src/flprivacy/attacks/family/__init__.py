"""Learners for attackers: several a kind of attribute, and cross-validation on the exposed scans chooses among them."""
