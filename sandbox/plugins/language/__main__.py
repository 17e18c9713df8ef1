"""The executable `pulumi-language-python`."""

from sandbox.plugins.language.host import main

main()
