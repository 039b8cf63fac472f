"""Where things live: objects behind paths, ``s3://`` and ``gs://`` URIs, and the artifacts that are kept in them.

Whatever touches an object raises ``StorageError``, one line with a remedy, where it may not be read or written or its
server stays away: ``MissingObjectError`` if there is none, ``ChangedObjectError`` if it is no longer the one looked at.

.. code-block:: text

    uris                    what a path or URI names, and names within a folder
    objects                 one interface over files, S3 and Google Cloud Storage: stat, list, read, upload, delete
    backends/               what differs between the three, and what their errors mean
    config                  how objects are moved, read from the environment
    retry                   requests that are tried again until the server answers or the transfer is given up
    checksums               checksums as text, of bytes that arrive and of files
    ranges                  which bytes of which objects are wanted, and the ranged reads that bring them
    fetch                   those reads, in parallel: verified as they arrive, resumed where they stopped
    transfer                whole objects to files, and files to objects, all or none

    artifact_store          finished artifacts in a folder, keyed by the digest of what went into them
    code_fingerprint        the part of the key that stands for code and libraries
    remote_artifacts        the same artifacts behind a network, for machines that come and go
    inventory               folders kept as content by digest, with a list of names beside it
    checkpoints             checkpoints of an artifact under way, behind the network
    checkpoint_mirror       the thread that copies checkpoints there while the work goes on
    places                  which store a run uses
"""
