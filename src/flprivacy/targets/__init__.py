"""Targets: what one is, where it comes from and how it is published.

.. code-block:: text

    folder      the folder that a target is kept in: target.json and weights
    digests     what tells targets apart
    array_files answers of a network, brought as arrays
    lineage     the private part that auditors keep: members, seeds, losses, canaries; and what a record may say
    importing   a weights file of others, made into a target folder
    given       a target wherever it lives, brought into the store as a folder
    beside      files beside a network: an ONNX file's tensors, its own answers
    listing     which targets a run names, or are published now, and which version of each
    show        what a target is, for people to look at
    push        publish a target where others can pull it
"""
