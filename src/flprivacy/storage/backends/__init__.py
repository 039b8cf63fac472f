"""The kinds of storage, one module each, imported when first used: an SDK that no URI asks for need not be there.

contract    what each of them offers, and the errors that tell of it
local       files on this machine
s3          buckets of S3 and of servers that speak its protocol, through boto3
s3_errors   what the errors of botocore mean
gcs         buckets of Google Cloud Storage, through google-cloud-storage
"""
