//! A line that is lost and made again: a real OpenSSH server behind a TCP proxy that cuts, and the server itself taken away and back.

mod proxy;
