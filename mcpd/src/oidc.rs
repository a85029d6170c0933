//! Tokens of others: JWTs that an `OpenID` Connect issuer has signed, such as a CI system or a Kubernetes cluster, so that
//! who calls needs no stored secret.
//!
//! Only issuers that the operator has named are believed, and nothing that a token says is used before its signature is
//! known to be good, but for the name of the issuer whose keys are asked for. Decides who somebody is; what they may do
//! is said by the bindings, at each request anew.

mod assertion;
mod claims;
mod fetch;
mod jwk;
mod jwt;
mod keyring;
mod names;
mod settings;

pub(crate) use assertion::Assertion;
pub(crate) use settings::{BadIssuer, Issuer};

use crate::metrics::Metrics;
use assertion::Unfit;
use fetch::{NoWay, Source};
use jwt::{Jwt, Malformed};
use keyring::{Keyring, NoKey};
use mcp_api::Secret;
use names::Space;
use std::sync::Arc;

/// Why a JWT is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("its issuer is none that is configured")]
    Stranger,
    #[error(transparent)]
    NoKey(#[from] NoKey),
    #[error("its signature is not that of the key that it names")]
    Forged,
    #[error(transparent)]
    Unfit(#[from] Unfit),
}

impl Refusal {
    /// Says whether it may be a good token: its issuer could not be asked.
    pub(crate) fn is_unknown(&self) -> bool {
        *self == Self::NoKey(NoKey::Unavailable)
    }
}

/// What is wrong with the settings.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetupError {
    #[error(transparent)]
    Issuer(#[from] BadIssuer),
    #[error("oidc: {0}: {1}")]
    NoWay(String, #[source] NoWay),
}

/// All issuers that are believed.
#[derive(Debug, Default)]
pub(crate) struct Oidc {
    issuers: Vec<Trusted>,
    spaces: Vec<Space>,
}

#[derive(Debug)]
struct Trusted {
    rules: Issuer,
    keyring: Keyring,
}

impl Oidc {
    /// Checks the issuers; asks none of them for anything yet, so that one that is down is no reason not to start.
    pub(crate) fn new(issuers: Vec<Issuer>, metrics: &Arc<Metrics>) -> Result<Self, SetupError> {
        let spaces = settings::check(&issuers)?;
        let trusted = |rules: Issuer| {
            let source = source(&rules)?;
            Ok(Trusted { keyring: Keyring::new(&rules.name, source, rules.keys, metrics), rules })
        };
        Ok(Self { issuers: issuers.into_iter().map(trusted).collect::<Result<_, SetupError>>()?, spaces })
    }

    /// Says whether issuers can be believed as they are described.
    pub(crate) fn check(issuers: &[Issuer]) -> Result<(), SetupError> {
        settings::check(issuers)?;
        issuers.iter().try_for_each(|rules| source(rules).map(drop))
    }

    /// Says whether a text could be a JWT at all, as opposed to a token of ours.
    pub(crate) fn is_jwt(text: &str) -> bool {
        text.bytes().filter(|byte| *byte == b'.').count() == 2
    }

    /// Finds out who somebody is. Whether the token counts at the time of the request is asked of what comes back.
    pub(crate) async fn verify(&self, token: &Secret) -> Result<Assertion, Refusal> {
        let jwt = Jwt::parse(token)?;
        let said = jwt.unverified_issuer();
        let issuer = self.issuers.iter().find(|issuer| said == Some(&*issuer.rules.url));
        let Trusted { rules, keyring } = issuer.ok_or(Refusal::Stranger)?;
        let key = keyring.key(jwt.algorithm, jwt.key_id.as_deref()).await?;
        let signed = jwt.signed_by(&key).ok_or(Refusal::Forged)?;
        Ok(Assertion::read(&signed, rules, &self.spaces)?)
    }
}

fn source(rules: &Issuer) -> Result<Source, SetupError> {
    Source::of(rules).map_err(|error| SetupError::NoWay(rules.name.clone(), error))
}
