//! From an authorised LLM to its upstream and back: the prompt goes on with another `model`, the answer comes back
//! byte by byte as it was sent. Decides nothing about rights.

mod attempt;
pub(crate) mod costs;
mod endpoint;
mod health;
mod key;
mod marker;
mod nodes;
mod prompt;
mod relay;
mod settings;
mod upstream;
mod verdict;
mod vigil;

pub(crate) use endpoint::Endpoint;
pub(crate) use prompt::Prompt;
pub(crate) use settings::UpstreamSettings;
pub(crate) use upstream::Upstream;
pub(crate) use vigil::Vigil;
