//! What the caller may do, made in the real server, and what becomes of it during a run.

use super::super::{
    axes::Rights,
    front::{self, Real},
};
use fakes::{Mcpd, http::request_bytes};
use mcp_api::{FailoverPolicy, LlmPatch, paths};
use std::{net::SocketAddr, sync::Arc};

/// One person's rights to one LLM, as the server was told last.
pub(super) struct Granted<'a> {
    mcpd: &'a Mcpd,
    user: String,
    llm: String,
    now: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    role: Role,
    enabled: bool,
    failover: FailoverPolicy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    None,
    View,
    Run,
    /// It may have been taken away meanwhile.
    Unknown,
}

const GOOD: State = State { role: Role::Run, enabled: true, failover: FailoverPolicy::Allowed };

impl<'a> Granted<'a> {
    /// None so far.
    pub(super) fn new(mcpd: &'a Mcpd, user: &str, llm: &str) -> Self {
        Self { mcpd, user: user.to_owned(), llm: llm.to_owned(), now: State { role: Role::None, ..GOOD } }
    }

    /// Brings them about, before the run.
    pub(super) fn set(&mut self, rights: Rights) {
        let wanted = match rights {
            Rights::Allowed | Rights::RevokedBetween | Rights::RevokedDuringStart | Rights::TokenExpired => {
                GOOD
            }
            Rights::ViewOnly => State { role: Role::View, ..GOOD },
            Rights::RevokedBefore => State { role: Role::None, ..GOOD },
            Rights::LlmDisabled => State { enabled: false, ..GOOD },
            Rights::FailoverForbidden => State { failover: FailoverPolicy::Forbidden, ..GOOD },
        };
        if (self.now.enabled, self.now.failover) != (wanted.enabled, wanted.failover) {
            let (enabled, failover) = (Some(wanted.enabled), Some(wanted.failover));
            let _changed =
                self.mcpd.patch_llm(&self.llm, &LlmPatch { enabled, failover, ..LlmPatch::default() });
        }
        if self.now.role != wanted.role {
            self.revoke();
            let of_llm = |role| (role, "llms", Some(self.llm.as_str()));
            let grants = match wanted.role {
                Role::Run => vec![of_llm("view"), of_llm("run")],
                Role::View => vec![of_llm("view")],
                Role::None | Role::Unknown => Vec::new(),
            };
            if !grants.is_empty() {
                self.mcpd.grant(&self.user, &self.user, &grants);
            }
        }
        self.now = wanted;
    }

    /// After a run in which they may have been taken away.
    pub(super) fn forget(&mut self, rights: Rights) {
        if matches!(rights, Rights::RevokedBetween | Rights::RevokedDuringStart) {
            self.now.role = Role::Unknown;
        }
    }

    /// Takes them away.
    pub(super) fn revoke(&self) {
        revoke(self.mcpd.addr(), self.mcpd.admin_token(), &self.user);
    }

    /// The real server; under some rights it is told something just before it hears of a probe.
    pub(super) fn real(&self, rights: Rights) -> Real {
        let (addr, token, user) = (self.mcpd.addr(), self.mcpd.admin_token().to_owned(), self.user.clone());
        let meanwhile: Arc<dyn Fn() + Send + Sync> = Arc::new(move || revoke(addr, &token, &user));
        Real { addr, meanwhile: (rights == Rights::RevokedBetween).then_some(meanwhile) }
    }
}

/// Takes the binding away, if it is there.
fn revoke(mcpd: SocketAddr, admin_token: &str, user: &str) {
    let bearer = format!("Bearer {admin_token}");
    let path = format!("{}/{user}", paths::RBACS);
    let request = request_bytes("DELETE", &path, mcpd, &[("authorization", &bearer)], b"");
    let _answer = front::exchange(mcpd, &request);
}
