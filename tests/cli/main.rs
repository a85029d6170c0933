//! The program as its users meet it: the real binary, against the real server wherever the server's behaviour
//! matters, and against doubles only to inject faults. Test names start with the id of their case in
//! `tests/cases.tsv`.

mod files;
mod infer;
mod secrets;
mod signals;
mod support;
