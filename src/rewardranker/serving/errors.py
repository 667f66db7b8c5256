"""What a client is told when a request fails: OpenAI's error object, with the offending `param`.

Guarantees: no path, no stack trace, no address and no key of another server in an answer.
"""

from __future__ import annotations

from rewardranker.errors import ModelServerError, RewardRankerError
from rewardranker.types import Json

DEADLINE = "deadline_exceeded"
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "invalid_request_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
}
_OF_THE_REQUEST = (400, 404, 413, 415, 422)
"""Refusals of the model server that the client's request has earned, and that it gets as they are."""


class ApiError(RewardRankerError):
    """A request ends with this status and message."""

    def __init__(
        self, status: int, message: str, *, param: str | None = None, code: str | None = None, retry_after: int = 0
    ) -> None:
        """
        Args:
            param: the field of the body that is wrong, such as `messages.0.role`.
            code: a word that programs can test.
            retry_after: seconds, sent as the header `Retry-After` if above 0.
        """
        super().__init__(message)
        self.status, self.message, self.param, self.code, self.retry_after = status, message, param, code, retry_after

    def body(self) -> Json:
        """The JSON of the answer."""
        kind = _TYPES.get(self.status, "server_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def headers(self) -> dict[str, str]:
        return {"retry-after": str(self.retry_after)} if self.retry_after else {}


def bad(message: str, param: str | None = None) -> ApiError:
    """The request is wrong: status 400."""
    return ApiError(400, message, param=param, code="invalid_value")


def out_of_time(seconds: float) -> ApiError:
    return ApiError(504, f"not done within {seconds:g} s", code=DEADLINE)


def from_model_server(error: ModelServerError) -> ApiError:
    """The answer when the model server has given no candidate at all."""
    words = str(error)
    if error.url:
        base = "/".join(error.url.split("/")[:3])
        words = words.removeprefix(f"{error.url}: ").replace(base, "")
    if error.status in _OF_THE_REQUEST:
        return ApiError(error.status, f"the model server refused the request: {words}", code="upstream_refused")
    retry_after = min(max(round(error.retry_after or 1.0), 1), 600) if error.may_pass else 0
    if error.status == 429:
        return ApiError(429, "the model server is too busy", code="upstream_busy", retry_after=retry_after)
    if error.status in (401, 403):
        message = "the model server does not accept this server's key"
        return ApiError(502, message, code="upstream_unauthorized")
    return ApiError(502, f"the model server failed: {words}", code="upstream_failed", retry_after=retry_after)
