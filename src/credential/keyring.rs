//! Tokens in the keyring of a desktop: that of GNOME, of KDE, whatever else speaks the Secret Service protocol.
//!
//! Opt-in, and a feature of the build: `cargo build --features keyring`. An item is found by the origin of its server,
//! and goes to no other. What was put there is marked in the file of that origin, so that nobody who has no token there
//! ever talks to a keyring.

use super::CredentialError;
use mcp_api::Secret;

/// What stands in the file of an origin instead of a token. No token holds a space.
pub(super) const MARK: &str = "in the keyring\n";

#[cfg(feature = "keyring")]
mod service {
    use super::{CredentialError, Secret};
    use crate::{credential::parse, limit::within};
    use secret_service::{
        EncryptionType, Error,
        blocking::{Item, SecretService},
    };
    use std::{collections::HashMap, time::Duration};

    /// Somebody may have to type the password of the keyring meanwhile.
    const LIMIT: Duration = Duration::from_mins(1);
    const APPLICATION: (&str, &str) = ("application", "mcpctl");

    pub(crate) fn find(origin: &str) -> Result<Secret, CredentialError> {
        let found = ask(origin, |service, origin| {
            let found = items(service, origin)?;
            found.first().map(Item::get_secret).transpose()
        })?;
        let bytes = found.ok_or_else(|| CredentialError::Missing(origin.to_owned()))?;
        let what = || format!("the item of {origin} in the keyring");
        let text = std::str::from_utf8(&bytes).map_err(|_| CredentialError::Malformed(what()))?;
        parse(text, &what())
    }

    pub(crate) fn store(origin: &str, token: &Secret) -> Result<(), CredentialError> {
        let token = token.clone();
        ask(origin, move |service, origin| {
            let collection = service.get_default_collection()?;
            if collection.is_locked()? {
                collection.unlock()?;
            }
            let (label, replace) = (format!("Token of mcpctl for {origin}"), true);
            let secret = token.expose().as_bytes();
            collection.create_item(&label, attributes(origin), secret, replace, "text/plain").map(drop)
        })
    }

    pub(crate) fn forget(origin: &str) -> Result<(), CredentialError> {
        ask(origin, |service, origin| items(service, origin)?.iter().try_for_each(Item::delete))
    }

    fn attributes(origin: &str) -> HashMap<&str, &str> {
        HashMap::from([APPLICATION, ("origin", origin)])
    }

    /// The items of this origin, unlocked.
    fn items<'a>(service: &'a SecretService<'a>, origin: &str) -> Result<Vec<Item<'a>>, Error> {
        let found = service.search_items(attributes(origin))?;
        found.locked.iter().try_for_each(Item::unlock)?;
        Ok(found.unlocked.into_iter().chain(found.locked).collect())
    }

    fn ask<T: Send + 'static>(
        origin: &str,
        question: impl FnOnce(&SecretService<'_>, &str) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, CredentialError> {
        let origin = origin.to_owned();
        // The secret does not go over the bus in the clear.
        let asked = within(LIMIT, move || {
            let service = SecretService::connect(EncryptionType::Dh)?;
            question(&service, &origin)
        });
        let slow = || format!("it did not answer within {} s", LIMIT.as_secs());
        asked
            .ok_or_else(|| CredentialError::Keyring(slow()))?
            .map_err(|error| CredentialError::Keyring(error.to_string()))
    }
}

#[cfg(not(feature = "keyring"))]
mod service {
    use super::{CredentialError, Secret};

    fn absent<T>() -> Result<T, CredentialError> {
        Err(CredentialError::Keyring(
            "this mcpctl was built without it (cargo build --features keyring)".into(),
        ))
    }

    pub(crate) fn find(_origin: &str) -> Result<Secret, CredentialError> {
        absent()
    }

    pub(crate) fn store(_origin: &str, _token: &Secret) -> Result<(), CredentialError> {
        absent()
    }

    pub(crate) fn forget(_origin: &str) -> Result<(), CredentialError> {
        absent()
    }
}

pub(super) use service::{find, forget, store};
