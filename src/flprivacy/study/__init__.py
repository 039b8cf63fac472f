"""A whole study: its configuration, the plan of a run, and the keys that say when an audit is the same."""
