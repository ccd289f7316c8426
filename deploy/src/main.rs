//! The pair on one host.
fn main() {}
