//! Detached commands on a host: they belong to the host, not to an SSH channel.
