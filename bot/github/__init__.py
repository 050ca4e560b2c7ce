"""GitHub as the playbooks need it: App authentication, one client, and the calls."""
