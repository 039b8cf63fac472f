"""Around every step: logging, signals, events, errors as one line, one target's failure kept apart."""
