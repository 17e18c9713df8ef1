"""For all tests."""

import signal

# Whoever starts the tests in the background of a script has SIGINT ignored, which every process
# that a test starts and interrupts would inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
