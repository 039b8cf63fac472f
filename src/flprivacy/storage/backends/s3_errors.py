"""What botocore's errors mean, in one line each, with what to do. No message quotes the server or a secret."""

import re
from typing import Any
from urllib.parse import urlsplit

from botocore import exceptions as sdk

from flprivacy.core.errors import StorageError
from flprivacy.storage.backends.contract import MissingObjectError, changed_while_read
from flprivacy.storage.retry import TransientError

_TRANSIENT = re.compile(
    "SlowDown|ServiceUnavailable|Throttling(Exception)?|RequestThrottled(Exception)?|RequestLimitExceeded|"
    "TooManyRequestsException|BandwidthLimitExceeded|InternalError|RequestTimeout(Exception)?|"
    "PriorRequestNotComplete|OperationAborted|BadDigest"
)
_CREDENTIALS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the profile or the role"
_GRANT = "s3:GetObject, and to publish s3:PutObject and s3:AbortMultipartUpload"
_EXPIRED = "the credentials have expired; log in again or renew the token or role, then run again"
_TOKEN = f"the session token is not valid at {{where}}; check AWS_SESSION_TOKEN with {_CREDENTIALS}"
_REGION = "the bucket is in another region; set AWS_REGION to it"
# Error code -> what it means; what to do.
_MEANINGS = {
    **dict.fromkeys(("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"), _EXPIRED),
    **dict.fromkeys(("InvalidToken", "InvalidClientTokenId"), _TOKEN),
    **dict.fromkeys(("PermanentRedirect", "IllegalLocationConstraintException"), _REGION),
    "InvalidAccessKeyId": f"the access key is not known to {{where}}; check {_CREDENTIALS}, and the endpoint",
    "SignatureDoesNotMatch": f"the secret key does not fit the access key at {{where}}; check {_CREDENTIALS}",
    "RequestTimeTooSkewed": "this machine's clock differs from the server's; set the clock",
    "AccessDenied": (
        "access denied by {where}: the credentials found may not do this, or are temporary and have expired; "
        f"renew them, or grant them {_GRANT} (without s3:ListBucket a missing object is reported like this too); "
        "a bucket whose requester pays needs FLPRIVACY_STORAGE_S3_REQUESTER_PAYS=1"
    ),
    "AllAccessDisabled": "access to this bucket is disabled at {where}; ask its owner",
    "AccountProblem": "the account of this bucket has a problem at {where}; ask its owner",
    "AuthorizationHeaderMalformed": "the request was signed for another region than the bucket's; set AWS_REGION to it",
    "InvalidBucketName": "not a valid bucket name; check the URI",
    "InvalidObjectState": "the object is archived; restore it from the archive first",
    "EntityTooLarge": "the object is larger than {where} takes; store it elsewhere",
    "QuotaExceeded": "the quota at {where} is used up; free space there or store it elsewhere",
}


def translate(error: Exception, uri: str, endpoint: str) -> StorageError:
    """Return the error that the user gets for one of botocore's.

    Args:
        error: a ``ClientError``, another ``BotoCoreError``, or an OSError about a file of the credentials.
        uri: the object or folder that was asked for.
        endpoint: the server's URL, without user and password.
    """
    if isinstance(error, sdk.ClientError):
        return _answered(error.response, uri, endpoint)
    return _unanswered(error, uri, endpoint)


def _answered(response: Any, uri: str, endpoint: str) -> StorageError:
    code = str(response.get("Error", {}).get("Code", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if _TRANSIENT.fullmatch(code) or status >= 500 or status == 429:
        return TransientError(f"{uri}: {endpoint} is busy or failing ({code or status})")
    if code == "NoSuchBucket":
        return MissingObjectError(f"{uri}: no such bucket at {endpoint}; check its name and the endpoint")
    if code == "NoSuchKey" or status == 404:
        return MissingObjectError(f"{uri}: no such object at {endpoint}; check the URI")
    if code in ("PreconditionFailed", "ConditionalRequestConflict", "InvalidRange") or status in (412, 416):
        return changed_while_read(uri)
    if code not in _MEANINGS and status in (401, 403):
        code = "AccessDenied"
    if code in _MEANINGS:
        return StorageError(f"{uri}: {_MEANINGS[code].format(where=endpoint)}")
    return StorageError(f"{uri}: {endpoint} refuses the request ({code or status}); check the URI and the endpoint")


def _unanswered(error: Exception, uri: str, endpoint: str) -> StorageError:
    name = type(error).__name__
    if isinstance(
        error, (FileNotFoundError, PermissionError)
    ):  # from the SDK's own chain, which opens what its variables name
        return StorageError(
            f"{uri}: a file of the credentials cannot be read ({error.strerror}); check "
            f"AWS_WEB_IDENTITY_TOKEN_FILE, or give {_CREDENTIALS}"
        )
    if isinstance(error, sdk.NoCredentialsError):
        return StorageError(
            f"{uri}: no credentials found; set {_CREDENTIALS} (or FLPRIVACY_STORAGE_S3_ANONYMOUS=1 for a public bucket)"
        )
    if isinstance(error, sdk.InvalidRegionError):
        return StorageError(f"{uri}: the region that is set is none; set AWS_REGION to the bucket's")
    if isinstance(error, sdk.NoRegionError):
        return StorageError(f"{uri}: no region is set; set AWS_REGION to the bucket's")
    if isinstance(error, sdk.SSLError):
        return StorageError(f"{uri}: {endpoint} shows no certificate that is trusted here; set AWS_CA_BUNDLE")
    if isinstance(error, (sdk.EndpointConnectionError, sdk.ConnectTimeoutError, sdk.ProxyConnectionError)):
        return TransientError(f"{uri}: {endpoint} cannot be reached ({name})", unreachable=True)
    if isinstance(error, (sdk.HTTPClientError, sdk.IncompleteReadError)):
        return TransientError(f"{uri}: the connection to {endpoint} broke ({name})")
    if "ParserError" in name and "Response" in name:  # neither botocore module exports it in its exceptions
        return TransientError(f"{uri}: {endpoint} sent an answer that cannot be read; is it S3's port?")
    if isinstance(error, sdk.ParamValidationError):
        return StorageError(f"{uri}: not a valid bucket or object name; check the URI")
    if any(word in name for word in ("Credential", "Token", "SSO", "Profile", "Config", "Login", "Metadata")):
        return StorageError(f"{uri}: the credentials cannot be obtained ({name}); log in again or check {_CREDENTIALS}")
    return StorageError(f"{uri}: the request cannot be sent to {endpoint} ({name}); check the URI and the endpoint")


def asked_too_deep(error: BaseException | None) -> bool:
    """Say whether botocore asked on and on for a region that the server does not tell, until Python stopped it.

    Where that happens inside its HTTP client, the RecursionError comes wrapped as a broken connection.
    """
    while error is not None:
        if isinstance(error, RecursionError):
            return True
        error = error.__cause__ or error.__context__
    return False


def shown(url: str) -> str:
    """Return a URL without user, password and query."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}" if parts.scheme and host else (host or parts.path)
