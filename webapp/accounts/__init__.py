"""Who somebody is: sign-in with X, sessions, e-mail address, terms."""
