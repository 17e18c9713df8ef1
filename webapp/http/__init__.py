"""What every page and endpoint shares: context, sessions, headers, limits, errors."""
