"""Telling Stripe where our webhooks are received (a live account has that set in its dashboard)."""

import stripe

from webapp.settings import WebSettings

PATH = "/api/webhooks/stripe"


def register(settings: WebSettings, port: int) -> None:
    """Have the sandbox's Stripe send its events to us, once."""
    client = stripe.StripeClient(
        settings.stripe_secret_key.get_secret_value(),
        base_addresses={"api": settings.stripe_api_base},
    )
    url = f"http://127.0.0.1:{port}{PATH}"
    endpoints = client.v1.webhook_endpoints
    for endpoint in endpoints.list().data:
        if endpoint.url == url:
            return
        endpoints.delete(endpoint.id)
    endpoints.create(params={"url": url, "enabled_events": ["*"]})
