"""For everybody who builds on this package: conformance runner, contract suites for backends, measurements."""
