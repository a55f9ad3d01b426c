"""What the tests share: the stages of bin/test, running playbooks, and the system on this machine."""
