//! The program as its users meet it: the real binary, against the real server wherever the server's behaviour
//! matters, and against doubles only to inject faults. Test names start with the id of their case in
//! `tests/cases.tsv`.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test reports")]

mod admin_apply;
mod admin_get;
mod admin_rights;
mod audit;
mod bounds;
mod bugs;
mod ci;
mod clock;
mod commands;
mod completion;
mod contract;
mod credentials;
mod dependencies;
mod detached;
mod docs;
mod doctor;
mod documents;
mod drain;
mod drill;
mod engine_commands;
mod engine_home;
mod engine_leftovers;
mod engine_stage;
mod engines;
mod engines_faults;
mod engines_files;
mod engines_llama;
mod engines_strangers;
mod errors;
mod events;
mod exit_codes;
mod failover;
mod failover_reports;
mod failovers;
mod files;
mod footprint;
mod frozen;
mod infer;
mod infer_options;
#[cfg(feature = "keyring")]
mod keyring;
mod kill_rounds;
mod kill_stage;
mod kills;
mod manual;
mod oidc;
mod packages;
mod primary;
mod probe;
mod pty;
mod pty_stage;
mod scarcity;
mod scripts;
mod secrets;
mod sessions;
mod sessions_stage;
mod shipped;
mod signals;
mod streams;
mod support;
mod terminal;
mod vllm;
