"""The imperative shell: workers, clients, the commit protocol, timers, reconciliation, over the ports."""
