//! The real server, asked over real connections. Named after the ids of the cases that they hold it to.

mod cases;
mod command_line;
mod contract;
mod escalation;
mod identity;
mod names;
mod probe;
mod proxy;
mod routes;
mod secrets;
mod streams;
