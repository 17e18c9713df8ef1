"""Headers of every answer: a strict content policy, no sniffing, no framing, no stray caching."""

from flask import Flask, Response, request

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'{forms}",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
STATIC_MAX_AGE_S = 3600
MARKED_MAX_AGE_S = 31536000  # its address changes with its content


def install(app: Flask, forms_lead_to: tuple[str, ...]) -> None:
    """`forms_lead_to`: origins that our forms redirect to (browsers check those, too)."""
    policy = POLICY.format(forms="".join(f" {origin}" for origin in forms_lead_to))

    @app.after_request
    def add(response: Response) -> Response:
        response.headers.setdefault("Content-Security-Policy", policy)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "strict-origin-when-cross-origin"
        response.headers["Permissions-Policy"] = "camera=(), microphone=(), geolocation=()"
        response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
        if app.extensions["clawdet"].settings.is_https:
            response.headers["Strict-Transport-Security"] = "max-age=31536000"
        if request.endpoint == "static" and response.status_code < 400:
            age_s = MARKED_MAX_AGE_S if "v" in request.args else STATIC_MAX_AGE_S
            response.headers["Cache-Control"] = f"public, max-age={age_s}"
        else:
            response.headers.setdefault("Cache-Control", "no-store")
        return response
