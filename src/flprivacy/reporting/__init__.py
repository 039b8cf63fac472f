"""Figures, the self-contained HTML report and the terminal's summary, all from one ``flprivacy.core.audit.Audit``.

.. code-block:: text

    findings                     what an audit holds, selected and ordered
    words, sentences, tables     names and numbers; what was found, in sentences and in rows
    advice, asides               what to do about each target; what is worth knowing beside the verdicts
    html, dp_check, terminal     the pages and the summary; changes and provenance are parts of them
    figures, markdown            pictures; what the KFP UI shows
"""
