"""Start pipelines and watch them. The only part of flprivacy that imports kfp."""
