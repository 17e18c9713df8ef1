"""Rate limits, by the address that a request comes from."""

from flask_limiter import Limiter
from flask_limiter.util import get_remote_address

limiter = Limiter(get_remote_address, headers_enabled=True, strategy="moving-window")
