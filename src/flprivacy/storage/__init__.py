"""Where things live: the digest-keyed store of artifacts, and objects behind paths, ``s3://`` and ``gs://`` URIs.

:mod:`~flprivacy.storage.store` keeps finished artifacts in a folder, :mod:`~flprivacy.storage.remote_store` behind a
network as well, where :mod:`~flprivacy.storage.mirror` copies checkpoints to;
:mod:`~flprivacy.storage.object_store` is the one interface over files, S3 and Google Cloud Storage;
:mod:`~flprivacy.storage.transfer` brings ranges of objects here in parallel, verified and resumed;
:mod:`~flprivacy.storage.files` brings and publishes whole files.
"""
