"""Who asks for an instance and when: accounts, trial, billing, instances, fleet."""
