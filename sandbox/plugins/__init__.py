"""Pulumi provider plugins and a language host for machines where the official ones can't be had."""
