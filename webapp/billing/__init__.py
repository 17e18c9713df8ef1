"""Money: plan, checkout, subscription, and what a missed payment leads to."""
