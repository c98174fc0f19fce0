"""Errors of the wire format."""


class WireError(Exception):
    """Something that came over the wire, or is about to, is not as agreed."""


class RequestSignatureInvalid(WireError):
    """A request's signature is missing, malformed, stale, for someone else, or not by the key it names."""
