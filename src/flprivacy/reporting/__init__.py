"""Figures, the self-contained HTML report and the terminal's summary, all from one ``flprivacy.core.audit.Audit``.

.. code-block:: text

    findings                     what an audit holds, selected and ordered
    words, sentences, tables     names and numbers; what was found, in sentences and in rows
    html, dp_check, terminal     the pages and the summary; changes and provenance are parts of them
    figures, summaries           pictures; what the KFP UI shows
"""
