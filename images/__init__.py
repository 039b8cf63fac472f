"""The container images of flprivacy: how they are built, and their names."""
