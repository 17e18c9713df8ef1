"""How an instance is previewed, applied, watched and destroyed: the Automation API, typed."""
