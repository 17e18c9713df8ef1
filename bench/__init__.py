"""Measurements of the product beside what it is compared with. Nothing else imports this."""
