//! x
pub mod failover;
