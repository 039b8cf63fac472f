"""The report's figures: each a function from an :class:`~flprivacy.core.audit.Audit` to a matplotlib ``Figure``.

Nothing here touches pyplot's global state, and the same audit always draws the same bytes.
"""
